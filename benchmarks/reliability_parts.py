"""What the parts of benchmarks/reliability.py share: a training with everything on, and what became of it."""

from __future__ import annotations

import os
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mien.data import load, split
from mien.data.store import FaceView
from mien.errors import MienError
from mien.runs import RunFolder
from mien.training import (
    Augment,
    Mixing,
    ModelSpec,
    Moment,
    Objective,
    Optimizer,
    Recipe,
    Schedule,
    Watcher,
)

FACES, BATCH, EPOCHS = 72, 16, 2
STEPS_AN_EPOCH = -(-FACES // BATCH)  # the last of each is a short one
WHOLE = Recipe(
    name="all on, by step",
    model=ModelSpec("four-block-cnn", {"width": 0.25, "conv_dropout": 0.1}),
    augment=Augment(flip=0.5, rotation=15, scale=(0.9, 1.1), shift=0.1, light=0.2, erase=0.3),
    mixing=Mixing(name="mixup", probability=0.5),
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
        mixing=Mixing(name="cutmix", probability=0.5),
        objective=Objective(class_weights="balanced"),
        optimizer=Optimizer(name="sgd", lr=0.05, momentum=0.9, nesterov=True),
        schedule=Schedule(name="plateau", patience=0),
        early_stopping=2,
        select="loss",
        ema=None,
    ),
]
#: Without BatchNorm and dropout, which differ between one process and several; it learns fast.
PLAIN = replace(
    WHOLE,
    name="no batch statistics",
    model=ModelSpec("basic-cnn", {"width": 0.25, "dropout": 0.0}),
    augment=Augment(flip=0.5, rotation=5),
    mixing=Mixing(name="mixup", probability=0.25),
    objective=Objective(),
    optimizer=Optimizer(name="adamw", lr=4e-3),
    schedule=Schedule(),
    epochs=8,
)


# What is compared


def faces() -> tuple[FaceView, FaceView]:
    parts = split(load(f"synthetic:{FACES}"), WHOLE.split)
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


# How it is stopped


class StopAt(Watcher):
    """Sends this process a signal at a step, as a scheduler would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def stepped(self, moment: Moment) -> None:
        if moment.step == self.step:
            self.step = 0  # the last step of an epoch is told twice
            signal.raise_signal(signal.SIGTERM)
