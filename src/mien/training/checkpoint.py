"""What a run folder holds of a training: weights for everyone, state for resuming."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from mien.errors import InputError
from mien.files import atomic_file, sweep
from mien.runs import HISTORY_COLUMNS, RunFolder

# A state is this line, the sha256 of all that follows in hexadecimal and a line's end, a torch archive.
_HEAD = b"mien state 1\n"
#: How a torch archive begins: a state of mien 0.1, which had no digest.
_BARE = b"PK"


def save_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """All of a network's `state_dict()`, as safetensors; buffers such as BatchNorm's included."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_file(path) as handle:
        handle.write(safetensors.torch.save(plain))


def save_state(run: RunFolder, state: Mapping[str, Any]) -> None:
    """Everything that the next step depends on. The state before it is kept beside it."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    digest = hashlib.sha256(content.getbuffer()).hexdigest()
    with atomic_file(run.state_path, keep=run.earlier_state_path) as handle:
        handle.write(_HEAD + digest.encode() + b"\n")
        handle.write(content.getbuffer())


def load_state(run: RunFolder) -> tuple[dict[str, Any], str | None]:
    """The last state that `save_state` wrote, or the one before it where that one is damaged.

    A damaged one is then replaced by the one before it, so that no good state is lost to it. Only
    tensors and plain values are ever unpickled.

    Returns:
        The state, and a sentence for people where it is not the last one.

    Raises:
        InputError: there is none, or none that is whole.
    """
    faults = []
    for path in (run.state_path, run.earlier_state_path):
        if not path.is_file():
            continue
        try:
            state = _read_state(path)
        except _DamagedError as fault:
            faults.append(f"{path}: damaged ({fault})")
            continue
        if not faults:
            return state, None
        path.replace(run.state_path)
        return state, f"{faults[0]}; training goes on from the state before it"
    if not faults:
        raise InputError(f"{run.path}: nothing to resume; the run has no last/state.pt")
    raise InputError(f"{'; '.join(faults)}; train again")


class _DamagedError(Exception):
    """A state is not what was written."""


def _read_state(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _DamagedError(error.strerror or "unreadable") from error
    if not content.startswith(_BARE):
        digest, _, archive = content.removeprefix(_HEAD).partition(b"\n")
        if hashlib.sha256(archive).hexdigest().encode() != digest:
            raise _DamagedError("its sha256 is another")
        content = archive
    try:
        state: dict[str, Any] = torch.load(
            io.BytesIO(content), weights_only=True, map_location="cpu"
        )
    except Exception as error:  # torch raises many kinds for a damaged file
        raise _DamagedError(type(error).__name__) from error
    return state


def save_history(run: RunFolder, rows: Sequence[Mapping[str, float]]) -> None:
    """One line an epoch: the columns of HISTORY_COLUMNS, and what the rows have beyond them."""
    with atomic_file(run.history_path, "w") as handle:
        columns = dict.fromkeys([*HISTORY_COLUMNS, *chain.from_iterable(rows)])
        writer = csv.DictWriter(handle, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def sweep_run(run: RunFolder) -> None:
    """Remove the parts of files that a training which was killed left in its run folder."""
    for path in (
        run.recipe_path,
        run.environment_path,
        run.history_path,
        run.best_weights,
        run.last_weights,
        run.state_path,
    ):
        sweep(path)


@dataclass(frozen=True)
class Interval:
    """How long a training may go on within an epoch before its state is saved.

    steps: so many, or any number. seconds: so many, or any number.
    """

    steps: float = math.inf
    seconds: float = math.inf

    @classmethod
    def parse(cls, text: str) -> Interval:
        """`200` (steps), `10m` (minutes) or `none`; InputError for anything else.

        >>> Interval.parse("200"), Interval.parse("10m")
        (Interval(steps=200, seconds=inf), Interval(steps=inf, seconds=600.0))
        """
        number, minutes = text.strip().removesuffix("m"), text.strip().endswith("m")
        if text.strip() == "none":
            return cls()
        try:
            interval = cls(seconds=60 * float(number)) if minutes else cls(steps=int(number))
        except ValueError:
            interval = cls(steps=0)
        if not (interval.steps >= 1 and interval.seconds > 0):
            raise InputError(
                f"--checkpoint-every {text}: write 200 for steps, 10m for minutes, or none"
            )
        return interval


class Timer:
    """Says when an interval is over.

    Attributes:
        step: that of the state that was saved last.
    """

    def __init__(self, interval: Interval) -> None:
        self._interval = interval
        self.restart(0)

    def restart(self, step: int) -> None:
        """The state of `step` is saved."""
        self.step, self._time = step, time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since a state was saved."""
        return time.monotonic() - self._time

    def is_over(self, step: int) -> bool:
        """Whether the state of `step` is to be saved now."""
        steps = step - self.step
        return steps >= self._interval.steps or self.seconds >= self._interval.seconds
