"""What is freed goes back to the system when we ask for it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

#: Blocks of a heap, every other one freed: what stays between them keeps the heap from shrinking by itself.
CODE = """
import psutil
from mien.allocator import return_freed_memory

def resident():
    return psutil.Process().memory_info().rss / 1e6

blocks = [bytearray(b"x" * 100_000) for _ in range(2000)]
del blocks[::2]
kept = resident()
return_freed_memory()
print(kept - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_returned():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert 60 < float(done.stdout) < 110  # of 100 MB, whole pages
