"""Several processes that train as one, against one; a part of benchmarks/reliability.py."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reliability_parts import (
    PLAIN,
    STEPS_AN_EPOCH,
    WHOLE,
    StopAt,
    differing_bits,
    ended,
    faces,
    fork,
    outcome,
)

from mien.runs import RunFolder
from mien.training import ModelSpec, Optimizer, Recipe, Schedule, Watcher, train


def together(size: int, act: Callable[[], Any]) -> list[int]:
    """Do something in so many processes that train as one, as torchrun would start them; how they ended.

    If one fails, the others are killed: they would wait half an hour for it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(size)}
    children = [fork(act, RANK=str(rank), LOCAL_RANK=str(rank), **place) for rank in range(size)]
    statuses: dict[int, int] = {}
    while len(statuses) < size:
        child, status = os.wait()
        statuses[child] = os.waitstatus_to_exitcode(status)
        if statuses[child] not in (0, 128 + signal.SIGTERM):
            for other in set(children) - statuses.keys():
                os.kill(other, signal.SIGKILL)
    return [statuses[child] for child in children]


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
        WHOLE, name="batchnorm", model=ModelSpec("four-block-cnn", {"width": 0.25, "dropout": 0.0})
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
