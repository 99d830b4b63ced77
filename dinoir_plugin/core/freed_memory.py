"""Keep main memory that the process has freed."""

from __future__ import annotations

import ctypes
import platform

# of mallopt(3)
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep() -> bool:
    """Have the C library keep what this process frees from now on, where it is glibc.

    A training step needs the same large blocks again and again. glibc gives them back to the system and takes them
    anew each time, and the system clears them page by page. The process then holds on to the most that it ever needed.

    Returns:
        Whether it does: other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != 'glibc':
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))
