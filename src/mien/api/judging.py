"""From a run, or a model file, to scores; from a run to a model file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mien.api.choosing import is_model_file, load_for
from mien.data.exclusions import read_exclusions
from mien.data.store import FaceStore
from mien.errors import InputError
from mien.expressions import SEVEN
from mien.runs import RunFolder

if TYPE_CHECKING:
    from mien.evaluation import Evaluation, Progress, Robustness, Subject
    from mien.exporting import Exported


def evaluate(
    run: str | Path | RunFolder,
    data: str | Path | FaceStore | None = None,
    split: str = "validation",
    *,
    tta: str = "flip",
    exclude: str | Path | None = None,
    labels: Sequence[str] | None = None,
    device: str = "auto",
    command: str | None = None,
) -> Evaluation:
    """Score a run, or a model file, on a split.

    Of a run, scores, probabilities and report are written into its folder. Of a model file, which needs
    no torch for it, nothing is written; nor where faces are excluded, for what stands in a run is of
    whole splits.

    Args:
        run: a run folder, or a file that `export` wrote.
        data: a path, `synthetic`, `synthetic:N`, or a store; by default what the run was trained on.
            A model file does not know where that lies.
        split: `validation`, `test`, `official-validation` (the source's own validation faces,
            whatever split the run was trained with) or `train` (what it was fitted to, seen
            without augmentation and dropout).
        tta: `none`, `flip` or `ten`: a view scored beside the single one.
        exclude: a list that `mien data audit` wrote: its faces are not scored.
        labels: the label set of the data, by default the run's.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.
        command: the command line, for the record.
    """
    from mien.evaluation import (
        SPLIT_NAMES,
        Subject,
        check_request,
        evaluate_run,
        faces_to_score,
        write_report,
    )

    check_request(split, tta)
    excluded = read_exclusions(exclude) if exclude is not None else None
    if not isinstance(run, RunFolder) and is_model_file(run):
        subject = _model_subject(Path(run), data, split, labels, device)
        return subject.without(excluded).evaluated(tta, command=command)
    folder, store = _run_and_data(run, data, labels, device)
    if excluded is not None:
        subject = Subject.of_run(folder, store, split, device)
        return subject.without(excluded).evaluated(tta, command=command)
    evaluation = evaluate_run(folder, store, split, tta, device, command=command)
    pictured = {
        name: faces_to_score(folder, store, name)[0]
        for name in SPLIT_NAMES
        if ((folder.evaluation(name) or {}).get("data") or {}).get("fingerprint")
        == store.fingerprint
    }
    write_report(folder, pictured)
    return evaluation


def evaluate_corrupted(
    run: str | Path | RunFolder,
    data: str | Path | FaceStore | None = None,
    split: str = "validation",
    *,
    labels: Sequence[str] | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    command: str | None = None,
) -> Robustness:
    """Score a run, or a model file, on a split whose faces are made worse in 15 ways, in the single view.

    Of a run, figures and a page are written into its folder; of a model file nothing is.

    Args:
        run, data, split, labels, device, command: as for `evaluate`.
        progress: told after each corruption: (done, in all).
    """
    from mien import evaluation

    evaluation.check_request(split, "none")
    if not isinstance(run, RunFolder) and is_model_file(run):
        subject = _model_subject(Path(run), data, split, labels, device)
        return evaluation.evaluate_corrupted(
            subject, Path(run).stem, progress=progress, command=command
        )
    folder, store = _run_and_data(run, data, labels, device)
    subject = evaluation.Subject.of_run(folder, store, split, device)
    name = str(folder.recipe()["name"])
    found = evaluation.evaluate_corrupted(subject, name, progress=progress, command=command)
    found.save(folder)
    evaluation.write_robustness_page(found, folder.path)
    return found


def export(
    run: str | Path | RunFolder,
    out: str | Path,
    *,
    data: str | Path | FaceStore | None = None,
    int8: bool = False,
    max_drop: float = 0.5,
    licence: str | None = None,
    labels: Sequence[str] | None = None,
    device: str = "auto",
) -> Exported:
    """Write a run's best network as one ONNX file that needs no torch and carries its card.

    Args:
        run: a run folder.
        out: the file, `.onnx`.
        data: what the run was trained on, by default where it lay then: its validation faces
            calibrate and check the file, its training faces scale int8.
        int8: quantise; faster and a quarter of the size, at some loss.
        max_drop: refuse int8 where it loses more validation accuracy than this, in points.
        licence: of the weights, for the card.
        labels: the label set of the data, by default the run's.
        device: where torch computes what the file is compared with.
    """
    from mien.exporting import export_run

    folder, store = _run_and_data(run, data, labels, device)
    return export_run(
        folder, store, Path(out), int8=int8, max_drop=max_drop, licence=licence, device=device
    )


def _run_and_data(
    run: str | Path | RunFolder,
    data: str | Path | FaceStore | None,
    labels: Sequence[str] | None,
    device: str,
) -> tuple[RunFolder, FaceStore]:
    """A run, and the data given or else those that it was trained on; a wrong device is refused first."""
    from mien.models import pick_device
    from mien.training import from_dict

    pick_device(device)
    folder = RunFolder.open(run.path if isinstance(run, RunFolder) else run)
    recipe = from_dict(folder.recipe(), str(folder.recipe_path))
    if data is None:
        data = (folder.environment().get("data") or {}).get("source")
        if data is None:
            raise InputError(f"{folder.path}: does not say what it was trained on; give --data")
    if labels is None and recipe.expressions != SEVEN:
        labels = recipe.expressions
    return folder, load_for(recipe, data, labels)


def _model_subject(
    path: Path,
    data: str | Path | FaceStore | None,
    split: str,
    labels: Sequence[str] | None,
    device: str,
) -> Subject:
    """A model file, and the split of some data that it is to be scored on."""
    from mien.evaluation import Subject
    from mien.recognise.model import FaceModel
    from mien.recognise.resize import fitted

    model = FaceModel.open(path, device)
    card = model.card
    if data is None:
        raise InputError(f"{path}: a model file does not know where its data lie; give --data")
    if labels is None and card.expressions != SEVEN:
        labels = card.expressions
    return Subject.of_model(
        card,
        lambda faces: model(fitted(faces, card.input)),
        load_for(card, data, labels),
        split,
        where=str(path),
    )
