"""What benchmarks share: each measurement in a process of its own, and what it cost. Nothing but Python.

A fresh process passes on no thread pool, allocator setting or page of memory; and what is compared to
may live in another environment, where mien is not installed.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SPELLS, SPELL_S = 6, 0.3


def run_part(script: Path | str, *options: str, python: str = sys.executable) -> dict[str, Any]:
    """The JSON object that a script prints as its last line; where it fails, this ends too."""
    done = subprocess.run(
        [python, str(script), *options], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{Path(script).name} {' '.join(options)}: failed (see above)")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def keep_to_cores(count: int) -> None:
    """This process and those that it starts have so many cores, where the system can say so."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def paced(work: Callable[[], object]) -> float:
    """How often a second something can be done, at best: several short spells, the quickest counts."""
    work()
    best = 0.0
    for _ in range(SPELLS):
        done, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < SPELL_S:
            work()
            done += 1
        best = max(best, done / elapsed)
    return best


def installed_megabytes(package: str, extra_folders: Sequence[Path] = ()) -> float:
    """What a package and all that it requires take on disk, by what was installed of each; no extras."""
    files: set[Path] = set()
    wanted, seen = [package], set[str]()
    while wanted:
        name = re.split(r"[^\w.-]", wanted.pop(), maxsplit=1)[0]
        if name.lower() in seen:
            continue
        seen.add(name.lower())
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # for another system
            continue
        files.update(Path(str(found.locate_file(file))).resolve() for file in found.files or ())
        wanted += [one for one in found.requires or () if "extra ==" not in one]
    for folder in extra_folders:
        files.update(file.resolve() for file in folder.rglob("*"))
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6
