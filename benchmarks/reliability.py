"""Does a training survive? Stops, kills, failing disks and several processes, each against one left in peace.

    python benchmarks/reliability.py resume               stop at every step, go on, compare every bit
    python benchmarks/reliability.py kills --count 200    SIGKILL at random moments, go on, compare
    python benchmarks/reliability.py writes               every call that writes fails in turn (needs strace)
    python benchmarks/reliability.py processes            2 and 3 processes against one
    python benchmarks/reliability.py overhead             what saving the state costs

The trainings are of a small network on a few drawn faces, with everything on that has a state or draws
random numbers. Each prints one JSON object as its last line; the exit status is 1 where something was lost.
"""

from __future__ import annotations

import argparse
import itertools
import json
import mmap
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mien.data import load, split
from mien.data.store import Faces
from mien.errors import MienError
from mien.recipes import find
from mien.runs import RunFolder
from mien.training import (
    Augment,
    Model,
    Moment,
    Objective,
    Optimizer,
    Recipe,
    Schedule,
    StoppedError,
    Watcher,
    checkpoint,
    loop,
    train,
)

FACES, BATCH, EPOCHS = 72, 16, 2
STEPS_AN_EPOCH = -(-FACES // BATCH)  # the last of each is a short one
WHOLE = Recipe(
    name="all on, by step",
    model=Model("four-block-cnn", {"width": 0.25, "conv_dropout": 0.1}),
    augment=Augment(flip=0.5, rotation=15, scale=(0.9, 1.1), shift=0.1, erase=0.3),
    objective=Objective(label_smoothing=0.1),
    optimizer=Optimizer(name="adamw", weight_decay=0.01),
    schedule=Schedule(name="one-cycle"),
    ema=0.9,
    clip_norm=1.0,
    epochs=EPOCHS,
    batch_size=BATCH,
    precision="float32",
)
RECIPES = [
    WHOLE,
    replace(
        WHOLE,
        name="all on, by epoch",
        objective=Objective(class_weights="balanced"),
        optimizer=Optimizer(name="sgd", lr=0.05, momentum=0.9, nesterov=True),
        schedule=Schedule(name="plateau", patience=0),
        early_stopping=2,
        select="loss",
        ema=None,
    ),
]
#: Without BatchNorm and dropout, which differ between one process and several.
PLAIN = replace(
    WHOLE,
    name="no batch statistics",
    model=Model("dropout-cnn", {"width": 0.25, "dropout": 0.0, "conv_dropout": 0.0}),
    epochs=3,
)


# What is compared


def faces() -> tuple[Faces, Faces]:
    parts = split(load(f"synthetic:{FACES}", progress=False), WHOLE.split)
    return parts.train, parts.validation


def outcome(run: RunFolder) -> dict[str, bytes]:
    """The last and the best weights, and the history without what a clock says, bit for bit."""
    rows = [
        struct.pack(
            "<8d", *(v for k, v in row.items() if k not in ("seconds", "images_per_second"))
        )
        for row in run.history()
    ]
    return {
        "last weights": run.last_weights.read_bytes(),
        "best weights": run.best_weights.read_bytes(),
        "history": b"".join(rows),
    }


def differing_bits(first: dict[str, bytes], second: dict[str, bytes]) -> int:
    def count(one: bytes, two: bytes) -> int:
        if len(one) != len(two):
            return 8 * max(len(one), len(two))
        return (int.from_bytes(one, "big") ^ int.from_bytes(two, "big")).bit_count()

    return sum(count(first[name], second[name]) for name in first)


# A process of its own, from this warm one: importing torch takes longer than a training


def fork(act: Callable[[], Any], **environment: str) -> int:
    """Do something in a child process; its process id. It exits as `mien` would, and says what mien said."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.environ.update(environment)
        act()
        status = 0
    except MienError as error:
        print(f"said: {error}", file=sys.stderr)
        status = error.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def ended(child: int) -> int:
    """The exit status of a child, negative for a signal; waits for it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# Stop at every step


class StopAt(Watcher):
    """Sends this process a signal at a step, as a scheduler would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def stepped(self, moment: Moment) -> None:
        if moment.step == self.step:
            self.step = 0  # the last step of an epoch is told twice
            signal.raise_signal(signal.SIGTERM)


def stops() -> list[tuple[int, ...]]:
    """Each step of the training but its last; and each two of an epoch."""
    single = [(step,) for step in range(1, EPOCHS * STEPS_AN_EPOCH)]
    within = [
        range(epoch * STEPS_AN_EPOCH + 1, (epoch + 1) * STEPS_AN_EPOCH) for epoch in range(EPOCHS)
    ]
    return single + [pair for steps in within for pair in itertools.combinations(steps, 2)]


def resume(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    fitted, selecting = faces()
    cases, differing = 0, 0
    for recipe, precision in itertools.product(RECIPES, ("float32", "bfloat16")):
        chosen = replace(recipe, precision=precision)

        def go(out: Path, chosen: Recipe = chosen, **options: Any) -> RunFolder:
            return train(chosen, fitted, selecting, out, device="cpu", **options)

        whole = outcome(go(scratch / f"{recipe.name}-{precision}"))
        for number, steps in enumerate(stops()[:: arguments.every]):
            out = scratch / f"{recipe.name}-{precision}-{number}"
            for turn, step in enumerate(steps):
                try:
                    go(out, resume=turn > 0, watchers=[StopAt(step)])
                except StoppedError:
                    pass
                else:
                    sys.exit(f"{out}: was not stopped at step {step}")
            differing += differing_bits(whole, outcome(go(out, resume=True)))
            cases += 1
            shutil.rmtree(out)
    return {
        "recipes": [recipe.name for recipe in RECIPES],
        "steps": EPOCHS * STEPS_AN_EPOCH,
        "cases": cases,
        "differing_bits": differing,
        "lost": differing,
    }


# Kill at random moments


class Reached(Watcher):
    """Writes down for another process how far this one came."""

    def __init__(self, shared: mmap.mmap) -> None:
        self.shared = shared

    def started(self, run: RunFolder, recipe: Recipe, steps: int, first_step: int) -> None:
        self.shared[:8] = struct.pack("<q", first_step)

    def stepped(self, moment: Moment) -> None:
        self.shared[:8] = struct.pack("<q", moment.step)


def kills(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    fitted, selecting = faces()
    recipe, every = replace(WHOLE, epochs=4), arguments.interval
    shared, dice = mmap.mmap(-1, 8), random.Random(arguments.seed)

    def go(out: Path) -> int:
        def act() -> None:
            train(
                recipe,
                fitted,
                selecting,
                out,
                device="cpu",
                resume=(out / "recipe.json").exists(),
                checkpoint_every=str(every),
                watchers=[Reached(shared)],
            )

        return fork(act)

    # Here, not in a child: what the children would each import is imported then.
    whole = outcome(train(recipe, fitted, selecting, scratch / "whole", device="cpu"))
    started = time.monotonic()
    if ended(go(scratch / "timed")):
        sys.exit("a training that nobody killed failed")
    length = time.monotonic() - started
    done = finished = unreadable = furthest = differing = strays = 0
    lost_steps: list[int] = []
    run = RunFolder(scratch / "run-0")
    while done < arguments.count:
        shared[:8] = struct.pack("<q", 0)
        child = go(run.path)
        time.sleep(dice.uniform(0, length))
        os.kill(child, signal.SIGKILL)
        if (status := ended(child)) == -signal.SIGKILL:
            done += 1
            (reached,) = struct.unpack("<q", shared[:8])
            saved = 0
            if run.has_state:
                try:
                    state, remark = checkpoint.load_state(run)
                    saved = state["progress"]["step"]
                    unreadable += remark is not None
                except MienError as error:
                    print(error, file=sys.stderr)
                    unreadable += 1
            strays += len(list(run.path.rglob("*.part")))
            lost_steps.append(max(0, reached - saved))
            furthest = max(furthest, reached)
        elif status == 0:  # it was over before it could be killed
            differing += differing_bits(whole, outcome(run))
            finished += 1
            shutil.rmtree(run.path)
            run = RunFolder(scratch / f"run-{finished}")
        else:
            sys.exit(f"a training that was killed before did not go on: exit status {status}")
    if not (run.path / "recipe.json").exists():
        shutil.rmtree(run.path, ignore_errors=True)
    if ended(go(run.path)):
        sys.exit("the last training did not go on")
    differing += differing_bits(whole, outcome(run))
    left = len(list(run.path.rglob("*.part")))
    too_many = sum(steps > every for steps in lost_steps)
    return {
        "kills": done,
        "trainings_ended_after_kills": finished + 1,
        "steps_of_each": recipe.epochs * STEPS_AN_EPOCH,
        "interval_steps": every,
        "parts_of_files_left_by_kills": strays,
        "parts_of_files_left_at_the_end": left,
        "unreadable_states": unreadable,
        "most_steps_lost": max(lost_steps),
        "mean_steps_lost": round(sum(lost_steps) / len(lost_steps), 2),
        "differing_bits": differing,
        "lost": unreadable + too_many + differing + left,
    }


# Make every call that writes fail in turn

#: The system calls by which something comes to be on a disk.
WRITING = ("openat", "write", "fsync", "close", "chmod", "rename", "mkdir")
ERRORS = ("ENOSPC", "EIO")


def traced(act: Callable[[], Any], log: Path, said: Path, *options: str, **environment: str) -> int:
    """Do something in a child under strace; its exit status. What it says goes into a file."""
    waits, begins = os.pipe()

    def when_traced() -> None:
        os.read(waits, 1)
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        act()

    child = fork(when_traced, **environment)
    command = ["strace", "-f", "-y", "-o", str(log), "-p", str(child)]
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
    lines = log.read_text(errors="replace").splitlines()
    process = lines[0].split()[0]  # strace counts for each process by itself
    counts = dict.fromkeys(WRITING, 0)
    written: set[str] = set()  # descriptors, as strace writes them: 5</a/file>
    found = []
    for line in lines:
        call = re.match(rf"{process} +(\w+)\((.*)\) += (.*)", line)
        if call is None or call[1] not in counts:
            continue
        name, arguments, result = call.groups()
        counts[name] += 1
        if str(folder) not in arguments or (name == "mkdir" and result != "0"):
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
        if load("synthetic:7", progress=False).fingerprint != fingerprint:
            raise RuntimeError("other faces")

    fingerprint = load("synthetic:7", progress=False).fingerprint
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
            status = attempt("-e", f"inject={call}:error={error}:when={number}")
            case = f"{scene}: {call} {number} {error}"
            if "INJECTED" not in log.read_text(errors="replace"):
                wrong.append(f"{case}: did not fail")
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


# Several processes


def together(size: int, act: Callable[[], Any]) -> list[int]:
    """Do something in so many processes that train as one, as torchrun would start them; how they ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(size)}
    children = [fork(act, RANK=str(rank), LOCAL_RANK=str(rank), **place) for rank in range(size)]
    return [ended(child) for child in children]


