"""report.html: everything a run has to show, on one page that loads nothing from anywhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.data.store import FaceView
from mien.errors import InputError
from mien.evaluation import across, plots, plots_of_confidence
from mien.evaluation.confidence import JUDGES, as_it_answers, confidence
from mien.evaluation.evaluation import Evaluation
from mien.evaluation.model_folder import ModelFolder
from mien.evaluation.pages import draw, write_page
from mien.evaluation.tables import (
    BY_CHANCE,
    HEADLINES,
    NEAR,
    OF_CALIBRATION,
    calibration_rows,
    chance_text,
    people_cells,
    people_left_out,
)
from mien.evaluation.text import duration, figure_text, flatten, interval_text, percent
from mien.evaluation.views import Predictor
from mien.recipe import to_dict
from mien.recognise.explain import hidden_parts, painted
from mien.runs import RunFolder, validated

#: Splits in the order of their weight as evidence: the first that was evaluated gives the headline.
SPLIT_ORDER = ("test", "validation", "official-validation", "train")  # and other data behind them
#: Mistakes shown for each split.
MISTAKES = 24
#: Of these, the worst are explained: each takes some hundred looks by the network.
EXPLAINED = 6
_COARSE = 1 / 8
#: The view that headline, matrices and mistakes are about.
VIEW = "none"


def write_report(
    run: RunFolder,
    faces_by_split: Mapping[str, FaceView] | None = None,
    predict: Predictor | None = None,
) -> Path:
    """Write report.html and the PNGs of its figures into the run folder; the path of the page.

    Shows what the run has: recipe, environment, history and every evaluated split, each as far as
    it is there. The most confident mistakes are pictured for the splits whose faces are handed in; with the run's
    predictor, uint8 (B, C, H, W) -> probabilities (B, K), the worst also as it saw them.
    """
    faces_by_split = faces_by_split or {}
    recipe = run.recipe()
    environment = run.known_environment()
    history = run.history()
    others = sorted(path.stem for path in run.path.glob(f"evaluation-{across.PREFIX}*.json"))
    names = [*SPLIT_ORDER, *(name.removeprefix("evaluation-") for name in others)]
    evaluations = [Evaluation.load(run, s) for s in names if run.evaluation(s) is not None]
    mistakes = {  # before anything is written, for handed-in faces may not be the evaluated ones
        item.split: find_mistakes(item, faces_by_split[item.split], predict)
        for item in evaluations
        if item.split in faces_by_split
    }
    name = recipe.name or run.path.name
    return write_page(
        run.path / "report.html",
        "report.html.j2",
        title=f"{name}: {'evaluation' if isinstance(run, ModelFolder) else 'training'} report",
        name=name,
        subtitle=_subtitle(run, name, environment),
        notes=_notes(run, environment, evaluations),
        headline=_headline(evaluations),
        tiles=_tiles(history, evaluations),
        score_head=["split", "view", "accuracy", "95 % interval", *_headlines(evaluations)[1:]],
        score_rows=_score_rows(evaluations),
        curves=_curves(run, validated(history)),
        evaluations=[_section(run, item, mistakes.get(item.split, [])) for item in evaluations],
        confidence=_confidence(run, evaluations),
        recipe=flatten(to_dict(recipe)),
        data=flatten(environment.get("data") or {}),
        environment=flatten({k: v for k, v in environment.items() if k not in ("data", "command")}),
        commands=_commands(environment, evaluations),
    )


def _subtitle(run: RunFolder, name: str, environment: Mapping[str, Any]) -> str:
    data = environment.get("data") or {}
    folder = run.path.name if run.path.name != name else None
    parts = [
        folder,
        data.get("source"),
        environment.get("device"),
        environment.get("started"),
    ]
    return " · ".join(str(part) for part in parts if part)


def _notes(
    run: RunFolder, environment: Mapping[str, Any], evaluations: list[Evaluation]
) -> list[str]:
    """What a reader has to know before believing the figures."""
    notes = []
    if not evaluations:
        notes.append(
            "Not evaluated yet: mien evaluate scores the run and writes this page again. "
            "The curves below are the training's own."
        )
    current = run.weights_digest()
    trained_on = (environment.get("data") or {}).get("fingerprint")
    for item in evaluations:
        if item.weights and item.weights != current:
            notes.append(
                f"The {item.split} scores belong to other weights than the run has now: "
                "evaluate again."
            )
        notes += [f"{sentence[:1].upper()}{sentence[1:]}." for sentence in item.notes]
        if item.across is not None:
            continue  # its section says what it is
        if trained_on and item.fingerprint and item.fingerprint != trained_on:
            notes.append(
                f"The {item.split} scores were made on other data ({item.source}) than the run was "
                "trained on: copies of its training faces were looked for in those data only."
            )
        if item.training_faces == 0 and item.split != "train":
            notes.append(
                f"The data of the {item.split} scores hold no training faces, so copies of them "
                "could not be looked for."
            )
    return list(dict.fromkeys(notes))


def _headline(evaluations: list[Evaluation]) -> dict[str, str] | None:
    if not evaluations:
        return None
    first = evaluations[0]
    scores = first.scores[VIEW].official
    return {
        "accuracy": figure_text("accuracy", scores.accuracy),
        "what": f"{first.split} accuracy, single view",
        "interval": interval_text(scores.accuracy_interval),
        "faces": f"{scores.count:,} faces of {first.source}",
    }


def _tiles(history: list[dict[str, float]], evaluations: list[Evaluation]) -> list[dict[str, str]]:
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
        seconds = sum(row["seconds"] for row in history)
        tiles.append(("trained for", duration(seconds), f"{len(history)} epochs"))
    return [{"name": name, "value": value, "note": note} for name, value, note in tiles]


def _headlines(evaluations: list[Evaluation]) -> list[str]:
    """The names of the columns: a score without near copies only where some evaluation has one."""
    near = any(item.near_copies_in_training for item in evaluations)
    left_out = OF_CALIBRATION if near else (NEAR, *OF_CALIBRATION)
    return [name for name in HEADLINES if name not in left_out]


def _score_rows(evaluations: list[Evaluation]) -> list[list[str]]:
    rows = []
    for item in evaluations:
        for view, scores in item.scores.items():
            first, *rest = (
                figure_text(name, HEADLINES[name](scores)) for name in _headlines(evaluations)
            )
            interval = interval_text(scores.official.accuracy_interval)
            rows.append([item.split, view, first, interval, *rest])
    return rows


def _curves(run: RunFolder, history: list[dict[str, float]]) -> list[Any]:
    if not history:
        return []
    return [
        draw(
            plots.accuracy_curves(history),
            run.path,
            "curves-accuracy",
            "Training and validation accuracy by epoch",
        ),
        draw(
            plots.loss_curves(history),
            run.path,
            "curves-loss",
            "Training and validation loss by epoch",
        ),
    ]


def _section(run: RunFolder, item: Evaluation, mistakes: list[dict[str, str]]) -> dict[str, Any]:
    """One evaluated split: its figures, its table of expressions, its mistakes."""
    scores, split = item.scores[VIEW].official, item.split
    title = _title(item)
    # In figures there is room for a short name.
    what = title if item.across is None else plots.short(Path(item.source).name, 12)
    copies, near = int(item.copies.sum()), item.near_copies_in_training
    return {
        "title": title,
        "counts": f"{len(item):,} faces of {item.source} (fingerprint {item.fingerprint[:12]})"
        + (f", {copies:,} with an exact copy in training" if item.training_faces else "")
        + (f", {near:,} more with a near one." if near else "."),
        "confusion": draw(
            plots.confusion(scores.confusion, item.expressions, what),
            run.path,
            f"confusion-{split}",
            f"Confusion matrix of the {split} split: counts and shares",
        ),
        "bars": draw(
            plots.class_bars(scores, item.expressions, what),
            run.path,
            f"per-class-{split}",
            f"Precision, recall and F1 of each expression on the {split} split",
        ),
        "reliability": draw(
            plots.reliability(scores, what),
            run.path,
            f"reliability-{split}",
            f"Reliability diagram of the {split} split",
        ),
        "per_class": [
            [
                expression,
                *(figure_text("", v) for v in (own.precision, own.recall, own.f1)),
                f"{own.support:,}",
            ]
            for expression, own in zip(item.expressions, scores.per_class, strict=True)
        ],
        "mistakes": mistakes,
        "sentences": [] if item.across is None else _across_sentences(item),
        "people": [] if item.people is None else people_cells(item.people),
        "people_left_out": "" if item.people is None else people_left_out(item.people),
    }


def _title(item: Evaluation) -> str:
    if item.across is None:
        return item.split.replace("-", " ").capitalize()
    return f"Other data: {Path(item.source).name}"


def _across_sentences(item: Evaluation) -> list[str]:
    """How classes of other data were read, and what somebody sees who uses the network."""
    assert item.across is not None  # noqa: S101 (the caller looked)
    own = item.across.own_answers[VIEW]
    return [
        *item.across.sentences(item.expressions),
        f"Out of all {len(item.across.known)} expressions that it knows, its answer is right on "
        f"{figure_text('accuracy', own.accuracy)} ({interval_text(own.accuracy_interval)}); "
        f"{figure_text('', own.elsewhere)} of its answers name none of the shared ones.",
    ]


def _confidence(run: RunFolder, evaluations: list[Evaluation]) -> dict[str, Any] | None:
    """What a temperature does to the probabilities, and where doubt begins."""
    current = run.weights_digest()
    of_these = {item.split: item for item in evaluations if item.weights == current}
    if isinstance(run, ModelFolder):
        return _confidence_of_file(run, of_these)
    found = confidence(of_these, lifts_rare=run.recipe().objective.lifts_rare)
    if found is None:
        return None
    same = " It was fitted to these very faces." if found.shown == "validation" else ""
    return {
        "explanation": f"{found.shown.capitalize()} faces, judged by {JUDGES[found.judge]}, as the network "
        f"was trained and with the temperature {found.how} that validation faces ask for; mien "
        f"export puts them into the model file.{same} {found.doubt}",
        "head": ["", "as it was trained", "calibrated"],
        "rows": calibration_rows(found.before, found.after),
        "before_and_after": draw(
            plots_of_confidence.before_and_after(found),
            run.path,
            "calibration",
            "Reliability diagrams before and after calibration",
        ),
        "risk": draw(
            plots_of_confidence.risk_coverage(found),
            run.path,
            "risk-coverage",
            "Share of wrong answers by the share of faces answered",
        ),
    }


def _confidence_of_file(
    run: ModelFolder, evaluations: Mapping[str, Evaluation]
) -> dict[str, Any] | None:
    """How far a model file's answers can be trusted: its calibration is inside, nothing is fitted here."""
    found = as_it_answers(evaluations, run.card.uncertain_below)
    if found is None:
        return None
    return {
        "explanation": f"{found.shown.capitalize()} faces, judged by {JUDGES[found.judge]}, as the model file "
        f"answers: its calibration is inside it. {found.doubt}",
        "head": ["", "as it answers"],
        "rows": [[name, value] for name, value, *_ in calibration_rows(found.after, found.after)],
        "before_and_after": None,
        "risk": draw(
            plots_of_confidence.risk_coverage(found),
            run.path,
            "risk-coverage",
            "Share of wrong answers by the share of faces answered",
        ),
    }


