"""Exporting a run as a model file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mien.api.inputs import run_and_data
from mien.data.ferplus import read_votes
from mien.data.store import FaceStore
from mien.runs import RunFolder

if TYPE_CHECKING:
    from mien.exporting import Exported, Weights


def export(
    run: str | Path | RunFolder,
    out: str | Path,
    *,
    data: str | Path | FaceStore | None = None,
    weights: Weights = "float32",
    max_drop: float = 0.5,
    licence: str | None = None,
    name: str | None = None,
    votes: str | Path | None = None,
    labels: Sequence[str] | None = None,
    imported: str | Path | None = None,
) -> Exported:
    """Write a run's best network as one ONNX file, which contains its card and needs no torch.

    Args:
        run: a run folder.
        out: the file, `.onnx`.
        data: the run's training data, by default from the place that the run has noted. The validation
            faces calibrate and check the file, the training faces set the scales of int8.
        weights: `float32`; `float16`, half the size; or `int8`, a quarter of the size and faster, but less
            accurate.
        max_drop: refuse a float16 or int8 file that loses more validation accuracy, in percentage points.
        licence: licence of the weights, for the card.
        name: name of the model, for the card; by default the recipe's.
        votes: FER+'s fer2013new.csv: fit temperature, threshold of `uncertain` and limits to the majority
            of its annotators instead of the labels.
        labels: the label set of the data, by default the run's.
        imported: the user's file that the run was trained with, if there was one; it is run.

    Returns:
        The file, its card and its measured speeds.

    Raises:
        InputError: the run or its data cannot be used, or the smaller file loses too much accuracy.
        MissingExtraError: the extra `train` is not installed.
    """
    from mien.exporting import export_run

    said = read_votes(votes) if votes is not None else None
    folder = RunFolder.open(run)
    # The run's data are asked for, wherever they lie now: without the pictures that its training left out.
    damaged = bool((folder.environment().get("data") or {}).get("damaged"))
    folder, store = run_and_data(folder, data, labels, imported=imported, skip_damaged=damaged)
    return export_run(
        folder,
        store,
        Path(out),
        weights=weights,
        max_drop=max_drop,
        licence=licence,
        name=name,
        votes=said,
    )
