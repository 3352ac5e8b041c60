"""Is the rule that `crop_study.py` chose right on faces it has not seen, and are probabilities there?

    python benchmarks/crop_confirm.py --data FER2013 [--run RUN ...] [--skip 2700] [--faces 889]
        [--times 3] [--json FILE]

Each validation face (never a test face) is pasted into `--times` pictures of its own, looked for, and
cut out by the default rule and by its rivals. What each network makes of them is compared in pairs:
the mean over faces of the difference in accuracy, with a 95 % bootstrap interval over faces. Networks
are the model inside the package and every `--run`; of the former, the calibration is shown too: on
ready crops, on what was found and cut out, and there again with the temperature that would fit best.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from crop_study import of_the_face, paste
from numpy.typing import NDArray

from mien.card import CropRule
from mien.data import load, split
from mien.evaluation.calibration import fit_temperature, softmax
from mien.evaluation.compare import paired_interval
from mien.evaluation.metrics import calibration_bins, calibration_error, cross_entropy
from mien.recognise.detect import crop
from mien.recognise.model import FaceModel
from mien.recognise.naming import packaged_model
from mien.recognise.yunet import YuNet
from mien.resize import fitted

OURS = CropRule()
RIVALS = [
    CropRule(-0.025, 0.0, False),
    *(CropRule(margin, 0.0, True) for margin in (-0.1, -0.05, 0.0, 0.05, 0.1)),
    *(CropRule(OURS.margin, shift, True) for shift in (-0.025, 0.025)),
]
RULES = [OURS, *RIVALS]

Predict = Callable[[NDArray[np.uint8]], NDArray[np.floating[Any]]]


def found_and_cut(
    faces: NDArray[np.uint8], times: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The places of the faces that were found, and their crops: uint8 (M, rules, 1, 48, 48)."""
    from mien.input_spec import InputSpec

    detector, rng = YuNet(), np.random.default_rng(seed)
    places, crops = [], []
    for place in np.repeat(np.arange(len(faces)), times):
        pasted = paste(faces[place], rng)
        found = of_the_face(detector(pasted.picture), pasted)
        if found:
            places.append(place)
            crops.append([crop(pasted.picture, found[0], rule, InputSpec()) for rule in RULES])
    return np.array(places), np.array(crops)


def by_face(values: NDArray[np.floating[Any]], places: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean of what belongs to the same face, face by face."""
    counts = np.bincount(places)
    return (np.bincount(places, values) / np.maximum(counts, 1))[counts > 0]


def calibration(
    logits: NDArray[np.floating[Any]], labels: NDArray[np.int64], temperature: float
) -> dict[str, float]:
    probabilities = softmax(logits, temperature)
    right = probabilities.argmax(axis=1) == labels
    return {
        "temperature": temperature,
        "accuracy": float(right.mean()),
        "confidence": float(probabilities.max(axis=1).mean()),
        "cross_entropy": cross_entropy(probabilities, labels),
        "calibration_error": calibration_error(calibration_bins(probabilities.max(axis=1), right)),
    }


def network(run: Path) -> Predict:
    from mien.models.classifier import load_classifier
    from mien.runs import RunFolder

    return load_classifier(RunFolder.open(run), "cpu")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--run", type=Path, action="append", default=[])
    parser.add_argument("--skip", type=int, default=2700, help="those that the study has seen")
    parser.add_argument("--faces", type=int, default=889)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    validation = split(load(options.data)).validation
    order = np.random.default_rng(0).permutation(len(validation))  # that of the study
    chosen = np.sort(order[options.skip : options.skip + options.faces])
    faces, labels = validation.pixels()[chosen, 0], validation.labels[chosen]
    model = FaceModel.open(packaged_model(), threads=1)
    networks: dict[str, Predict] = {f"the bundled {model.card.name}": model.logits}
    networks |= {str(run): network(run) for run in options.run}
    places, crops = found_and_cut(faces, options.times, options.skip + 1)
    print(
        f"{len(faces)} validation faces of {validation.store.fingerprint[:12]}, each in {options.times} "
        f"pictures: {len(places)} found ({len(places) / len(faces) / options.times:.1%})"
    )
    told: dict[str, Any] = {"faces": len(faces), "found": len(places), "rules": {}}
    for name, predict in networks.items():
        told["rules"][name] = compare_rules(name, predict, crops, labels[places], places)
    ready = model.logits(fitted(faces[:, None], model.card.input))
    cut = model.logits(crops[:, 0])
    fitting = fit_temperature(cut, labels[places])
    told["calibration"] = {
        "ready crops": calibration(ready, labels, model.card.temperature),
        "found and cut out": calibration(cut, labels[places], model.card.temperature),
        "there, temperature fitted there": calibration(cut, labels[places], fitting),
    }
    print(f"\ncalibration of the bundled {model.card.name}")
    for where, figures in told["calibration"].items():
        print(f"  {where:34}" + ", ".join(f"{key} {value:.4f}" for key, value in figures.items()))
    if options.json:
        options.json.write_text(json.dumps(told, indent=2) + "\n")


def compare_rules(
    name: str,
    predict: Predict,
    crops: NDArray[np.uint8],
    labels: NDArray[np.int64],
    places: NDArray[np.int64],
) -> list[dict[str, Any]]:
    def hits(rule: int) -> NDArray[np.float64]:
        parts = range(0, len(crops), 256)
        said = [predict(np.ascontiguousarray(crops[i : i + 256, rule])).argmax(1) for i in parts]
        return (np.concatenate(said) == labels).astype(np.float64)

    ours = hits(0)
    print(f"\n{name}: {OURS} {by_face(ours, places).mean():.2%} (mean over faces found)")
    rows = []
    for number, rule in enumerate(RIVALS, 1):
        difference = by_face(hits(number) - ours, places)
        low, high = paired_interval(difference)
        print(
            f"  margin {rule.margin:+.3f}, shift {rule.shift_y:+.3f}, "
            f"{'levelled' if rule.align else 'not levelled':12} {100 * difference.mean():+6.2f} "
            f"({100 * low:+.2f} to {100 * high:+.2f}) points"
        )
        rows.append({"rule": str(rule), "difference": difference.mean(), "interval": [low, high]})
    return rows


if __name__ == "__main__":
    main()
