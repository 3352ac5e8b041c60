"""Scoring runs and model files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mien.api.inputs import is_model_file, open_model, read_for, run_and_data
from mien.callbacks import Progress
from mien.data.exclusions import read_exclusions
from mien.data.ferplus import read_votes
from mien.data.mapping import ClassMap, parse_map
from mien.data.store import FaceStore, FaceView
from mien.errors import InputError, MissingExtraError
from mien.evaluation.model_folder import ModelFolder
from mien.expressions import canonical
from mien.files import from_home
from mien.recognise.media import is_address
from mien.recognise.naming import is_packaged
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
    progress: Progress | None = None,
    command: str | None = None,
) -> Evaluation:
    """Score a run or a model file on a split or on other data, and write a report.

    For a run, scores, probabilities and report are written into its folder; for a model file, which needs
    no torch, into `out`. With `exclude` nothing is written, as these files are about whole splits. Data
    with other classes than the training data are scored over the expressions that both have: see
    `mien.evaluation.across`.

    Args:
        run: a run folder, a file that `export` wrote, or the name of a packaged model.
        data: a path, `synthetic`, `synthetic:N`, or a store; by default the run's training data. Needed
            for a model file.
        split: `validation`, `test`, `official-validation` (the source's own validation faces,
            independent of the run's split), `train` (the training faces, without augmentation and
            dropout) or `all` (every face, of other data). By default `validation`, but `all` for other
            data without splits.
        tta: test-time augmentation: `none`, `flip` or `ten` views, scored in addition to the single view.
        exclude: a list that `mien data audit` wrote: its faces are not scored.
        mapping: translation of other data's classes to the network's, `"joy=happy,contempt="` or
            `{"joy": "happy", "contempt": None}`; faces of None are left out and counted. Classes that the
            network knows by name may be missing.
        votes: FER+'s fer2013new.csv: also compare the single view with its annotators.
        labels: the label set of the data, by default the run's; with `mapping`, by default the names
            of the class folders.
        skip_damaged: leave out pictures that cannot be decoded; the run's own data are read in the same way
            as for its training.
        imported: the user's file that the run was trained with, if there was one; it is run.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, `mps`.
        out: only for a model file, the folder of its report; by default `NAME-report` beside the file, or
            in the working directory for a packaged model. Without the extra `report` no page is written,
            which is an error only if `out` is given.
        progress: called after each batch with (faces done, faces in all).
        command: the command line, for the record.

    Returns:
        The scores of each view.

    Raises:
        InputError: the run or model, the data or an argument cannot be used.
        MissingExtraError: a run needs the extra `train`, a report the extra `report`.
    """
    from mien.evaluation import check_request
    from mien.pages import write_report

    check_request(split, tta)
    excluded = read_exclusions(exclude) if exclude is not None else None
    said = read_votes(votes) if votes is not None else None
    subject, folder = _subject(
        run, data, split, _class_map(mapping), labels, device, out, imported, skip_damaged
    )
    subject = subject.without(excluded)
    if excluded is None:  # before scoring, which takes minutes, so that it fails early
        _make(folder)
    evaluation = subject.evaluated(tta, command=command, votes=said, progress=progress)
    if excluded is not None:
        return evaluation
    evaluation.save(folder)
    pictured = _pictured(folder, subject) | {evaluation.split: subject.faces}
    with _page_if_possible(folder, out):
        write_report(folder, pictured, None if subject.across is not None else subject.predict)
    return evaluation


def report_folder(model: str | Path, out: str | Path | None = None) -> Path:
    """The folder of a model file's report: `out`, else `NAME-report` beside the file.

    For a packaged model or a URL it is in the working directory.

    >>> report_folder("models/mine.onnx").as_posix(), report_folder("mien-people").as_posix()
    ('models/mine-report', 'mien-people-report')
    """
    if out is not None:
        return from_home(out)
    text = str(model)
    if is_address(text):
        return Path(f"{Path(urlsplit(text).path).stem}-report")
    path = from_home(text)
    return path.with_name(f"{text if is_packaged(text) else path.stem}-report")


def evaluate_corrupted(
    run: str | Path | RunFolder,
    data: str | Path | FaceStore | None = None,
    split: str | None = None,
    *,
    votes: str | Path | None = None,
    labels: Sequence[str] | None = None,
    skip_damaged: bool = False,
    imported: str | Path | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> Robustness:
    """Score a run or a model file on faces with 15 kinds of corruptions, in the single view.

    Figures and a page are written into the same folder as by `evaluate`.

    Args:
        run, data, split, labels, skip_damaged, imported, device, out, command: as for `evaluate`.
        votes: FER+'s fer2013new.csv: score against the majority of its annotators instead of the labels, on
            the faces that have one.
        progress: called after each corruption with (number done, total number).

    Returns:
        The scores by corruption and severity.

    Raises:
        InputError: as `evaluate`; or the data have other classes than the network.
        MissingExtraError: as `evaluate`.
    """
    from mien import evaluation
    from mien.pages import write_robustness_page

    evaluation.check_request(split, "none")
    said = read_votes(votes) if votes is not None else None
    subject, folder = _subject(run, data, split, None, labels, device, out, imported, skip_damaged)
    if subject.across is not None:
        raise InputError(
            f"{subject.faces.store.source}: its classes differ from the network's, but --corruptions "
            "scores all classes of the network; give data that have them, such as the training data"
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
    """Create the folder of a model file's report, so that it fails before anything is computed."""
    if isinstance(folder, ModelFolder):
        folder.make()


