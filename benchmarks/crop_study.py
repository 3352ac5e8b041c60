"""How must a face be cut out of a picture to look like FER-2013's? Measured, not guessed.

    python benchmarks/crop_study.py --data FER2013 (--run RUN | --model FILE.onnx) [--faces 1500]
        [--skip 0] [--json FILE]

Validation faces of FER-2013 (never test faces) are pasted into larger pictures: at 0.7 to 4 times
their size, turned by up to 20 degrees, under other light, in gray and in colour, with soft edges, on
backgrounds of gradients and smooth noise. YuNet looks for each; what it finds is cut out with every
setting of margin, vertical shift and alignment, and classified. The truth is known three times over:
the face's label, the accuracy on the very faces before they were pasted, and the square that each was
pasted into, which a perfect crop would give back.

Settings are chosen on the first faces of a shuffled list; `--skip` takes later ones to confirm them.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.card import CropRule
from mien.data import load, split
from mien.errors import InputError
from mien.input_spec import InputSpec
from mien.recognise.detect import Detection, crop
from mien.recognise.yunet import YuNet

MARGINS = (-0.1, -0.05, -0.025, 0.0, 0.025, 0.05, 0.1, 0.2)
SHIFTS = (-0.1, -0.05, -0.025, 0.0, 0.025, 0.05)
RULES = [CropRule(m, s, a) for a in (False, True) for m in MARGINS for s in SHIFTS]
HEIGHT, WIDTH = 480, 640
#: Pixels of a face, of its 48, over which it fades into its surroundings.
SOFT = 3
MAX_TURN = 20.0
#: The sensor's noise; each picture gets it from another place on, for making it anew takes long.
NOISE = np.random.default_rng(0).normal(0, 2, (HEIGHT, WIDTH, 3)).astype(np.float32)


@dataclass(frozen=True)
class Pasted:
    """A picture with one face: its middle, side (pixels) and turn (degrees)."""

    picture: NDArray[np.uint8]
    middle: tuple[float, float]
    side: float
    turn: float


def background(rng: np.random.Generator) -> NDArray[np.float32]:
    """(HEIGHT, WIDTH, 3), 0..255: a gradient or smooth noise, gray or in colour."""
    cells = 2 if rng.random() < 0.5 else int(rng.integers(4, 40))
    channels = 3 if rng.random() < 0.5 else 1
    level, contrast = rng.uniform(30, 225), rng.uniform(10, 80)
    noise = level + contrast * rng.uniform(-1, 1, (cells, cells, channels)).astype(np.float32)
    smooth = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.broadcast_to(smooth.reshape(HEIGHT, WIDTH, channels), (HEIGHT, WIDTH, 3)).clip(0, 255)


def paste(face: NDArray[np.uint8], rng: np.random.Generator) -> Pasted:
    """A gray face, uint8 (48, 48), somewhere in a picture of its own."""
    size = len(face)
    scale = math.exp(rng.uniform(math.log(0.7), math.log(4)))
    side, turn = size * scale, rng.uniform(-MAX_TURN, MAX_TURN)
    reach = side * 0.7
    x, y = rng.uniform(reach, WIDTH - reach), rng.uniform(reach, HEIGHT - reach)
    # Where a pixel of the face comes to lie; pixel centres count from 0.
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), -turn, scale)
    matrix[:, 2] += np.array([x, y]) - 0.5 - (size - 1) / 2
    if scale < 1:  # what shrinks is blurred first
        face = cv2.GaussianBlur(face, (0, 0), 0.4 / scale)
    ramp = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5).clip(0, SOFT) / SOFT
    flat = cv2.warpAffine(
        face.astype(np.float32), matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    mask = cv2.warpAffine(
        np.outer(ramp, ramp).astype(np.float32), matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR
    )
    # Gray, or the tone of some skin: red above green above blue.
    tint = np.sort(rng.uniform(0.7, 1, 3))[::-1] if rng.random() < 0.5 else np.ones(3)
    coloured = flat[..., None] * tint.astype(np.float32)
    picture = coloured * mask[..., None] + background(rng) * (1 - mask[..., None])
    # Light: brighter or darker, harder or softer, and falling off to one side.
    rows = np.linspace(-0.5, 0.5, HEIGHT, dtype=np.float32)[:, None]
    columns = np.linspace(-0.5, 0.5, WIDTH, dtype=np.float32)
    slope = rng.uniform(-0.4, 0.4, 2).astype(np.float32)
    light = rng.uniform(0.6, 1.3) * (1 + slope[0] * rows + slope[1] * columns)
    picture = (
        picture * light[..., None]
        + rng.uniform(-20, 20)
        + np.roll(NOISE, rng.integers(0, WIDTH * HEIGHT))
    )
    return Pasted(picture.clip(0, 255).round().astype(np.uint8), (x, y), side, turn)


def of_the_face(found: list[Detection], pasted: Pasted) -> list[Detection]:
    """Those whose middle lies in the inner half of the pasted face, the surest first."""

    def near(face: Detection) -> bool:
        x, y, width, height = face.box
        away = np.hypot(x + width / 2 - pasted.middle[0], y + height / 2 - pasted.middle[1])
        return bool(away < pasted.side / 4 and 0.3 < height / pasted.side < 2)

    return sorted(filter(near, found), key=lambda face: -face.score)


def exact(pasted: Pasted) -> Detection:
    """The square that the face was pasted into, with level eyes where the picture was upright."""
    (x, y), half, turn = pasted.middle, pasted.side / 2, math.radians(pasted.turn)
    eye = np.array([math.cos(turn), math.sin(turn)]) * half / 2
    eyes = [(x - eye[0], y - eye[1]), (x + eye[0], y + eye[1])]
    return Detection((x - half, y - half, 2 * half, 2 * half), 1.0, (*eyes, (x, y), (x, y), (x, y)))


def predictor(
    run: Path | None, model: Path | None
) -> tuple[InputSpec, Callable[[NDArray[np.uint8]], NDArray[np.floating]]]:
    if model is not None:
        from mien.recognise.model import FaceModel

        opened = FaceModel.open(model, threads=1)
        return opened.card.input, opened
    from mien.models.classifier import load_classifier
    from mien.runs import RunFolder

    if run is None:
        raise InputError("give --run or --model")
    classifier = load_classifier(RunFolder.open(run), "cpu")

    def predict(faces: NDArray[np.uint8]) -> NDArray[np.floating]:
        parts = [classifier(faces[i : i + 256]) for i in range(0, len(faces), 256)]
        return np.concatenate(parts)

    return classifier.spec, predict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--faces", type=int, default=1500)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--score", type=float, default=0.7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    spec, predict = predictor(options.run, options.model)
    validation = split(load(options.data)).validation
    if validation is None:
        raise InputError("these data have no validation split")
    order = np.random.default_rng(0).permutation(len(validation))
    chosen = np.sort(order[options.skip : options.skip + options.faces])
    faces, labels = validation.pixels()[chosen, 0], validation.labels[chosen]

    detector = YuNet(score=0.3)
    rng = np.random.default_rng(options.skip + 1)
    crops: list[NDArray[np.uint8]] = []
    exact_crops, kept, scores, sides, turns, boxes, extra = [], [], [], [], [], [], 0
    for index, face in enumerate(faces):
        pasted = paste(face, rng)
        sides.append(pasted.side)
        turns.append(abs(pasted.turn))
        exact_crops.append(crop(pasted.picture, exact(pasted), CropRule(align=True), spec))
        found = detector(pasted.picture)
        ours = of_the_face(found, pasted)
        scores.append(ours[0].score if ours else 0.0)
        extra += sum(one.score >= options.score for one in found if one not in ours)
        if scores[-1] < options.score:
            continue
        best = ours[0]
        kept.append(index)
        crops.append(np.stack([crop(pasted.picture, best, rule, spec) for rule in RULES]))
        x, y, width, height = best.box
        longer = max(width, height)
        away = np.array([pasted.middle[0] - x - width / 2, pasted.middle[1] - y - height / 2])
        down = np.array([-math.sin(math.radians(pasted.turn)), math.cos(math.radians(pasted.turn))])
        (rx, ry), (lx, ly) = (best.landmarks or ((0, 0), (1, 0)))[:2]
        eyes = math.degrees(math.atan2(ly - ry, lx - rx)) - pasted.turn
        boxes.append((pasted.side / longer, float(away @ down) / longer, height / width, eyes))

    sides_n, turns_n, scores_n, keep = map(np.array, (sides, turns, scores, kept))
    print(
        f"{len(faces)} validation faces of {validation.store.fingerprint[:12]}, skipping {options.skip}"
    )
    print("\nfound, of all                 ", end="")
    for score in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9):
        print(f"  score>={score}: {np.mean(scores_n >= score):.1%}", end="")
    print(
        f"\nfound where there is no face: {extra} in {len(faces)} pictures (score>={options.score})"
    )
    for low, high in ((0, 48), (48, 96), (96, 200)):
        of = (sides_n >= low) & (sides_n < high)
        print(
            f"  face square {low:>3}-{high:<3} px: {np.mean(scores_n[of] >= options.score):.1%} of {of.sum()}"
        )
    geometry = np.array(boxes)
    named = ("square / longer side", "square's middle below the box's / longer side", "height / width",
             "eyes against the turn, degrees")  # fmt: skip
    print("\nthe pasted square against YuNet's box: median (quartiles)")
    for name, values in zip(named, geometry.T, strict=True):
        low, median, high = np.percentile(values, (25, 50, 75))
        print(f"  {name}: {median:.3f} ({low:.3f}..{high:.3f})")

    def hits(shown: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return predict(shown).argmax(axis=1) == labels[keep]

    ready = hits(np.stack([np.broadcast_to(face, spec.shape) for face in faces])[keep])
    by_square = hits(np.stack(exact_crops)[keep])
    stacked = np.stack(crops)
    by_rule = np.stack([hits(stacked[:, r]) for r in range(len(RULES))])
    print(
        f"\naccuracy on the {len(keep)} faces found (standard error about {0.5 / len(keep) ** 0.5:.1%})"
    )
    print(f"  ready crops, never pasted                   {ready.mean():.2%}")
    print(f"  cut out by the true square and turn         {by_square.mean():.2%}")
    for align in (False, True):
        print(f"\n  align={align}; rows: margin, columns: shift_y")
        print("          " + "".join(f"{shift:>8}" for shift in SHIFTS))
        for margin in MARGINS:
            row = [by_rule[RULES.index(CropRule(margin, shift, align))].mean() for shift in SHIFTS]
            print(f"  {margin:>7} " + "".join(f"{value:8.2%}" for value in row))
    ours = by_rule[RULES.index(CropRule())]
    print(f"\nthe default, {CropRule()}: {ours.mean():.2%}")
    best = int(by_rule.mean(axis=1).argmax())
    print(
        f"best: {RULES[best]}, {by_rule[best].mean():.2%}; by turn of the head, beside the other align:"
    )
    other = RULES.index(CropRule(RULES[best].margin, RULES[best].shift_y, not RULES[best].align))
    for low, high in ((0, 5), (5, 12), (12, 20)):
        of = (turns_n[keep] >= low) & (turns_n[keep] < high)
        print(f"  {low:>2}-{high:<2} degrees: {by_rule[best][of].mean():.2%}, {by_rule[other][of].mean():.2%}"
              f", ready {ready[of].mean():.2%} of {of.sum()}")  # fmt: skip
    if options.json:
        content = {
            "faces": len(faces), "skip": options.skip, "found": len(keep), "ready": ready.mean(),
            "by_square": by_square.mean(), "geometry": np.median(geometry, axis=0).tolist(),
            "rules": [
                asdict(r) | {"accuracy": float(h.mean())} for r, h in zip(RULES, by_rule, strict=True)
            ],
        }  # fmt: skip
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
