"""report.html: scores, curves and mistakes of a run on one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.store import FaceView
from mien.errors import InputError, quantity
from mien.evaluation import across
from mien.evaluation.confidence import JUDGES, as_it_answers, confidence
from mien.evaluation.evaluate import other_data_told
from mien.evaluation.evaluation import Evaluation
from mien.evaluation.model_folder import ModelFolder
from mien.evaluation.summary import HEADLINES, NEAR, OF_CALIBRATION
from mien.evaluation.text import duration, figure_text, flatten, interval_text, moment, percent
from mien.evaluation.views import Predictor
from mien.files import spreadsheet_name
from mien.pages import blocks, plots, plots_of_confidence
from mien.pages.render import draw, write
from mien.pages.tables import (
    BY_CHANCE,
    calibration_rows,
    chance_text,
    people_table,
    per_class_table,
)
from mien.recipe import to_dict
from mien.recognise.explain import hidden_parts, painted
from mien.recognise.pictures import data_url
from mien.runs import RunFolder, validated

#: Splits in the order of their weight as evidence: the headline has the score of the first that was evaluated.
SPLIT_ORDER = ("test", "validation", "official-validation", "train")  # other data follow
OWN = "Pictures from your own data, for your own eyes: mind their licence before you pass this page on."
#: Number of mistakes shown for each split.
MISTAKES = 24
#: Number of mistakes, the worst ones, that are explained: each needs some hundred passes of the network.
EXPLAINED = 6
_COARSE = 1 / 8
#: The view of headline, matrices and mistakes.
VIEW = "none"


def write_report(
    run: RunFolder,
    faces_by_split: Mapping[str, FaceView] | None = None,
    predict: Predictor | None = None,
) -> Path:
    """Write report.html and the PNGs of its figures into the run folder.

    The page shows recipe, environment, history and every evaluated split, as far as the run has them.

    Args:
        run: the run folder, or the evaluations of a model file.
        faces_by_split: split -> its evaluated faces; the page shows the most confident mistakes among them.
        predict: the run's predictor, uint8 (B, C, H, W) -> probabilities (B, K), to explain the worst mistakes.

    Returns:
        The path of report.html.

    Raises:
        InputError: the given faces are not the evaluated ones; nothing is written.
    """
    faces_by_split = faces_by_split or {}
    recipe = run.recipe()
    environment = run.known_environment()
    history = run.history()
    others = sorted(path.stem for path in run.path.glob(f"evaluation-{across.PREFIX}*.json"))
    names = [*SPLIT_ORDER, *(name.removeprefix("evaluation-") for name in others)]
    evaluations = [Evaluation.load(run, s) for s in names if run.evaluation(s) is not None]
    mistakes = {  # before any writing, because it raises if these are not the evaluated faces
        item.split: find_mistakes(item, faces_by_split[item.split], predict)
        for item in evaluations
        if item.split in faces_by_split
    }
    name = recipe.name or run.path.name
    parts = [
        *(blocks.Text(note, "note") for note in _notes(run, evaluations)),
        *_headline(evaluations),
        *([blocks.Tiles(tiles)] if (tiles := _tiles(history, run.seconds(), evaluations)) else []),
        *_scores(evaluations),
        *_training(run, validated(history)),
    ]
    for item in evaluations:
        parts += _split(run, item, mistakes.get(item.split, []))
    parts += _honesty(run, evaluations)
    parts += _made_of(run, environment)
    parts += blocks.commands([environment.get("command"), *(item.command for item in evaluations)])
    kind = "evaluation" if isinstance(run, ModelFolder) else "training"
    page = blocks.Page(f"{name}: {kind} report", parts, _subtitle(run, name, environment))
    return write(page, run.path / "report.html")


def _subtitle(run: RunFolder, name: str, environment: Mapping[str, Any]) -> str:
    data = environment.get("data") or {}
    folder = run.path.name if run.path.name != name else None
    parts = [
        folder,
        data.get("source"),
        environment.get("device"),
        moment(environment.get("started")),
    ]
    return " · ".join(str(part) for part in parts if part)


def _notes(run: RunFolder, evaluations: list[Evaluation]) -> list[str]:
    """Warnings that limit the validity of the figures, as sentences."""
    notes = []
    if not evaluations:
        notes.append(
            "Not evaluated yet: mien evaluate scores the run and writes this page again. "
            "The curves below are the training's own."
        )
    current = run.weights_digest()
    for item in evaluations:
        if item.weights and item.weights != current:
            notes.append(
                f"The {item.split} scores belong to other weights than the run has now: "
                "evaluate again."
            )
        told = list(item.notes)
        # Files of earlier versions lack this note.
        if not run.may_be_trained_on(item.fingerprint) and item.across is None:
            told.append(other_data_told(item.split, item.source))
        notes += [f"{sentence[:1].upper()}{sentence[1:]}." for sentence in told]
        if item.across is not None:
            continue  # its own section explains it
        if item.training_faces == 0 and item.split != "train":
            notes.append(
                f"The data of the {item.split} scores hold no training faces, so copies of them "
                "could not be looked for."
            )
    return list(dict.fromkeys(notes))


def _headline(evaluations: list[Evaluation]) -> list[blocks.Block]:
    if not evaluations:
        return []
    first = evaluations[0]
    scores = first.scores[VIEW].official
    beside = [
        blocks.Text(
            f"95 % interval **{interval_text(scores.accuracy_interval)} %**", "quiet", marked=True
        ),
        blocks.Text(f"{quantity(scores.count, 'face')} of {first.source}", "quiet"),
    ]
    accuracy = figure_text("accuracy", scores.accuracy)
    return [blocks.Headline(accuracy, f"{first.split} accuracy, single view", beside)]


def _tiles(
    history: list[dict[str, float]], seconds: float, evaluations: list[Evaluation]
) -> list[tuple[str, str, str]]:
    tiles: list[tuple[str, str, str]] = []
    if evaluations:
        first = evaluations[0]
        scores = first.scores[VIEW]
        chance = scores.official.calibration_chance
        beside = f"{BY_CHANCE} {chance_text(chance)}" if chance else "confidence off accuracy"
        for title, name, note in (
            ("deduplicated", "deduplicated accuracy", "without copies of training faces"),
            ("macro F1", "macro F1", "every expression counts alike"),
            ("cross-entropy", "cross-entropy", "nats a face"),
            ("calibration error", "calibration error", beside),
        ):
            tiles.append(
                (title, figure_text(name, HEADLINES[name](scores)), f"{first.split}: {note}")
            )
    if seen := validated(history):
        gap = f"{100 * seen[-1]['gap']:.1f} points"
        tiles.append(("overfitting gap", gap, "training - validation, last epoch"))
    if history:
        tiles.append(("trained for", duration(seconds), quantity(len(history), "epoch")))
    return tiles


def _scores(evaluations: list[Evaluation]) -> list[blocks.Block]:
    """Tabulate every view of every split, with a column without near copies if an evaluation has any."""
    near = any(item.near_copies_in_training for item in evaluations)
    left_out = OF_CALIBRATION if near else (NEAR, *OF_CALIBRATION)
    names = [name for name in HEADLINES if name not in left_out]
    rows = []
    for item in evaluations:
        for view, scores in item.scores.items():
            first, *rest = (figure_text(name, HEADLINES[name](scores)) for name in names)
            interval = interval_text(scores.official.accuracy_interval)
            rows.append([item.split, view, first, interval, *rest])
    said = "Deduplicated: without the faces that have an exact copy among the training faces"
    if near:
        said += (
            "; without near copies: without those either that are the same photograph, cut, sized, lit or "
            "mirrored differently"
        )
    said += ". The interval is a bootstrap over faces; it says nothing of how another training seed would do."
    head = ["split", "view", "accuracy", "95 % interval", *names[1:]]
    return blocks.section("Scores", blocks.Table(head, rows, words=2), said=said)


def _training(run: RunFolder, history: list[dict[str, float]]) -> list[blocks.Block]:
    if not history:
        return []
    accuracy, loss = plots.accuracy_curves(history), plots.loss_curves(history)
    said = "Training and validation {} by epoch"
    drawn = [
        draw(accuracy, run.path, "curves-accuracy", said.format("accuracy")),
        draw(loss, run.path, "curves-loss", said.format("loss")),
    ]
    return blocks.section("Training", blocks.Columns(drawn))


def _split(run: RunFolder, item: Evaluation, mistakes: list[blocks.Pictured]) -> list[blocks.Block]:
    """Make the section of an evaluated split: figures, table of expressions and mistakes."""
    scores, split = item.scores[VIEW].official, item.split
    title = _title(item)
    # Figures have room for a short name only.
    short = title if item.across is None else plots.short(Path(item.source).name, 12)
    bars = draw(
        plots.class_bars(scores, item.expressions, short),
        run.path,
        f"per-class-{split}",
        f"Precision, recall and F1 of each expression on the {split} split",
    )
    diagram = draw(
        plots.reliability(scores, short),
        run.path,
        f"reliability-{split}",
        f"Reliability diagram of the {split} split",
    )
    matrix = plots.confusion(scores.confusion, item.expressions, short)
    shares = f"Confusion matrix of the {split} split: counts and shares"
    people: list[blocks.Block] = []
    if item.people is not None:
        table = people_table(item.people)
        said = blocks.Text(table.caption, "quiet small")
        people = blocks.section("Beside people", table, said, level=3)
    wrong = blocks.Gallery(mistakes)
    return blocks.section(
        title,
        *(blocks.Text(sentence, "quiet") for sentence in _across_sentences(item)),
        draw(matrix, run.path, f"confusion-{split}", shares, "wide"),
        blocks.Columns([blocks.Card([bars, per_class_table(item, VIEW)]), diagram]),
        blocks.Card(people),
        blocks.Card(blocks.section("The most confident mistakes", wrong, said=OWN, level=3)),
        said=_counts(item),
    )


def _counts(item: Evaluation) -> str:
    copies, near = int(item.copies.sum()), item.near_copies_in_training
    said = f"{quantity(len(item), 'face')} of {item.source} (fingerprint {item.fingerprint[:12]})"
    if item.training_faces:
        said += f", {copies:,} with an exact copy in training"
    return said + (f", {near:,} more with a near one." if near else ".")


def _title(item: Evaluation) -> str:
    if item.across is None:
        return item.split.replace("-", " ").capitalize()
    return f"Other data: {Path(item.source).name}"


def _across_sentences(item: Evaluation) -> list[str]:
    """Sentences on the mapping of other data's classes and on the network's unrestricted answers."""
    if item.across is None:
        return []
    own = item.across.own_answers[VIEW]
    return [
        *item.across.sentences(item.expressions),
        f"Out of all {len(item.across.known)} expressions that it knows, its answer is right on "
        f"{figure_text('accuracy', own.accuracy)} ({interval_text(own.accuracy_interval)}); "
        f"{figure_text('', own.elsewhere)} of its answers name none of the shared ones.",
    ]


def _honesty(run: RunFolder, evaluations: list[Evaluation]) -> list[blocks.Block]:
    """Make the section on calibration and on the threshold of `uncertain`.

    A model file contains its calibration, so none is fitted for it.
    """
    current = run.weights_digest()
    of_these = {item.split: item for item in evaluations if item.weights == current}
    before: list[blocks.Block] = []
    if isinstance(run, ModelFolder):
        found = as_it_answers(of_these, run.card.uncertain_below)
        head = ["", "as it answers"]
    else:
        found = confidence(of_these, lifts_rare=run.recipe().objective.lifts_rare)
        head = ["", "as it was trained", "calibrated"]
    if found is None:
        return []
    if isinstance(run, ModelFolder):
        said = "as the model file answers: its calibration is inside it."
    else:
        said = (
            f"as the network was trained and with the temperature {found.how} that validation faces ask for; "
            "mien export puts them into the model file."
        )
        if found.shown == "validation":
            said += " It was fitted to these very faces."
        both = plots_of_confidence.before_and_after(found)
        described = "Reliability diagrams before and after calibration"
        before = [draw(both, run.path, "calibration", described, "wide")]
    rows = [row[: len(head)] for row in calibration_rows(found.before, found.after)]
    risk = plots_of_confidence.risk_coverage(found)
    shares = "Share of wrong answers by the share of faces answered"
    return blocks.section(
        "Are its probabilities honest?",
        *before,
        blocks.Columns([draw(risk, run.path, "risk-coverage", shares), blocks.Table(head, rows)]),
        said=f"{found.shown.capitalize()} faces, judged by {JUDGES[found.judge]}, {said} {found.doubt}",
    )


def _made_of(run: RunFolder, environment: Mapping[str, Any]) -> list[blocks.Block]:
    data = environment.get("data") or {}
    rest = {k: v for k, v in environment.items() if k not in ("data", "command")}
    recipe = _facts("Recipe", to_dict(run.recipe()))
    cards = [recipe, _facts("Data", data) + _facts("Environment", rest)]
    columns = blocks.Columns([blocks.Card(card) for card in cards if card])
    return blocks.section("Recipe, data, environment", columns)


def _facts(title: str, values: Mapping[str, Any]) -> list[blocks.Block]:
    return blocks.section(title, blocks.Facts(flatten(values)), level=3)


def find_mistakes(
    item: Evaluation, faces: FaceView, predict: Predictor | None = None
) -> list[blocks.Pictured]:
    """Find the wrong answers with the highest probability.

    Args:
        item: the evaluation.
        faces: the evaluated faces.
        predict: uint8 (B, C, H, W) -> probabilities (B, K), to colour the worst faces by the influence of their
            pixels; None leaves this out.

    Returns:
        At most MISTAKES faces, the most confident mistake first.

    Raises:
        InputError: the faces are not the evaluated ones.
    """
    place = dict(zip(map(spreadsheet_name, faces.rows), faces.indices, strict=True))
    probabilities = item.probabilities[VIEW]
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != item.labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    missing = [row for row in item.rows[worst].tolist() if row not in place]
    if missing:
        raise InputError(
            f"{faces.store.source}: has no face {missing[0]!r} of the {item.split} scores; "
            "give the data that were evaluated, or evaluate again"
        )
    shown = [faces.store.pixels[place[row]] for row in item.rows[worst].tolist()]
    explained = EXPLAINED if predict is not None and item.across is None else 0
    return [
        blocks.Pictured(
            picture=picture(face),
            row=str(item.rows[i]),
            label=item.expressions[item.labels[i]],
            name=item.expressions[predicted[i]],
            beside=percent(confidence[i], 0),
            below=[f"labelled {item.expressions[item.labels[i]]}"],
            why=_why(predict, face) if predict is not None and rank < explained else "",
        )
        for rank, (i, face) in enumerate(zip(worst, shown, strict=True))
    ]


def _why(predict: Predictor, face: NDArray[np.uint8]) -> str:
    """Colour a face by the influence of its pixels on the answer; a PNG in a data: URL."""
    mattered = hidden_parts(predict, face, step=_COARSE)
    return data_url(painted(face, mattered))


def picture(face: NDArray[np.uint8]) -> str:
    """Encode a face, uint8 (C, H, W), as a PNG in a data: URL."""
    return data_url(face[0] if face.shape[0] == 1 else face.transpose(1, 2, 0))
