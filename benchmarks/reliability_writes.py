"""Every system call that writes is made to fail in turn, by strace; a part of benchmarks/reliability.py."""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reliability_parts import (
    STEPS_AN_EPOCH,
    WHOLE,
    StopAt,
    differing_bits,
    ended,
    faces,
    fork,
    outcome,
)

from mien.data import load
from mien.runs import RunFolder
from mien.training import checkpoint, train

#: The system calls by which something comes to be on a disk.
WRITING = ("openat", "write", "fsync", "close", "chmod", "rename", "mkdir")
ERRORS = ("ENOSPC", "EIO")
#: A process opens and closes other files too, not always as many: a number may name another call.
TRIES = 5


def traced(act: Callable[[], Any], log: Path, said: Path, *options: str, **environment: str) -> int:
    """Do something in a child under strace; its exit status. What it says goes into a file."""
    waits, begins = os.pipe()

    def when_traced() -> None:
        os.read(waits, 1)
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        act()

    child = fork(when_traced, **environment)
    command = ["strace", "-y", "-o", str(log), "-p", str(child)]
    command += ["-e", f"trace={','.join(WRITING)}", *options]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    if "attached" not in (line := tracer.stderr.readline()):
        os.kill(child, signal.SIGKILL)
        ended(child)
        sys.exit(f"strace: {line.strip()}")
    os.write(begins, b"!")
    status = ended(child)
    tracer.communicate()
    os.close(waits)
    os.close(begins)
    return status


def calls_on(folder: Path, log: Path) -> list[tuple[str, int]]:
    """(system call, which of its kind) for each by which the traced process changes something in a folder."""
    counts = dict.fromkeys(WRITING, 0)
    written: set[str] = set()  # descriptors, as strace writes them: 5</a/file>
    found = []
    for line in log.read_text(errors="replace").splitlines():
        call = re.match(r"(\w+)\((.*)\) += (.*)", line)
        if call is None or call[1] not in counts:
            continue
        name, arguments, result = call.groups()
        counts[name] += 1
        if str(folder) not in arguments or (name == "mkdir" and "EEXIST" in result):
            continue
        if name == "openat":
            if "O_CREAT" not in arguments:
                continue
            written.add(result)
        elif name == "close":
            if arguments not in written:
                continue
            written.remove(arguments)
        found.append((name, counts[name]))
    return found


def is_whole(run: RunFolder) -> bool:
    """Whether all that is there can be read: nothing is half of something."""
    import safetensors.torch

    if not (run.path / "recipe.json").exists():
        return True
    run.recipe(), run.environment(), run.history()
    for weights in (run.best_weights, run.last_weights):
        if weights.exists():
            safetensors.torch.load_file(weights)
    return not run.has_state or checkpoint.load_state(run)[1] is None


def writes(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    fitted, selecting = faces()

    def go(out: Path) -> None:
        is_begun = (out / "recipe.json").exists()
        train(WHOLE, fitted, selecting, out, device="cpu", resume=is_begun, checkpoint_every="3")

    def build() -> None:
        if load("synthetic:7").fingerprint != fingerprint:
            raise RuntimeError("other faces")

    fingerprint = load("synthetic:7").fingerprint
    whole = outcome(train(WHOLE, fitted, selecting, scratch / "whole", device="cpu"))
    begun = scratch / "begun"
    with_state = fork(
        lambda: train(
            WHOLE, fitted, selecting, begun, device="cpu", watchers=[StopAt(STEPS_AN_EPOCH + 1)]
        )
    )
    if ended(with_state) != 128 + signal.SIGTERM:
        sys.exit("a training was not stopped")
    (scratch / "empty").mkdir()
    place, log, said = scratch / "place", scratch / "strace.log", scratch / "said"
    scenes: dict[str, tuple[Path, Callable[[], Any]]] = {
        "a training begins": (scratch / "empty", lambda: go(place)),
        "a training goes on": (begun, lambda: go(place)),
        "a store is built": (scratch / "empty", build),
    }
    table, wrong = {}, []
    for scene, (origin, act) in scenes.items():

        def attempt(*options: str) -> int:
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(origin, place)  # noqa: B023 (used before the next scene)
            return traced(act, log, said, *options, MIEN_CACHE=str(place))  # noqa: B023

        if attempt():
            sys.exit(f"{scene}: failed where nothing was made to: {said.read_text()}")
        calls = calls_on(place, log)[:: arguments.every]
        print(f"{scene}: {len(calls)} calls", file=sys.stderr)
        for (call, number), error in itertools.product(calls, ERRORS):
            case = f"{scene}: {call} {number} {error}"
            for _ in range(TRIES):
                status = attempt("-e", f"inject={call}:error={error}:when={number}")
                if (call, number) in calls_on(place, log):
                    break
            else:
                wrong.append(f"{case}: was never the call that it was before")
                continue
            text = said.read_text()
            if status == 0 or not text.startswith("said: ") or "Traceback" in text:
                wrong.append(f"{case}: exit status {status}, said {text!r}")
            if parts := list(place.rglob("*.part")):
                wrong.append(f"{case}: left {parts}")
            if act is build:
                if ended(fork(build, MIEN_CACHE=str(place))):
                    wrong.append(f"{case}: could not be built afterwards")
                continue
            if not is_whole(RunFolder(place)):
                wrong.append(f"{case}: a file is damaged")
            if ended(fork(lambda: go(place))) or differing_bits(whole, outcome(RunFolder(place))):
                wrong.append(f"{case}: did not go on to the same end")
        table[scene] = {"calls": len(calls), "cases": len(calls) * len(ERRORS)}
    for line in wrong:
        print(line, file=sys.stderr)
    return {"scenes": table, "wrong": len(wrong), "lost": len(wrong)}