@contextmanager
def _page_if_possible(folder: RunFolder, out: str | Path | None) -> Iterator[None]:
    """Ignore a missing extra for the page of a model file unless `out` is given: its scores need no extra."""
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
    skip_damaged: bool,
) -> tuple[Subject, RunFolder]:
    """Open a run or model file with its data, as a `Subject`; and the folder of its scores, not yet created."""
    from mien.evaluation import Subject
    from mien.recognise.doubt import sure_of_crops
    from mien.resize import fitted

    if isinstance(run, RunFolder) or not is_model_file(run):
        if out is not None:
            raise InputError(
                "--out is for model files only: a run's report is in its folder; leave it out"
            )
        from mien.models import pick_device

        pick_device(device)  # one that is not there is refused before the data are read
        folder, store = run_and_data(
            run, data, labels, mapping, imported=imported, skip_damaged=skip_damaged
        )
        return Subject.of_run(folder, store, split, device, mapping), folder
    if imported is not None:
        raise InputError("--import is for runs only: a model file does not need it; leave it out")
    model = open_model(run, device)
    card = model.card
    folder = ModelFolder(report_folder(run, out), card)
    folder.recipe()  # a card's that is none of mien's is refused now, not after the scores
    if data is None:
        raise InputError(f"{run}: a model file has no data of its own; give --data")
    store = read_for(card, data, labels, mapping, card.trained_on, skip_damaged=skip_damaged)
    subject = Subject.of_model(
        card, lambda faces: model(fitted(faces, card.input)), store, split, str(run), mapping
    )
    return replace(
        subject,
        is_sure=lambda faces, answers: sure_of_crops(card, fitted(faces, card.input), answers),
    ), folder


def _pictured(folder: RunFolder, subject: Subject) -> dict[str, FaceView]:
    """The faces of all splits with scores in a run's folder, as far as their data are available."""
    from mien.evaluation import SPLIT_NAMES, faces_to_score

    store = subject.faces.store
    if subject.across is not None:
        if isinstance(folder, ModelFolder):  # it has no note of its data
            return {}
        try:
            _, store = run_and_data(folder, None, None)
        except InputError:  # the training data have been moved or deleted
            return {}
    return {
        name: faces_to_score(folder, store, name)[0]
        for name in SPLIT_NAMES
        if ((folder.evaluation(name) or {}).get("data") or {}).get("fingerprint")
        == store.fingerprint
    }


def _class_map(mapping: ClassMap | str | None) -> ClassMap | None:
    """A mapping with normalised names, from its text or dict."""
    if isinstance(mapping, str):
        return parse_map(mapping)
    if mapping is None:
        return None
    return {
        canonical(name): None if own is None else canonical(own) for name, own in mapping.items()
    }
