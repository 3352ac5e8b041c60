"""Save and load the files of a training in its run folder: weights, history, and the state for resuming."""

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

# Format of a state: this line; a line with the SHA-256, in hex, of all that follows; a torch archive.
_HEAD = b"mien state 1\n"
#: The first bytes of a torch archive. A state of mien 0.1 is a bare archive, without a digest.
_BARE = b"PK"


def save_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a network's whole `state_dict()`, buffers included, as a safetensors file."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_file(path) as handle:
        handle.write(safetensors.torch.save(plain))


def save_state(run: RunFolder, state: Mapping[str, Any]) -> None:
    """Write the state that the next step depends on; the state before it is kept as a second file."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    digest = hashlib.sha256(content.getbuffer()).hexdigest()
    with atomic_file(run.state_path, keep=run.earlier_state_path) as handle:
        handle.write(_HEAD + digest.encode() + b"\n")
        handle.write(content.getbuffer())


def load_state(run: RunFolder) -> tuple[dict[str, Any], str | None]:
    """Read the last state written by `save_state`, or the one before it if the last is damaged.

    A damaged file is then replaced by the one before it, so that the next save does not overwrite the
    only good one. Only tensors and plain values are unpickled.

    Returns:
        (state, remark): the remark is a sentence for people if the state is not the last one, else None.

    Raises:
        InputError: there is no state, or all are damaged.
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
        raise InputError(
            f"{run.path}: nothing to resume, because the run has no last/state.pt; train again"
        )
    raise InputError(f"{'; '.join(faults)}; train again")


class _DamagedError(Exception):
    """The file of a state is damaged."""


def _read_state(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _DamagedError(error.strerror or "unreadable") from error
    if not content.startswith(_BARE):
        digest, _, archive = content.removeprefix(_HEAD).partition(b"\n")
        if hashlib.sha256(archive).hexdigest().encode() != digest:
            raise _DamagedError("its sha256 differs")
        content = archive
    try:
        state: dict[str, Any] = torch.load(
            io.BytesIO(content), weights_only=True, map_location="cpu"
        )
    except Exception as error:  # torch raises many kinds for a damaged file
        raise _DamagedError(type(error).__name__) from error
    return state


def save_history(run: RunFolder, rows: Sequence[Mapping[str, float]]) -> None:
    """Write history.csv, one line for each epoch: the columns HISTORY_COLUMNS, then any others of the rows."""
    with atomic_file(run.history_path, "w") as handle:
        columns = dict.fromkeys([*HISTORY_COLUMNS, *chain.from_iterable(rows)])
        writer = csv.DictWriter(handle, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def sweep_run(run: RunFolder) -> None:
    """Remove partly written files that a killed training left in its run folder."""
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
    """The interval between two saves of the state within an epoch; infinite values never save.

    Attributes:
        steps: save after this many steps.
        seconds: save after this many seconds.
    """

    steps: float = math.inf
    seconds: float = math.inf

    @classmethod
    def parse(cls, text: str) -> Interval:
        """Parse `200` (steps), `10m` (minutes) or `none`.

        Raises:
            InputError: the text is none of these.

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
    """Tells when it is time to save again.

    Attributes:
        step: the step of the last save.
    """

    def __init__(self, interval: Interval) -> None:
        self._interval = interval
        self.restart(0)

    def restart(self, step: int) -> None:
        """Start a new interval; the state of `step` has just been saved."""
        self.step, self._time = step, time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the last save."""
        return time.monotonic() - self._time

    def is_over(self, step: int) -> bool:
        """Whether the state of `step` has to be saved now."""
        steps = step - self.step
        return steps >= self._interval.steps or self.seconds >= self._interval.seconds
