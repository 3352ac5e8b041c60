"""How small, flat, dark, turned and unlike a face may a picture be before sure answers are wrong too often?

    python benchmarks/limits.py FER2013 [--votes fer2013new.csv] [--model FILE.onnx] [--faces 3589] [--out FOLDER]

PublicTest's faces (never PrivateTest's) are made worse step by step; with `--votes` those with an FER+ majority,
judged by it. Size and spread are measured on ready crops, as `mien export` measures them for each network
(`mien.evaluation.limits`). For turn and the finder's score faces are laid into a picture and YuNet looks for them:
turned by 0 to 90 degrees and cut out level; and, for the score, turned, shrunk and darkened at random, all at once.
At each step: accuracy, the share of sure answers (at or above the model's threshold), and how many of these are
right. A limit is the last step at which at least 75 % are.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.data import load, split
from mien.data.ferplus import read_votes
from mien.data.splits import needed
from mien.evaluation.limits import Step, limit_of, measured_curves, step
from mien.evaluation.people import majority_of
from mien.recognise.detect import Detection, YuNet, crop
from mien.recognise.model import FaceModel
from mien.recognise.recognizer import default_model
from mien.recognise.resize import fitted

TURNS = (0, 10, 20, 30, 40, 50, 60, 75, 90)
#: Lower ends of bins of the finder's score, the surest first.
SCORES = (0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4)
CANVAS, SIDE, SOFT = 320, 112, 6


def scene(face: NDArray[np.uint8], turn: float, side: float, light: float) -> NDArray[np.uint8]:
    """A gray face, uint8 (H, W), in the middle of an RGB picture: turned by degrees, of `side` pixels, darkened."""
    size = len(face)
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), -turn, side / size)
    matrix[:, 2] += (CANVAS - size) / 2
    if side < size:  # what shrinks is blurred first
        face = cv2.GaussianBlur(face, (0, 0), 0.4 * size / side)
    ramp = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5).clip(0, SOFT) / SOFT
    mask = cv2.warpAffine(np.outer(ramp, ramp).astype(np.float32), matrix, (CANVAS, CANVAS))
    drawn = cv2.warpAffine(
        face.astype(np.float32), matrix, (CANVAS, CANVAS), borderMode=cv2.BORDER_REPLICATE
    )
    gray = (drawn * mask + face.mean() * (1 - mask)) * light
    return np.repeat(np.rint(gray).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


class Looked:
    """What the finder found in scenes, and what the network said of it."""

    def __init__(self, model: FaceModel) -> None:
        self._model = model
        self._find = YuNet(score=SCORES[-1])

    def __call__(
        self,
        faces_NHW: NDArray[np.uint8],
        drawn: Callable[[int, NDArray[np.uint8]], NDArray[np.uint8]],
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float32]]:
        """(which faces were found, their scores, their probabilities)."""
        card = self._model.card
        places, scores, crops = [], [], []
        for place, face in enumerate(faces_NHW):
            picture = drawn(place, face)
            found = max(
                filter(_middle, self._find(picture)), key=lambda one: one.score, default=None
            )
            if found is not None:
                places.append(place)
                scores.append(found.score)
                crops.append(crop(picture, found, card.crop, card.input))
        said = (
            self._model(np.stack(crops))
            if crops
            else np.empty((0, len(card.expressions)), np.float32)
        )
        return np.array(places, np.int64), np.array(scores), said


def _middle(found: Detection) -> bool:
    x, y, width, height = found.box
    return math.hypot(x + width / 2 - CANVAS / 2, y + height / 2 - CANVAS / 2) < SIDE / 3


def turned(
    looked: Looked, faces: NDArray[np.uint8], labels: NDArray[np.int64], below: float
) -> list[tuple[Step, float]]:
    """A step for each turn, of the faces found at YuNet's usual score; and the share found."""
    steps = []
    for turn in TURNS:
        signs = np.where(np.arange(len(faces)) % 2, 1, -1)
        places, scores, said = looked(
            faces, lambda n, face, by=turn, of=signs: scene(face, by * of[n], SIDE, 1)
        )
        usual = scores >= 0.7
        steps.append(
            (step(turn, said[usual], labels[places[usual]], below), float(usual.sum() / len(faces)))
        )
    return steps


