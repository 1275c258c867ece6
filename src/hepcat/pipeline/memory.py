"""Keeps freed memory for the next use, in the process of a server.

In: nothing. Out: settings of the two allocators, glibc's (numpy's arrays) and mimalloc (pyarrow's). What can
go wrong: another C library has no mallopt; then nothing changes. Call it before pyarrow is imported.

A server makes and frees arrays of the same sizes over and over. By default large ones go back to the kernel
at once, which clears every page again for the next: 0.3 us of CPU time a message.
"""

import ctypes
import os
from typing import Final

# mallopt(3)
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
#: Larger arrays still go back to the kernel when they are freed (no heap of a thread is larger).
LARGE: Final = 64 * 2**20
#: Free memory at the end of a heap that is kept.
KEPT: Final = 256 * 2**20
#: Milliseconds that pyarrow's free pages are kept.
PURGE_DELAY: Final = "2000"


def keep_freed_memory() -> bool:
    """Set the allocators up; return whether the C library's took it. What the user has set stays."""
    os.environ.setdefault("MIMALLOC_PURGE_DELAY", PURGE_DELAY)
    if any(name in os.environ for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGE)) and bool(mallopt(M_TRIM_THRESHOLD, KEPT))
