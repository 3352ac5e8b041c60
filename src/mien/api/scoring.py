"""From a run, or a model file, to scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mien.api.inputs import is_model_file, read_for, run_and_data
from mien.callbacks import Progress
from mien.data.exclusions import read_exclusions
from mien.data.ferplus import read_votes
from mien.data.mapping import ClassMap, parse_map
from mien.data.store import FaceStore, FaceView
from mien.errors import InputError, MissingExtraError
from mien.evaluation.model_folder import ModelFolder
from mien.expressions import canonical
from mien.recognise.naming import find_model, is_model_address, is_packaged
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
    imported: str | Path | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    command: str | None = None,
) -> Evaluation:
    """Score a run, or a model file, on a split or on other data.

    Of a run, scores, probabilities and report are written into its folder; of a model file, which needs
    no torch for it, into `out`. Nothing is written where faces are excluded, for what stands there is of
    whole splits. Data that are not those of the training, with other classes or names, are scored over the
    expressions they share: see `mien.evaluation.across`.

    Args:
        run: a run folder, a file that `export` wrote, or the name of a model inside the package.
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
        imported: the file of your own that the run was trained with, if there was one; it is run.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, `mps`.
        out: of a model file alone, the folder of its report; by default `NAME-report` beside the file, and
            in the working folder for a model inside the package. Without the extra `report` the page is
            left away unless `out` is given.
        command: the command line, for the record.
    """
    from mien.evaluation import check_request
    from mien.pages import write_report

    check_request(split, tta)
    excluded = read_exclusions(exclude) if exclude is not None else None
    said = read_votes(votes) if votes is not None else None
    subject, folder = _subject(
        run,
        data,
        split,
        _class_map(mapping),
        labels,
        device,
        out,
        imported,
        skip_damaged=skip_damaged,
    )
    subject = subject.without(excluded)
    if excluded is None:
        _make(folder)
    evaluation = subject.evaluated(tta, command=command, votes=said)
    if excluded is not None:
        return evaluation
    evaluation.save(folder)
    pictured = _pictured(folder, subject) | {evaluation.split: subject.faces}
    with _page_if_possible(folder, out):
        write_report(folder, pictured, None if subject.across is not None else subject.predict)
    return evaluation


def report_folder(model: str | Path, out: str | Path | None = None) -> Path:
    """Where the report of a model file goes: `out`, else `NAME-report` beside the file.

    Of a model inside the package or behind an address it is below the working folder.

    >>> report_folder("models/mine.onnx").as_posix(), report_folder("mien-people").as_posix()
    ('models/mine-report', 'mien-people-report')
    """
    if out is not None:
        return Path(out)
    text = str(model)
    if is_model_address(text):
        return Path(f"{Path(urlsplit(text).path).stem}-report")
    path = Path(text)
    return path.with_name(f"{text if is_packaged(text) else path.stem}-report")


def evaluate_corrupted(
    run: str | Path | RunFolder,
    data: str | Path | FaceStore | None = None,
    split: str | None = None,
    *,
    votes: str | Path | None = None,
    labels: Sequence[str] | None = None,
    imported: str | Path | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> Robustness:
    """Score a run, or a model file, on a split whose faces are made worse in 15 ways, in the single view.

    Figures and a page are written where `evaluate` writes its own.

    Args:
        run, data, split, labels, imported, device, out, command: as for `evaluate`.
        votes: FER+'s fer2013new.csv: the majority of its annotators judges in place of the labels, on the
            faces that have one.
        progress: told after each corruption: (done, in all).
    """
    from mien import evaluation
    from mien.pages import write_robustness_page

    evaluation.check_request(split, "none")
    said = read_votes(votes) if votes is not None else None
    subject, folder = _subject(run, data, split, None, labels, device, out, imported)
    if subject.across is not None:
        raise InputError(
            f"{subject.faces.store.source}: its classes are not those of the network, and --corruptions "
            "scores all of these; give data that have them, as those of the training"
        )
    _make(folder)
    name = folder.recipe().name
    found = evaluation.evaluate_corrupted(
        subject, name, votes=said, progress=progress, command=command
    )
    found.save(folder)
    with _page_if_possible(folder, out):
        write_robustness_page(found, folder.path)
    return found


def _make(folder: RunFolder) -> None:
    """Have the folder of a model file's report, before anything is computed."""
    if isinstance(folder, ModelFolder):
        folder.make()


@contextmanager
def _page_if_possible(folder: RunFolder, out: str | Path | None) -> Iterator[None]:
    """Of a model file, whose scores need no extra, a page that nobody asked for is left away without one."""
    try:
        yield
    except MissingExtraError:
        if out is not None or not isinstance(folder, ModelFolder):
            raise


def _subject(
    run: str | Path | RunFolder,
    data: str | Path | FaceStore | None,
    split: str | None,
    mapping: ClassMap | None,
    labels: Sequence[str] | None,
    device: str,
    out: str | Path | None,
    imported: str | Path | None,
    *,
    skip_damaged: bool = False,
) -> tuple[Subject, RunFolder]:
    """A run or a model file, and what it is to be scored on; the folder of its scores, not yet made."""
    from mien.evaluation import Subject
    from mien.recognise.doubt import sure_of_crops
    from mien.recognise.model import FaceModel
    from mien.resize import fitted

    if isinstance(run, RunFolder) or not is_model_file(run):
        if out is not None:
            raise InputError(
                "--out is of model files: a run's report is in its folder; leave it away"
            )
        folder, store = run_and_data(
            run, data, labels, device, mapping, imported=imported, skip_damaged=skip_damaged
        )
        return Subject.of_run(folder, store, split, device, mapping), folder
    if imported is not None:
        raise InputError("--import is of runs: a model file needs no file of yours; leave it away")
    named = find_model(run)
    model = FaceModel.open(named.content, device, where=str(run) if named.packaged else named.where)
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
    ), ModelFolder(report_folder(run, out), card)


def _pictured(folder: RunFolder, subject: Subject) -> dict[str, FaceView]:
    """The faces of the splits whose scores stand in a run, as far as they are at hand."""
    from mien.evaluation import SPLIT_NAMES, faces_to_score

    store = subject.faces.store
    if subject.across is not None:
        if isinstance(folder, ModelFolder):  # which does not know where its data lie
            return {}
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
