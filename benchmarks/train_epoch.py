"""Processor time of an epoch, validation included, beside that of another state of mien.

    git worktree add ../before COMMIT
    python benchmarks/train_epoch.py --before ../before/src [--recipe mien-s] [--rounds 2] [--json FILE]

An epoch of FER-2013 is made up of its parts, as each state's own recipe has them: 28,709 faces in steps, and 4,096
faces for precise statistics and 3,589 for validation, once in every `validate_every` epochs. A share of each is
measured: some steps after the first, which warms up, and a seventh of the other faces. Drawn faces cost what others do.

Each measurement is a fresh process of one thread; the two states take turns. It is processor time, which other work
on the machine disturbs less than the clock. Beside it stands the rate at which the machine multiplies matrices in the
same process, and the share of it that a step reaches.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: Faces of FER-2013 by use.
TRAINING, VALIDATION = 28_709, 3_589
#: Of validation and precise statistics, so much of FER-2013's is measured.
SHARE = 7
#: A forward pass, as much again for each of the gradients; two operations a multiply-add.
OPERATIONS_PER_MULTIPLY_ADD = 3 * 2


def measure(name: str, steps: int) -> dict[str, Any]:
    """Of the mien that is imported: seconds of a step and of a share of validation, and what they are made of."""
    import torch

    from mien import models
    from mien.data import load
    from mien.recipes import find
    from mien.training import Watcher, loop, override, train

    torch.set_num_threads(1)
    loop._LOOK_EVERY = 0.0  # tell of every step

    class Clock(Watcher):
        def __init__(self) -> None:
            self.steps: list[float] = []
            self.ended_at = 0.0

        def stepped(self, moment: Any) -> None:
            self.steps.append(time.process_time())

        def epoch_ended(self, row: Any, confusion_KK: Any, *, best: bool) -> None:
            self.ended_at = time.process_time()

    recipe = find(name)
    settings = ["epochs=1"]
    if recipe.precise_norm is not None:
        settings.append(f"precise_norm={recipe.precise_norm // SHARE}")
    store = load(f"synthetic:{recipe.batch_size * steps + VALIDATION // SHARE}")
    positions = list(range(len(store)))
    fitted, judged = positions[: recipe.batch_size * steps], positions[-(VALIDATION // SHARE) :]
    clock = Clock()
    with tempfile.TemporaryDirectory() as scratch:
        run = train(
            override(recipe, settings),
            store.faces(fitted),
            store.faces(judged),
            Path(scratch) / "run",
            device="cpu",
            checkpoint_every="none",
            watchers=[clock],
        )
        precision = run.environment()["precision"]
    *stepped, last = clock.steps  # the end of an epoch is told too
    step = (stepped[-1] - stepped[0]) / (len(stepped) - 1)
    validation = SHARE * (clock.ended_at - last)
    every = getattr(recipe, "validate_every", 1)
    epoch = -(-TRAINING // recipe.batch_size) * step + validation / every
    operations = models.cost(recipe.model.name).multiply_adds * OPERATIONS_PER_MULTIPLY_ADD
    return {
        "step": step,
        "validation": validation,
        "validate_every": every,
        "epoch": epoch,
        "images_per_second": TRAINING / epoch,
        "precision": precision,
        "operations_per_second": operations * recipe.batch_size / step,
        "matrix_rate": matrix_rate(),
    }


def matrix_rate() -> float:
    """Operations in a second of processor time, of float32 matrix products: the best of some."""
    import torch

    rate = 0.0
    for size in (1024, 2048):
        left, right = torch.randn(size, size), torch.randn(size, size)
        out = torch.mm(left, right)
        for _ in range(3):
            started = time.process_time()
            torch.mm(left, right, out=out)
            rate = max(rate, 2 * size**3 / (time.process_time() - started))
    return rate


def measured_by(source: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """`measure` in a process of its own, with the mien that lies in a folder."""
    command = [sys.executable, __file__, "--part", "--recipe", arguments.recipe]
    done = subprocess.run(
        [*command, "--steps", str(arguments.steps)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        sys.exit(f"train_epoch: {source} could not be measured (see above)")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, metavar="SRC", help="another state's `src`")
    parser.add_argument("--recipe", default="mien-s")
    parser.add_argument("--steps", type=int, default=4, help="at least 3; the first warms up")
    parser.add_argument("--rounds", type=int, default=2, help="measurements of each state")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(measure(arguments.recipe, max(3, arguments.steps))))
        return
    sources = {"now": Path(__file__).parents[1] / "src"}
    if arguments.before is not None:
        sources = {"before": arguments.before.resolve()} | sources
    found: dict[str, list[dict[str, Any]]] = {state: [] for state in sources}
    for number in range(arguments.rounds):
        for state in [*sources][:: 1 if number % 2 == 0 else -1]:
            found[state].append(measured_by(sources[state], arguments))
            print(f"{state}: {found[state][-1]}", file=sys.stderr)
    show(arguments.recipe, found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def show(recipe: str, found: dict[str, list[dict[str, Any]]]) -> None:
    def median(state: str, field: str) -> float:
        return statistics.median(float(one[field]) for one in found[state])

    print(f"{recipe}, an epoch of {TRAINING:,} faces on one thread, seconds of processor time\n")
    print(
        f"{'':10}{'step':>8}{'validation':>12}{'every':>7}{'epoch':>9}{'images/s':>10}{'rate':>7}"
    )
    for state in found:
        share = median(state, "operations_per_second") / median(state, "matrix_rate")
        print(
            f"{state:10}{median(state, 'step'):8.2f}{median(state, 'validation'):12.1f}"
            f"{median(state, 'validate_every'):7.0f}{median(state, 'epoch'):9.0f}"
            f"{median(state, 'images_per_second'):10.1f}{share:7.0%}"
        )
    kinds = {one["precision"] for every in found.values() for one in every}
    rate = max(one["matrix_rate"] for every in found.values() for one in every)
    print(
        f"\nTrained in {', '.join(sorted(kinds))}. `rate`: share of the {rate / 1e9:.0f} GFLOP/s at which "
        "the machine multiplies float32 matrices, while a step is taken."
    )
    if "before" in found:
        ratios = [
            before["epoch"] / now["epoch"]
            for before, now in zip(found["before"], found["now"], strict=True)
        ]
        print(
            f"An epoch is {median('before', 'epoch') / median('now', 'epoch'):.2f} times as fast as before; "
            f"by round {min(ratios):.2f} to {max(ratios):.2f}."
        )


if __name__ == "__main__":
    main()
