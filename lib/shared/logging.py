"""What a job says goes to the log file of its rule."""

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lib.shared.errors import InputError

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # what only a user can mend
FORMAT = "%(asctime)s %(levelname)s %(message)s"


@contextmanager
def job_log(path: str | os.PathLike) -> Iterator[logging.Logger]:
    """Log to `path` while a script runs.

    An `InputError` is for the user: its sentence goes to the log and to standard
    error, without a traceback, and the job fails; so does that of a full or
    read-only disk. Any other error is a defect and leaves its traceback in the log too.
    """
    handler = logging.FileHandler(path, mode="w")
    handler.setFormatter(logging.Formatter(FORMAT))
    logger = logging.getLogger()
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    # It reports in its own words what our errors say in a user's.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        yield logger
    except InputError as error:
        logger.error(str(error))
        sys.stderr.write(f"\nError: {error}\n\n")
        raise SystemExit(1) from None
    except OSError as error:
        if error.errno not in DISK:
            logger.exception("The job failed.")
            raise
        logger.error(str(error))
        sys.stderr.write(f"\nError: {error}\n\n")
        raise SystemExit(1) from None
    except Exception:
        logger.exception("The job failed.")
        raise
    finally:
        logger.removeHandler(handler)
        handler.close()
