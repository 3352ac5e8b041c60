"""A peak of memory is a process' own, and what is freed goes back to the system when we ask for it."""

from __future__ import annotations

import os
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

HEAPS = """
import ctypes, sys, threading
from mien.allocator import share_heaps

if sys.argv[1:]:
    share_heaps(int(sys.argv[1]))
all_there = threading.Barrier(12)

def work():
    block = bytearray(50_000)
    all_there.wait()

threads = [threading.Thread(target=work) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
ctypes.CDLL(None).malloc_stats()
"""

PEAK = "from mien.allocator import peak_memory; print(peak_memory())"
STARTER = f"import subprocess, sys; held = b'1' * 300_000_000; subprocess.run([sys.executable, '-c', {PEAK!r}])"

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


@glibc
def test_freed_memory_is_returned():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert 60 < float(done.stdout) < 110  # of 100 MB, whole pages


@glibc
@pytest.mark.parametrize(("threads", "heaps"), [("1", 1), ("2", 1), ("8", 2), ("12", 3)])
def test_four_threads_share_a_heap(threads, heaps):
    def count(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", HEAPS, *arguments], capture_output=True, text=True, check=True
        )
        return done.stderr.count("Arena ")

    assert count(threads) == heaps
    assert count() > 3  # by default


@pytest.mark.skipif(os.name == "nt", reason="Windows tells no peak")
def test_a_peak_of_memory_is_not_that_of_the_process_that_started_this_one():
    done = subprocess.run(
        [sys.executable, "-c", STARTER], capture_output=True, text=True, check=True
    )
    assert 5e6 < int(done.stdout) < 150e6