def processes(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    fitted, selecting = faces()

    def run_of(recipe: Recipe, size: int, *stops: int) -> RunFolder:
        out = scratch / f"{recipe.name}-{size}{'-stopped' if stops else ''}"
        for turn, step in enumerate([*stops, None]):
            watchers = [] if step is None else [StopAt(step)]

            def act(turn: int = turn, watchers: Sequence[Watcher] = watchers) -> None:
                train(
                    recipe,
                    fitted,
                    selecting,
                    out,
                    device="cpu",
                    resume=turn > 0,
                    watchers=watchers,
                )

            expected = 0 if step is None else 128 + signal.SIGTERM
            statuses = together(size, act) if size > 1 else [ended(fork(act))]
            if set(statuses) != {expected}:
                sys.exit(f"{out}: exit statuses {statuses}, not {expected}")
        return RunFolder(out)

    def furthest(one: RunFolder, other: RunFolder, figure: str) -> float:
        rows = zip(one.history(), other.history(), strict=True)
        return max(abs(first[figure] - second[figure]) for first, second in rows)

    still = replace(PLAIN, name="still", optimizer=Optimizer(name="sgd", lr=1e-30), ema=None)
    still = replace(still, schedule=Schedule(), epochs=1)
    normalised = replace(
        WHOLE, name="batchnorm", model=Model("four-block-cnn", {"width": 0.25, "dropout": 0.0})
    )
    chosen = {"no batch statistics": PLAIN, "BatchNorm of each share": normalised}
    alone = {name: run_of(recipe, 1) for name, recipe in chosen.items()}
    still_alone = run_of(still, 1).history()[0]["validation_loss"]
    agreement: dict[str, Any] = {}
    lost = 0
    for size in arguments.sizes:
        figures: dict[str, Any] = {}
        for name, recipe in chosen.items():
            run = run_of(recipe, size)
            figures[name] = {
                f"largest_difference_of_{figure}": furthest(alone[name], run, figure)
                for figure in ("train_loss", "validation_loss")
            }
            lost += name == "no batch statistics" and max(figures[name].values()) > 1e-5
        stopped = outcome(run_of(PLAIN, size, 3, STEPS_AN_EPOCH + 2))
        figures["bits_that_resuming_changes"] = differing_bits(
            outcome(RunFolder(scratch / f"{PLAIN.name}-{size}")), stopped
        )
        same = run_of(still, size).history()[0]["validation_loss"] == still_alone
        figures["validation_loss_of_the_same_weights_is_the_same"] = same
        lost += figures["bits_that_resuming_changes"] + (not same)
        agreement[f"{size} processes"] = figures
    return {"agreement": agreement, "lost": lost}


# What saving costs


def overhead(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    store = load("synthetic:3200", progress=False)
    parts = split(store, WHOLE.split)
    few = store.faces(parts.validation.indices[:64])
    taken: list[float] = []
    save = checkpoint.save_state

    def timed(run: RunFolder, state: dict[str, Any]) -> None:
        started = time.perf_counter()
        save(run, state)
        taken.append(time.perf_counter() - started)

    checkpoint.save_state = timed
    figures = {}
    for name in arguments.recipes:
        taken.clear()
        recipe = replace(find(name), epochs=2, ema=None)
        run = train(recipe, parts.train, few, scratch / name, device="cpu", checkpoint_every="5")
        steps = run.history()[-1]["step"]
        images = steps * recipe.batch_size
        rate = images / sum(images / 2 / row["images_per_second"] for row in run.history())
        # The rate is of steps and saves together; the last save of each epoch is not in it.
        in_epochs = sum(taken) - taken[-1] * 2
        step = (images / rate - in_epochs) / steps
        mean = sum(taken) / len(taken)
        figures[name] = {
            "megabytes": round(run.state_path.stat().st_size / 1e6, 1),
            "saves": len(taken),
            "seconds_a_save": round(mean, 4),
            "seconds_a_step": round(step, 4),
            "percent_at_every_200_steps": round(100 * mean / (200 * step), 2),
            "percent_at_every_10_minutes": round(100 * mean / 600, 4),
        }
    lost = sum(row["percent_at_every_200_steps"] >= 2 for row in figures.values())
    return {"recipes": figures, "lost": lost}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    parts: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
        "resume": resume,
        "kills": kills,
        "writes": writes,
        "processes": processes,
        "overhead": overhead,
    }
    options = {name: kinds.add_parser(name) for name in parts}
    options["resume"].add_argument("--every", type=int, default=1, help="only each so-many-th case")
    options["writes"].add_argument("--every", type=int, default=1, help="only each so-many-th call")
    options["kills"].add_argument("--count", type=int, default=200)
    options["kills"].add_argument("--interval", type=int, default=2, help="steps between two saves")
    options["kills"].add_argument("--seed", type=int, default=0, help="of the moments")
    options["processes"].add_argument("--sizes", type=int, nargs="+", default=[2, 3])
    options["overhead"].add_argument(
        "--recipes", nargs="+", default=["four-block-cnn", "basic-cnn"]
    )
    arguments = parser.parse_args()
    if arguments.kind != "overhead":
        loop._LOOK_EVERY = 0.0  # so that watchers see every step
        torch.set_num_threads(1)  # a process with a pool of threads must not be forked
    with tempfile.TemporaryDirectory(prefix="mien-reliability-") as folder:
        os.environ["MIEN_CACHE"] = f"{folder}/cache"
        started = time.monotonic()
        found = parts[arguments.kind](arguments, Path(folder))
    print(json.dumps({**found, "seconds": round(time.monotonic() - started)}))
    sys.exit(1 if found["lost"] else 0)


if __name__ == "__main__":
    main()
