"""What a run folder holds of a training: weights for everyone, state for resuming."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from mien.errors import InputError
from mien.files import atomic_file
from mien.runs import HISTORY_COLUMNS, RunFolder


def save_weights(path: Path, network: nn.Module) -> None:
    """All tensors of a network by name, as safetensors; buffers such as BatchNorm's included."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    with atomic_file(path) as handle:
        handle.write(safetensors.torch.save(tensors))


def save_state(run: RunFolder, state: Mapping[str, Any]) -> None:
    """Everything beside the weights that the next step depends on."""
    with atomic_file(run.state_path) as handle:
        torch.save(dict(state), handle)


def load_state(run: RunFolder) -> dict[str, Any]:
    """The state that `save_state` wrote. Only tensors and plain values are ever unpickled."""
    if not run.state_path.is_file():
        raise InputError(f"{run.path}: nothing to resume; the run has no last/state.pt")
    try:
        state: dict[str, Any] = torch.load(run.state_path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(
            f"{run.state_path}: damaged ({type(error).__name__}); train again"
        ) from error
    return state


def save_history(run: RunFolder, rows: Sequence[Mapping[str, float]]) -> None:
    """One line an epoch, the columns of HISTORY_COLUMNS."""
    with atomic_file(run.history_path, "w") as handle:
        writer = csv.DictWriter(handle, HISTORY_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