def find_mistakes(
    item: Evaluation, faces: FaceView, predict: Predictor | None = None
) -> list[dict[str, str]]:
    """The faces that were taken for another expression with the largest probability.

    With `predict`, `why` of the worst is the face coloured by what mattered; else it is empty.
    """
    place = dict(zip(faces.rows.tolist(), faces.indices, strict=True))
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
    return [
        {
            "picture": picture(faces.store.pixels[place[str(item.rows[i])]]),
            "why": ""
            if predict is None or item.across is not None or rank >= EXPLAINED
            else _why(predict, faces.store.pixels[place[str(item.rows[i])]]),
            "row": str(item.rows[i]),
            "true": item.expressions[item.labels[i]],
            "predicted": item.expressions[predicted[i]],
            "probability": percent(confidence[i], 0),
        }
        for rank, i in enumerate(worst)
    ]


def _why(predict: Predictor, face: NDArray[np.uint8]) -> str:
    """A face coloured by what spoke for the answer and against it, as a data: address."""
    mattered = hidden_parts(predict, face, step=_COARSE)
    return picture(painted(face, mattered).transpose(2, 0, 1))


def picture(face: NDArray[np.uint8]) -> str:
    """A face, uint8 (C, H, W), as a PNG inside a data: address."""
    pixels = face[0] if face.shape[0] == 1 else face.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _commands(environment: Mapping[str, Any], evaluations: list[Evaluation]) -> list[str]:
    commands = [environment.get("command"), *(item.command for item in evaluations)]
    return list(dict.fromkeys(str(command) for command in commands if command))
