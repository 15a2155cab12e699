/*
 * Ice 3.6's Python binding reads the frame of the running function from a field of
 * PyThreadState that Python 3.11 hides. Forced into every file (g++ -include), this
 * answers with the frame by Python's own function. See `make omero`.
 */
#ifdef __cplusplus
#include <Python.h>
#undef PyThreadState_GET
namespace ice_compat
{
    struct State { PyFrameObject* frame; };

    inline State* state()
    {
        static thread_local State current;
        current.frame = PyEval_GetFrame();
        return &current;
    }
}
#define PyThreadState_GET() ice_compat::state()
#endif