def by_score(
    looked: Looked, faces: NDArray[np.uint8], labels: NDArray[np.int64], below: float
) -> list[tuple[Step, float]]:
    """A step for each bin of the finder's score, and the share of faces in it."""
    rng = np.random.default_rng(0)
    amounts = [
        (
            rng.uniform(-90, 90),
            math.exp(rng.uniform(math.log(14), math.log(SIDE))),
            math.exp(rng.uniform(math.log(0.05), 0)),
        )
        for _ in faces
    ]
    places, scores, said = looked(faces, lambda n, face: scene(face, *amounts[n]))
    steps = []
    for low, high in zip(SCORES, (2.0, *SCORES), strict=False):
        of = (scores >= low) & (scores < high)
        if of.sum():
            steps.append(
                (step(low, said[of], labels[places[of]], below), float(of.sum() / len(faces)))
            )
    return steps


def shown(name: str, unit: str, steps: list[tuple[Step, float | None]]) -> str:
    lines = [f"{name}; the limit is {limit_of([one for one, _ in steps]):g}", ""]
    lines += [f"| {unit} | found | right | sure | of these right |", "|---|---|---|---|---|"]
    for one, found in steps:
        precision = "-" if one.precision is None else f"{one.precision:.1%}"
        share = "-" if found is None else f"{found:.1%}"
        lines.append(
            f"| {one.amount:g} | {share} | {one.accuracy:.1%} | {one.sure:.1%} | {precision} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", metavar="FER2013")
    parser.add_argument("--votes", metavar="FILE")
    parser.add_argument(
        "--model", type=Path, metavar="FILE.onnx", help="in place of the bundled one"
    )
    parser.add_argument("--faces", type=int, default=3589, help="of PublicTest, at most")
    parser.add_argument("--uncertain-below", type=float, help="in place of the model's threshold")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for limits.md and limits.json")
    options = parser.parse_args()
    model = FaceModel.open(options.model or default_model())
    below = (
        options.uncertain_below
        if options.uncertain_below is not None
        else model.card.uncertain_below
    )
    validation = split(load(options.data)).validation
    assert validation is not None
    needed(validation, "validation")
    pixels, labels = validation.pixels(), np.asarray(validation.labels)
    if options.votes:
        majority = majority_of(read_votes(options.votes), validation)
        known = majority >= 0
        pixels, labels = pixels[known], majority[known]
    chosen = np.sort(np.random.default_rng(0).permutation(len(labels))[: options.faces])
    pixels, labels = pixels[chosen], labels[chosen]
    cv2.setNumThreads(1)
    curves: dict[str, tuple[str, list[Any]]] = {}
    ready = measured_curves(model, fitted(pixels, model.card.input), labels, below)
    for name, unit in (
        ("size", "pixels a side"),
        ("flat", "standard deviation"),
        ("dark", "standard deviation"),
    ):
        curves[name] = unit, [(one, None) for one in ready[name]]
    looked = Looked(model)
    curves["turn"] = "degrees", turned(looked, pixels[:, 0], labels, below)
    curves["detection score"] = "at least", by_score(looked, pixels[:, 0], labels, below)
    judge = "FER+ majority" if options.votes else "the challenge's labels"
    told = (
        f"{len(labels):,} validation faces, {judge}; `{model.card.name}`, {model.card.digest[:8]}, "
    )
    told += f"sure from {below:.3f}\n\n"
    told += "\n\n".join(shown(name, unit, steps) for name, (unit, steps) in curves.items())
    print(told)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "limits.md").write_text(told + "\n", encoding="utf-8")
        plain = {
            name: [asdict(one) | {"found": found} for one, found in steps]
            for name, (_, steps) in curves.items()
        }
        (options.out / "limits.json").write_text(
            json.dumps(plain, indent=2) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
