"""Export a run as one model file: calibrated, checked against torch, and written completely or not at all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from mien.card import CropRule, Limits, ModelCard
from mien.data.ferplus import Votes
from mien.data.store import FaceStore, FaceView, evenly
from mien.errors import InputError, MienError
from mien.evaluation import compute_scores, faces_to_score
from mien.evaluation.calibration import (
    Calibration,
    enough_to_calibrate,
    fit_calibration,
    fit_uncertain_below,
    softmax,
)
from mien.evaluation.limits import detail_curves, limit_of, measured_curves
from mien.evaluation.metrics import Scores
from mien.evaluation.people import majority_of
from mien.evaluation.scenes import found_curves
from mien.exporting.graph import halved, traced, with_probabilities
from mien.exporting.int8 import FACES, faces_per_second, quantised
from mien.files import atomic_file
from mien.input_spec import InputSpec
from mien.models import Classifier, load_classifier
from mien.recipe import to_dict
from mien.recognise.model import BATCH, FaceModel
from mien.recognise.model_file import OPSET, digest_of, sealed
from mien.resize import fitted
from mien.runs import RunFolder
from mien.version import __version__

#: The number format of the weights in a file.
Weights: TypeAlias = Literal["float32", "float16", "int8"]

#: The largest allowed difference of a logit or probability between the float32 file and torch.
MAX_DIFFERENCE = 1e-4
#: Number of validation faces for this comparison.
_PARITY_FACES = 512
#: Number of validation faces for measuring limits: as ready crops, and inside pictures with face detection.
_LIMIT_FACES, _SCENE_FACES = 1024, 256
#: Batch size for measuring speed.
_SPEED_FACES = 64


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    Attributes:
        path: the model file.
        size: its size in bytes.
        card: its model card.
        speeds: number format -> faces a second on one thread, for float32 and the smaller format; empty
            if the file is float32.
    """

    path: Path
    size: int
    card: ModelCard
    speeds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        card = self.card
        return {
            "model": str(self.path),
            "bytes": self.size,
            "digest": card.digest,
            "temperature": card.temperature,
            "uncertain_below": card.uncertain_below,
            "uncertain_beyond": asdict(card.uncertain_beyond),
            "parity": card.parity,
            "scores": card.scores,
            "faces_per_second": {name: round(speed) for name, speed in self.speeds.items()},
        }


def export_run(
    run: RunFolder,
    store: FaceStore,
    out: Path,
    *,
    weights: Weights = "float32",
    max_drop: float = 0.5,
    licence: str | None = None,
    name: str | None = None,
    votes: Votes | None = None,
) -> Exported:
    """Write a run's best network as a model file.

    Temperature, offsets, threshold and limits are fitted on the run's validation faces, never on test faces. With
    `votes`, faces with a majority are used, and the majority is the truth; without, all faces and their labels. The
    file depends only on the run, the data and the versions of the libraries: it contains no time and no path.

    Args:
        run: a run folder.
        store: the data that the run was trained on.
        out: the file, with suffix `.onnx`; an existing file is replaced.
        weights: number format of the weights. `float16` halves the file. `int8` also quantises activations,
            with ranges from training faces: a quarter of the size, and faster.
        max_drop: refuse a smaller format that loses more validation accuracy than this, in percentage points.
        licence: the licence of the weights, for the card.
        name: of the model, in its card; by default the recipe's.
        votes: FER+'s votes on these data.

    Returns:
        The path, size, card and speeds of the file.

    Raises:
        InputError: the data are not the run's, there are too few validation faces to calibrate, the smaller
            format loses too much accuracy, or an argument is out of range.
        MienError: torch cannot write the network, or the file's answers differ from torch's.
    """
    _refuse_misfits(run, store, out, max_drop)
    validation, training = faces_to_score(run, store, "validation")
    judge = _judge(validation, votes)
    enough_to_calibrate(int((judge.labels >= 0).sum()), store.source)
    # A GPU rounds differently: the file would depend on the machine.
    reference = load_classifier(run, "cpu")
    spec = reference.spec
    card = ModelCard(
        name=name or run.recipe().name,
        expressions=validation.expressions,
        input=spec,
        crop=CropRule(),
        digest="0" * 64,
        licence=licence or "not stated",
        provenance=_provenance(run, store),
    )
    faces_NCHW = fitted(validation.pixels(), spec)
    rare = run.recipe().objective.lifts_rare
    graph = traced(reference)
    plain = _calibrated(graph, card, faces_NCHW, validation.labels, judge, lifts_rare=rare)
    sample = validation.evenly(_PARITY_FACES)
    parity = {"float32": _parity(plain.model, reference, sample.pixels())}
    test = _test_scores(run)
    if weights == "float32":
        return _written(out, _limited(plain, validation, faces_NCHW, judge), parity, test, {})

    made, facts = _smaller(graph, weights, training, spec)
    small = _calibrated(made, card, faces_NCHW, validation.labels, judge, lifts_rare=rare)
    cost = facts | _cost(run, plain, small, weights, max_drop)
    one_thread = {
        name: FaceModel.open(candidate.content, threads=1)
        for name, candidate in (("float32", plain), (weights, small))
    }
    speeds = faces_per_second(one_thread, np.resize(faces_NCHW, (_SPEED_FACES, *spec.shape)))
    small = _limited(small, validation, faces_NCHW, judge)
    return _written(out, small, parity | {weights: cost}, test, speeds)


