/* Ice 3.6's Python binding includes this header, which Python 3.11 no longer has; it needs nothing of it. */
#include <Python.h>
