"""The one exception that a user is meant to read."""


class InputError(ValueError):
    """Something the user gave is wrong; the message says what and what to do.

    The message is one sentence that names the file, row or key. Code raises it
    wherever a bad input is first known; scripts and the Snakefile print it
    without a traceback.
    """
