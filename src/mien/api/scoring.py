"""From a run, or a model file, to scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mien.api.inputs import is_model_file, read_for, run_and_data
from mien.callbacks import Progress
from mien.data.exclusions import read_exclusions
from mien.data.ferplus import read_votes
from mien.data.mapping import ClassMap, parse_map
from mien.data.store import FaceStore, FaceView
from mien.errors import InputError
from mien.expressions import canonical
from mien.runs import RunFolder

if TYPE_CHECKING:
    from mien.evaluation import Evaluation, Robustness, Subject


def evaluate(
    run: str | Path | RunFolder,
    data: str | Path | FaceStore | None = None,
    split: str | None = None,
    *,
    tta: str = "flip",
    exclude: str | Path | None = None,
    mapping: ClassMap | str | None = None,
    votes: str | Path | None = None,
    labels: Sequence[str] | None = None,
    skip_damaged: bool = False,
    device: str = "auto",
    command: str | None = None,
) -> Evaluation:
    """Score a run, or a model file, on a split or on other data.

    Of a run, scores, probabilities and report are written into its folder. Of a model file, which needs
    no torch for it, nothing is written; nor where faces are excluded, for what stands in a run is of
    whole splits. Data that are not those of the training, with other classes or names, are scored over the
    expressions they share: see `mien.evaluation.across`.

    Args:
        run: a run folder, or a file that `export` wrote.
        data: a path, `synthetic`, `synthetic:N`, or a store; by default what the run was trained on.
            A model file does not know where that lies.
        split: `validation`, `test`, `official-validation` (the source's own validation faces,
            whatever split the run was trained with), `train` (what it was fitted to, seen
            without augmentation and dropout) or `all` (every face, of other data). By default
            `validation`, but `all` of other data that tell no splits.
        tta: `none`, `flip` or `ten`: a view scored beside the single one.
        exclude: a list that `mien data audit` wrote: its faces are not scored.
        mapping: what classes of other data are to the network, `"joy=happy,contempt="` or
            `{"joy": "happy", "contempt": None}`; faces of None are left out and counted. Classes that the
            network knows by name need not be in it.
        votes: FER+'s fer2013new.csv: the single view is compared with its annotators too.
        labels: the label set of the data, by default the run's; with `mapping`, by default the names
            of the class folders.
        skip_damaged: leave out pictures that cannot be decoded; a run's own data are read as they were
            for its training.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, `mps`.
        command: the command line, for the record.
    """
    from mien.evaluation import check_request, write_report

    check_request(split, tta)
    excluded = read_exclusions(exclude) if exclude is not None else None
    said = read_votes(votes) if votes is not None else None
    subject, folder = _subject(
        run, data, split, _class_map(mapping), labels, device, skip_damaged=skip_damaged
    )
    subject = subject.without(excluded)
    evaluation = subject.evaluated(tta, command=command, votes=said)
    if folder is None or excluded is not None:
        return evaluation
    evaluation.save(folder)
    pictured = _pictured(folder, subject) | {evaluation.split: subject.faces}
    write_report(folder, pictured)
    return evaluation


def evaluate_corrupted(
    run: str | Path | RunFolder,
    data: str | Path | FaceStore | None = None,
    split: str | None = None,
    *,
    votes: str | Path | None = None,
    labels: Sequence[str] | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    command: str | None = None,
) -> Robustness:
    """Score a run, or a model file, on a split whose faces are made worse in 15 ways, in the single view.

    Of a run, figures and a page are written into its folder; of a model file nothing is.

    Args:
        run, data, split, labels, device, command: as for `evaluate`.
        votes: FER+'s fer2013new.csv: the majority of its annotators judges in place of the labels, on the
            faces that have one.
        progress: told after each corruption: (done, in all).
    """
    from mien import evaluation

    evaluation.check_request(split, "none")
    said = read_votes(votes) if votes is not None else None
    subject, folder = _subject(run, data, split, None, labels, device)
    if subject.across is not None:
        raise InputError(
            f"{subject.faces.store.source}: its classes are not those of the network, and --corruptions "
            "scores all of these; give data that have them, as those of the training"
        )
    name = Path(str(run)).stem if folder is None else folder.recipe().name
    found = evaluation.evaluate_corrupted(
        subject, name, votes=said, progress=progress, command=command
    )
    if folder is None:
        return found
    found.save(folder)
    evaluation.write_robustness_page(found, folder.path)
    return found


def _subject(
    run: str | Path | RunFolder,
    data: str | Path | FaceStore | None,
    split: str | None,
    mapping: ClassMap | None,
    labels: Sequence[str] | None,
    device: str,
    *,
    skip_damaged: bool = False,
) -> tuple[Subject, RunFolder | None]:
    """A run or a model file, and what it is to be scored on; the run's folder."""
    from mien.evaluation import Subject
    from mien.recognise.doubt import sure_of_crops
    from mien.recognise.model import FaceModel
    from mien.recognise.resize import fitted

    if isinstance(run, RunFolder) or not is_model_file(run):
        folder, store = run_and_data(run, data, labels, device, mapping, skip_damaged=skip_damaged)
        return Subject.of_run(folder, store, split, device, mapping), folder
    model = FaceModel.open(run, device)
    card = model.card
    if data is None:
        raise InputError(f"{run}: a model file does not know where its data lie; give --data")
    store = read_for(card, data, labels, mapping, skip_damaged=skip_damaged)
    subject = Subject.of_model(
        card, lambda faces: model(fitted(faces, card.input)), store, split, str(run), mapping
    )
    return replace(
        subject,
        is_sure=lambda faces, answers: sure_of_crops(card, fitted(faces, card.input), answers),
    ), None


def _pictured(folder: RunFolder, subject: Subject) -> dict[str, FaceView]:
    """The faces of the splits whose scores stand in a run, as far as they are at hand."""
    from mien.evaluation import SPLIT_NAMES, faces_to_score

    store = subject.faces.store
    if subject.across is not None:
        try:
            _, store = run_and_data(folder, None, None, "cpu")
        except InputError:  # what it was trained on lies there no more
            return {}
    return {
        name: faces_to_score(folder, store, name)[0]
        for name in SPLIT_NAMES
        if ((folder.evaluation(name) or {}).get("data") or {}).get("fingerprint")
        == store.fingerprint
    }


def _class_map(mapping: ClassMap | str | None) -> ClassMap | None:
    """A mapping in this project's names."""
    if isinstance(mapping, str):
        return parse_map(mapping)
    if mapping is None:
        return None
    return {
        canonical(name): None if own is None else canonical(own) for name, own in mapping.items()
    }
