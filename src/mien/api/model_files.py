"""From a run to a model file."""

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
    device: str = "auto",
) -> Exported:
    """Write a run's best network as one ONNX file that needs no torch and carries its card.

    Args:
        run: a run folder.
        out: the file, `.onnx`.
        data: what the run was trained on, by default where it lay then: its validation faces
            calibrate and check the file, its training faces scale int8.
        weights: `float32`; `float16`, half the size; or `int8`, a quarter and faster, at some loss.
        max_drop: refuse a smaller file that loses more validation accuracy than this, in points.
        licence: of the weights, for the card.
        name: of the model, for the card; by default the recipe's.
        votes: FER+'s fer2013new.csv: temperature, threshold of `uncertain` and limits are then judged by
            the majority of its annotators, else by the labels.
        labels: the label set of the data, by default the run's.
        imported: the file of your own that the run was trained with, if there was one; it is run.
        device: must be there, as everywhere; the file is compared with torch on the CPU, whatever it is.
    """
    from mien.exporting import export_run

    said = read_votes(votes) if votes is not None else None
    folder, store = run_and_data(run, data, labels, device, imported=imported)
    return export_run(
        folder,
        store,
        Path(out),
        weights=weights,
        max_drop=max_drop,
        licence=licence,
        name=name,
        votes=said,
        device=device,
    )
