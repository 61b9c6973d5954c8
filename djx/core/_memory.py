"""What the process holds and does not use."""

import contextlib
import ctypes
import sys


def give_memory_back() -> None:
    """Returns freed memory to the system, which others then have.

    A compiler leaves half a gigabyte of freed pieces behind; the C library keeps them,
    and the large arrays of a program, which do not fit into pieces, come on top. Only
    glibc has to be told; elsewhere nothing is done.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
