"""The memory of this process: its peak, and how glibc keeps what is freed (other C libraries are left alone)."""

from __future__ import annotations

import ctypes
import platform
import sys
from contextlib import suppress
from pathlib import Path

#: <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next training step instead of returning it to the kernel.

    By default each large tensor is mapped anew, and page faults take up to 40 % of a step on a CPU.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def share_heaps(threads: int) -> None:
    """Limit glibc's heaps (arenas) to max(1, threads // 4). Call it before the threads start.

    By default each thread has its own heap, which keeps as much memory as its largest picture took. With
    more than four threads on a heap, they would wait for each other.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_M_ARENA_MAX, max(1, threads // 4))


def return_freed_memory() -> None:
    """Return all free whole pages to the kernel, once; takes a few milliseconds.

    By itself glibc returns only memory at the end of a heap, and keeps up to 64 MB there: a service that
    gets pictures of all sizes would grow step by step. (A fixed M_MMAP_THRESHOLD would return all memory
    immediately, but page faults would make face detection 50 % slower.)
    """
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def peak_memory() -> int | None:
    """The largest resident set of this process so far, in bytes; None where the system does not tell it."""
    with suppress(OSError, IndexError):
        # Linux counts in `ru_maxrss` the peak of the process that started this one, too.
        facts = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
        return int(facts.partition("VmHWM:")[2].split()[0]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _glibc() -> ctypes.CDLL | None:
    linux = sys.platform == "linux" and platform.libc_ver()[0] == "glibc"
    return ctypes.CDLL(None) if linux else None
