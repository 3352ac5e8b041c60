"""How bad may a picture of a face be before sure answers are wrong too often?

    python benchmarks/limits.py FER2013 [--votes fer2013new.csv] [--model FILE.onnx] [--faces 3589] [--out FOLDER]

PublicTest's faces (never PrivateTest's) are made smaller, flatter, darker, blurred and noisy step by step; with
`--votes` those with an FER+ majority, judged by it. The curves are those from which `mien export` reads the limits of
each network, of all faces instead of some: of ready crops (`mien.evaluation.limits`); turn and the finder's score of
faces laid into pictures in which YuNet looks for them (`mien.evaluation.scenes`): turned by 0 to 90 degrees, by the
turn that the eyes show that it finds; and turned, shrunk and darkened at random, all at once.
At each step: accuracy, the share of sure answers (at or above the model's threshold), and how many of these are
right. A limit is the last step at which at least 75 % are. Of detail and noise a table shows what each limit leaves of
faces that corruptions made worse. Crops are also cut wider, which has no limit.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.data import load, split
from mien.data.ferplus import read_votes
from mien.data.splits import needed
from mien.evaluation.limits import (
    CurvePoint,
    DetailCurves,
    detail_curves,
    limit_of,
    measured_curves,
    step,
)
from mien.evaluation.people import majority_of
from mien.evaluation.scenes import found_curves
from mien.recognise.model import FaceModel
from mien.recognise.naming import packaged_model
from mien.resize import fitted

#: Margins of crops, shares of the side on each side.
MARGINS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)


def wider(pixels_NCHW: NDArray[np.uint8], margin: float) -> NDArray[np.uint8]:
    """Cut faces wider by a share of the side on each side, with the edge's pixels repeated: uint8 (N, C, H', W')."""
    height, width = (round(margin * side) for side in pixels_NCHW.shape[2:])
    beyond = ((0, 0), (0, 0), (height, height), (width, width))
    return np.pad(pixels_NCHW, beyond, mode="edge")


def shown(name: str, unit: str, steps: list[tuple[CurvePoint, float | None]]) -> str:
    limit = "none" if name == "margin" else f"{limit_of([one for one, _ in steps]):g}"
    lines = [f"{name}; the limit is {limit}", ""]
    lines += [f"| {unit} | found | right | sure | of these right |", "|---|---|---|---|---|"]
    for one, found in steps:
        precision = "-" if one.precision is None else f"{one.precision:.1%}"
        share = "-" if found is None else f"{found:.1%}"
        lines.append(
            f"| {one.amount:g} | {share} | {one.accuracy:.1%} | {one.sure:.1%} | {precision} |"
        )
    return "\n".join(lines)


def kept(name: str, curves: DetailCurves) -> str:
    columns = " | ".join(curves.steps)
    lines = [f"{name}; the limit is {curves.limit()}; sure, and of these right", ""]
    lines += [
        f"| limit | of faces as they are lost | {columns} |",
        "|---|---|" + "---|" * len(curves.steps),
    ]
    for place, (limit, lost) in enumerate(zip(curves.limits, curves.plain, strict=True)):
        cells = [
            f"{one.sure:.0%}, " + ("-" if one.precision is None else f"{one.precision:.0%}")
            for one in (steps[place] for steps in curves.steps.values())
        ]
        lines.append(f"| {limit:g} | {lost:.1%} | {' | '.join(cells)} |")
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
    model = FaceModel.open(options.model or packaged_model())
    below = (
        options.uncertain_below
        if options.uncertain_below is not None
        else model.card.uncertain_below
    )
    validation = split(load(options.data)).validation
    assert validation is not None
    needed(validation, "validation")
    pixels, labels = validation.pixels(), np.asarray(validation.labels)
    digests = validation.store.digests[validation.indices]
    if options.votes:
        majority = majority_of(read_votes(options.votes), validation)
        known = majority >= 0
        pixels, labels, digests = pixels[known], majority[known], digests[known]
    chosen = np.sort(np.random.default_rng(0).permutation(len(labels))[: options.faces])
    pixels, labels, digests = pixels[chosen], labels[chosen], digests[chosen]
    cv2.setNumThreads(1)
    curves: dict[str, tuple[str, list[Any]]] = {}
    crops = fitted(pixels, model.card.input)
    ready = measured_curves(model, crops, labels, below)
    least, most = detail_curves(model, crops, digests, labels, below)
    for name, unit in (
        ("size", "pixels a side"),
        ("flat", "standard deviation"),
        ("dark", "standard deviation"),
    ):
        curves[name] = unit, [(one, None) for one in ready[name]]
    curves["margin"] = (
        "share of the side",
        [
            (
                step(margin, model(fitted(wider(pixels, margin), model.card.input)), labels, below),
                None,
            )
            for margin in MARGINS
        ],
    )
    found = found_curves(model, pixels, labels, below)
    for name, unit in (("turn", "at most, degrees"), ("detection score", "at least")):
        if name in found:
            curves[name] = unit, found[name]
    judge = "FER+ majority" if options.votes else "the challenge's labels"
    told = (
        f"{len(labels):,} validation faces, {judge}; `{model.card.name}`, {model.card.digest[:8]}, "
    )
    told += f"sure from {below:.3f}\n\n"
    told += "\n\n".join(shown(name, unit, steps) for name, (unit, steps) in curves.items())
    told += "\n\n" + kept("least detail", least) + "\n\n" + kept("noise: most detail", most)
    print(told)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "limits.md").write_text(told + "\n", encoding="utf-8")
        plain: dict[str, Any] = {
            name: [asdict(one) | {"found": found} for one, found in steps]
            for name, (_, steps) in curves.items()
        }
        plain |= {"detail": asdict(least), "noise": asdict(most)}
        (options.out / "limits.json").write_text(
            json.dumps(plain, indent=2) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
