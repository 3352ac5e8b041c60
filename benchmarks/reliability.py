"""Does a training survive? Stops, kills, failing disks and several processes, each against one left in peace.

    python benchmarks/reliability.py resume               stop at every step, go on, compare every bit
    python benchmarks/reliability.py kills --count 200    SIGKILL at random moments, go on, compare
    python benchmarks/reliability.py writes               every call that writes fails in turn (needs strace)
    python benchmarks/reliability.py processes            2 and 3 processes against one
    python benchmarks/reliability.py overhead             what saving costs, and making a batch

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
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from reliability_parts import (
    EPOCHS,
    RECIPES,
    STEPS_AN_EPOCH,
    WHOLE,
    StopAt,
    differing_bits,
    ended,
    faces,
    fork,
    outcome,
)
from reliability_processes import processes
from reliability_writes import writes

from mien.data import load, split
from mien.data.store import FaceView
from mien.errors import MienError
from mien.recipes import find
from mien.runs import RunFolder
from mien.training import (
    Moment,
    Recipe,
    StoppedError,
    Targets,
    Watcher,
    checkpoint,
    loop,
    teach,
    train,
)
from mien.training.augment import augmented, draw_views
from mien.training.feed import FaceFeed

# Stop at every step


def stops() -> list[tuple[int, ...]]:
    """Each step of the training but its last; and each two of an epoch."""
    single = [(step,) for step in range(1, EPOCHS * STEPS_AN_EPOCH)]
    within = [
        range(epoch * STEPS_AN_EPOCH + 1, (epoch + 1) * STEPS_AN_EPOCH) for epoch in range(EPOCHS)
    ]
    return single + [pair for steps in within for pair in itertools.combinations(steps, 2)]


def resume(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    fitted, selecting = faces()
    teacher = train(WHOLE, fitted, selecting, scratch / "teacher", device="cpu")
    cases, differing = 0, 0
    for recipe, precision in itertools.product(RECIPES, ("float32", "bfloat16")):
        lessons = scratch / f"lessons-{recipe.name}"
        teach([teacher], recipe, fitted, lessons, views=EPOCHS, device="cpu")
        recipe = replace(recipe, targets=Targets(teacher=str(lessons)))
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


# What saving costs


class Clock(Watcher):
    """The computing time between a training's first step and its end."""

    def started(self, run: RunFolder, recipe: Recipe, steps: int, first_step: int) -> None:
        self.began = time.process_time()

    def ended(self) -> None:
        self.seconds = time.process_time() - self.began


def overhead(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """A save is its computing time and its waiting for the disk, a step its computing time: what others on
    the machine do lengthens neither, but for the disk."""
    store = load("synthetic:640")
    parts = split(store, WHOLE.split)
    few = store.faces(parts.validation.indices[:16])
    computed: list[float] = []
    waited: list[float] = []
    save, sync = checkpoint.save_state, os.fsync

    def timed_sync(descriptor: int) -> None:
        started = time.perf_counter()
        sync(descriptor)
        waited.append(time.perf_counter() - started)

    def timed_save(run: RunFolder, state: dict[str, Any]) -> None:
        os.fsync = timed_sync
        began = time.process_time()
        save(run, state)
        computed.append(time.process_time() - began)
        os.fsync = sync

    checkpoint.save_state = timed_save
    figures = {}
    for name in arguments.recipes:
        waited.clear()
        computed.clear()
        recipe = replace(find(name), epochs=2)
        clock = Clock()
        run = train(
            recipe,
            parts.train,
            few,
            scratch / name,
            device="cpu",
            checkpoint_every="2",
            watchers=[clock],
        )
        step = (clock.seconds - sum(computed)) / run.history()[-1]["step"]
        saves = len(computed)
        mean = (sum(computed) + sum(waited)) / saves
        batch = seconds_to_make_a_batch(recipe, parts.train)
        figures[name] = {
            "megabytes": round(run.state_path.stat().st_size / 1e6, 1),
            "saves": saves,
            "milliseconds_a_save": round(1000 * mean, 1),
            "of_it_waiting_for_the_disk": round(1000 * sum(waited) / saves, 1),
            "milliseconds_a_step": round(1000 * step, 1),
            "percent_at_every_200_steps": round(100 * mean / (200 * step), 2),
            "percent_at_every_10_minutes": round(100 * mean / 600, 4),
            "percent_of_a_step_to_make_its_batch": round(100 * batch / step, 1),
        }
    lost = sum(row["percent_at_every_200_steps"] >= 2 for row in figures.values())
    return {"threads": torch.get_num_threads(), "recipes": figures, "lost": lost}


def seconds_to_make_a_batch(recipe: Recipe, fitted: FaceView) -> float:
    """Computing time; every process of a team makes the whole of it."""
    feed = FaceFeed(fitted, torch.device("cpu"))
    positions = torch.arange(recipe.batch_size)
    views = draw_views(recipe.batch_size, torch.Generator().manual_seed(0))
    repeats = 20
    began = time.process_time()
    for _ in range(repeats):
        augmented(feed.batch(positions)[0], views, recipe.input, recipe.augment)
    return (time.process_time() - began) / repeats


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
        "--recipes", nargs="+", default=["four-block-cnn", "basic-cnn", "mien-s"]
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