def _refuse_misfits(run: RunFolder, store: FaceStore, out: Path, max_drop: float) -> None:
    if out.suffix != ".onnx":
        raise InputError(f"--out {out}: not the name of a model file; give one that ends in .onnx")
    if out.is_dir():
        raise InputError(f"--out {out}: this is a folder; give the name of a file")
    if not (np.isfinite(max_drop) and max_drop >= 0):
        raise InputError(f"--max-drop {max_drop}: give points of accuracy, 0 or more")
    if run.trained_on() != store.fingerprint:
        raise InputError(
            f"{store.source}: {run.path} was trained on other data; give those with --data"
        )


def _smaller(
    graph: onnx.ModelProto, weights: Weights, training: FaceView, spec: InputSpec
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The graph with smaller weights, and by what faces they were quantised."""
    if weights == "float16":
        return halved(graph), {}
    faces = training.evenly(FACES)
    made = quantised(graph, fitted(faces.pixels(), spec))
    return made, {"calibrated_on": {"split": "train", "faces": len(faces)}}


def _cost(
    run: RunFolder, plain: _Graded, small: _Graded, weights: Weights, max_drop: float
) -> dict[str, Any]:
    """What smaller weights cost, for the card; InputError if it is more than `max_drop` points of accuracy."""
    drop = 100 * (plain.scores["accuracy"] - small.scores["accuracy"])
    if drop > max_drop:
        raise InputError(
            f"{run.path}: in {weights} it loses {drop:.2f} points of validation accuracy, more than "
            f"--max-drop {max_drop:g}; export it without --{weights}, or allow more"
        )
    return {
        "drop_in_points": drop,
        "same_answer": float((small.answers == plain.answers).mean()),
        "float32_accuracy": plain.scores["accuracy"],
    }


@dataclass(frozen=True)
class _Judge:
    """The source of the true answers.

    Attributes:
        name: its name in the card: labels or majority of votes.
        labels: int64 (N,), index into the expressions, -1 for a face without a true answer.
    """

    name: str
    labels: NDArray[np.int64]


def _judge(faces: FaceView, votes: Votes | None) -> _Judge:
    if votes is None:
        return _Judge("labels", np.asarray(faces.labels))
    return _Judge("majority of votes", majority_of(votes, faces))


@dataclass(frozen=True)
class _Graded:
    """A calibrated model file in memory, and its scores on the validation faces.

    Attributes:
        content: the model file.
        graph: its graph, serialised.
        card: the card of `content`, with threshold and scores added.
        model: `content`, opened.
        answers: int64 (N,), the answers to the validation faces.
        scores: the scores for the card.
    """

    content: bytes
    graph: bytes
    card: ModelCard
    model: FaceModel
    answers: NDArray[np.int64]
    scores: dict[str, Any]


def _calibrated(
    graph: onnx.ModelProto,
    card: ModelCard,
    faces_NCHW: NDArray[np.uint8],
    labels_N: NDArray[np.int64],
    judge: _Judge,
    *,
    lifts_rare: bool,
) -> _Graded:
    """Fit temperature, offsets and threshold to the graph's own answers, and score the file."""
    known_N = judge.labels >= 0
    truth_M = judge.labels[known_N]
    _, _, raw = _opened(graph, card)
    logits_NK = raw.logits(faces_NCHW)
    fitted_to = fit_calibration(logits_NK[known_N], truth_M, lifts_rare=lifts_rare)
    card = replace(
        card,
        # Rounded as the graph will store them, so that card and graph agree.
        temperature=float(np.float32(fitted_to.temperature)),
        offsets=tuple(float(np.float32(offset)) for offset in fitted_to.offsets),
    )
    content, whole, model = _opened(graph, card)
    probabilities_NK = model(faces_NCHW)
    answers_N = probabilities_NK.argmax(axis=1)
    right_M, confidence_M = answers_N[known_N] == truth_M, probabilities_NK[known_N].max(axis=1)
    threshold = fit_uncertain_below(confidence_M, right_M)
    uncertain_M = confidence_M < threshold
    before = compute_scores(softmax(logits_NK[known_N]), truth_M)
    scores = {
        **_headlines(compute_scores(probabilities_NK, labels_N)),
        "before_temperature": {
            "cross_entropy": before.cross_entropy,
            "calibration_error": before.calibration_error,
        },
        "uncertain": {
            "judge": judge.name,
            "faces": len(truth_M),
            "share": float(uncertain_M.mean()),
            "accuracy": float(right_M[uncertain_M].mean()) if uncertain_M.any() else None,
            "accuracy_of_others": float(right_M[~uncertain_M].mean())
            if not uncertain_M.all()
            else None,
        },
    }
    if not known_N.all() or judge.name != "labels":
        scores["majority"] = _headlines(compute_scores(probabilities_NK[known_N], truth_M))
    card = replace(model.card, uncertain_below=threshold, scores={"validation": scores})
    return _Graded(content, whole, card, model, answers_N, scores)


def _limited(
    candidate: _Graded, faces: FaceView, faces_NCHW: NDArray[np.uint8], judge: _Judge
) -> _Graded:
    """Measure the limits of a candidate and add them to its card; `faces_NCHW` have the network's input size."""
    known = np.flatnonzero(judge.labels >= 0)
    below = candidate.card.uncertain_below
    chosen = known[evenly(len(known), _LIMIT_FACES)]
    ready = measured_curves(candidate.model, faces_NCHW[chosen], judge.labels[chosen], below)
    digests = faces.store.digests[faces.indices[known]]
    least, most = detail_curves(
        candidate.model, faces_NCHW[known], digests, judge.labels[known], below
    )
    chosen = known[evenly(len(known), _SCENE_FACES)]
    pixels = faces.store.faces(faces.indices[chosen]).pixels()
    found = found_curves(candidate.model, pixels, judge.labels[chosen], below)
    read_off = {name: limit_of([one for one, _ in steps]) for name, steps in found.items()}
    limits = Limits(
        size=limit_of(ready["size"]),
        spread=max(limit_of(ready["flat"]), limit_of(ready["dark"])),
        detail=least.limit(),
        noise=most.limit(),
        turn=read_off.get("turn"),
        detection_score=read_off.get("detection score"),
    )
    return replace(candidate, card=replace(candidate.card, uncertain_beyond=limits))


def _opened(graph: onnx.ModelProto, card: ModelCard) -> tuple[bytes, bytes, FaceModel]:
    """Make a model file in memory: (content of the file, serialised graph, the file opened)."""
    whole = with_probabilities(graph, card.temperature, card.offsets)
    content = sealed(whole, replace(card, digest=digest_of(whole)))
    return content, whole, FaceModel.open(content)


def _parity(
    model: FaceModel, reference: Classifier, faces_NCHW: NDArray[np.uint8]
) -> dict[str, Any]:
    """Compare the file with torch on the same faces; returns the largest differences.

    Raises:
        MienError: a difference is larger than `MAX_DIFFERENCE`, or NaN.
    """
    faces = fitted(faces_NCHW, reference.spec)
    logits_NK = _torch_logits(reference, faces)
    calibration = Calibration(model.card.temperature, model.card.offsets)
    found = {
        "faces": len(faces),
        "logits": float(np.abs(model.logits(faces) - logits_NK).max()),
        "probabilities": float(np.abs(model(faces) - calibration(logits_NK)).max()),
        "allowed": MAX_DIFFERENCE,
    }
    # Torch resizes in float32; recognition with the file resizes to whole gray levels.
    if faces is not faces_NCHW:
        raw_NK = calibration(_torch_logits(reference, faces_NCHW))
        found["probabilities_resized_by_torch"] = float(np.abs(model(faces) - raw_NK).max())
    # `not <=` instead of `>`, so that a NaN is refused too.
    if not max(found["logits"], found["probabilities"]) <= MAX_DIFFERENCE:
        raise MienError(
            f"{model.card.name}: the answers of its ONNX graph differ from torch's (logits by up to "
            f"{found['logits']:.1e}, more than {MAX_DIFFERENCE:g}); nothing was written"
        )
    return found


def _torch_logits(reference: Classifier, faces_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
    batches = (faces_NCHW[start : start + BATCH] for start in range(0, len(faces_NCHW), BATCH))
    return np.concatenate([reference.logits(torch.tensor(batch)).numpy() for batch in batches])


def _written(
    out: Path,
    candidate: _Graded,
    parity: dict[str, Any],
    test: dict[str, Any],
    speeds: dict[str, float],
) -> Exported:
    card = replace(candidate.card, parity=parity, scores=candidate.card.scores | test)
    content = sealed(candidate.graph, card)
    FaceModel.open(content)  # fail before writing if the file cannot be read back
    with atomic_file(out) as handle:
        handle.write(content)
    return Exported(out, len(content), card, speeds)


def _headlines(scores: Scores) -> dict[str, Any]:
    return {
        "faces": scores.count,
        "accuracy": scores.accuracy,
        "accuracy_interval": list(scores.accuracy_interval),
        "balanced_accuracy": scores.balanced_accuracy,
        "macro_f1": scores.macro_f1,
        "cross_entropy": scores.cross_entropy,
        "calibration_error": scores.calibration_error,
    }


def _test_scores(run: RunFolder) -> dict[str, Any]:
    """The test scores, single view, of exactly these weights on the training's data, if they were evaluated."""
    found = run.current_evaluation("test")
    if found is None:
        return {}
    said = found["views"]["none"]
    scores: dict[str, Any] = {
        "official_accuracy": said["official"]["accuracy"],
        "deduplicated_accuracy": (said["deduplicated"] or {}).get("accuracy"),
    }
    if people := found.get("people"):
        scores["majority"] = {"faces": people["decided"], "accuracy": people["majority"]["value"]}
        if people.get("balanced"):
            scores["majority"]["balanced_accuracy"] = people["balanced"]["value"]
    return {"test_of_the_run": scores}


def _provenance(run: RunFolder, store: FaceStore) -> dict[str, Any]:
    """The origin of the weights for the card; of each path only the last part, to disclose nothing private."""
    recipe, environment = to_dict(run.recipe()), run.environment()
    init = environment.get("init")
    for place, names in ((recipe, ["init"]), (recipe["targets"], ["teacher", "votes"])):
        for name in names:
            if place.get(name) is not None:
                place[name] = Path(place[name]).name
    return {
        "mien": __version__,
        "recipe": recipe,
        "data": {"source": Path(store.source).name, "fingerprint": store.fingerprint},
        "init": init and {**init, "source": Path(init["source"]).name},
        "weights_sha256": run.weights_digest(),
        "trained": environment.get("started"),
        "torch": torch.__version__,
        "opset": OPSET,
    }
