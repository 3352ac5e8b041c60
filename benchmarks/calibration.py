"""Is one temperature enough? Other ways to calibrate, beside it, on faces they were not fitted to.

    python benchmarks/calibration.py --data FER2013 RUN|MODEL.onnx [--folds 10] [--resamples 2000]
        [--json FILE]

Logits of the validation faces, never of test ones. Each method is fitted to nine tenths of them and
judged on the tenth that is left, ten times over (exact copies of a face stay in one tenth), so that
every face has a probability from a fit that did not see it. Intervals are 95 % percentile bootstrap
intervals over faces; the differences from the temperature are drawn in pairs. Calibration errors
of resamples are larger than of the faces themselves (chance adds to them), so their intervals may lie above
the figure; those of differences suffer less.

A method earns the temperature's place where its cross-entropy and its Brier score, which no answer can
win by chance, are both better by more than their intervals, and nothing is worse by more than its own.
That includes the cross-entropy with faces weighted so that every expression counts alike ("balanced
NLL"): what a method gains only by knowing how frequent expressions are in these data, it loses where
they are not, as in one's own pictures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import StratifiedGroupKFold

from mien import api
from mien.data.store import FaceView
from mien.evaluation import Subject
from mien.evaluation.calibration import fit_temperature, fit_uncertain_below, softmax
from mien.evaluation.metrics import (
    adaptive_calibration_error,
    brier_score,
    calibration_bins,
    calibration_error,
    classwise_calibration_error,
    cross_entropy,
    risk_coverage,
)
from mien.recognise.model import FaceModel
from mien.resize import fitted
from mien.runs import RunFolder

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
#: Logits (N, K) -> probabilities (N, K).
Calibrated = Callable[[Array], Array]
#: Cells of a histogram: with 2,900 faces some 190 in each.
BINS = 15
METRICS = (
    "cross_entropy", "brier_score", "calibration_error", "adaptive_calibration_error",
    "classwise_calibration_error", "accuracy", "balanced_cross_entropy",
)  # fmt: skip
SHORT = ("NLL", "Brier", "ECE", "adaptive", "classwise", "accuracy", "balanced NLL")
#: Those that a method must better; the less the better of all but accuracy.
PROPER = METRICS[:2]


def none(_logits: Array, _labels: Labels) -> Calibrated:
    return softmax


def temperature(logits: Array, labels: Labels) -> Calibrated:
    best = fit_temperature(logits, labels)
    return lambda other: softmax(other, best)


def bias_corrected(logits: Array, labels: Labels) -> Calibrated:
    """softmax(z / T + b): Alexandari et al. 2020, Maximum Likelihood with Bias-Corrected Calibration."""
    return scaled(logits, labels, each=False)


def vector(logits: Array, labels: Labels) -> Calibrated:
    """softmax(w * z + b), a factor an expression: Guo et al. 2017, section 4.2."""
    return scaled(logits, labels, each=True)


def scaled(logits: Array, labels: Labels, *, each: bool) -> Calibrated:
    """Factors and biases of the smallest cross-entropy, which is convex in both."""
    classes = logits.shape[1]
    factors = classes if each else 1
    truth = np.eye(classes)[labels]

    def loss(parameters: Array) -> tuple[float, Array]:
        shares = softmax(parameters[:factors] * logits + parameters[factors:])
        slope = (shares - truth) / len(labels)
        by_factor = (slope * logits).sum(axis=0)
        gradient = np.append(by_factor if each else by_factor.sum(), slope.sum(axis=0))
        return cross_entropy(shares, labels), gradient

    start = np.append(np.ones(factors), np.zeros(classes))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x
    return lambda other: softmax(found[:factors] * other + found[factors:])


def isotonic(logits: Array, labels: Labels) -> Calibrated:
    """A rising step function an expression: Zadrozny & Elkan 2002. Smallest 0.001: no face is impossible."""
    shares = softmax(logits)
    steps = [
        IsotonicRegression(y_min=1e-3, y_max=1, out_of_bounds="clip").fit(shares[:, k], labels == k)
        for k in range(logits.shape[1])
    ]
    return lambda other: normalised(
        np.stack([step.predict(p) for step, p in zip(steps, softmax(other).T, strict=True)], axis=1)
    )


def histogram(logits: Array, labels: Labels) -> Calibrated:
    """The share of each of 15 equally full bins an expression: Zadrozny & Elkan 2001, one face added to all."""
    shares, classes = softmax(logits), logits.shape[1]
    edges = [np.quantile(p, np.linspace(0, 1, BINS + 1)[1:-1]) for p in shares.T]
    means = []
    for k in range(classes):
        cell = np.searchsorted(edges[k], shares[:, k], side="right")
        hits = np.bincount(cell, labels == k, BINS)
        means.append((hits + 1 / classes) / (np.bincount(cell, minlength=BINS) + 1))
    return lambda other: normalised(
        np.stack(
            [
                means[k][np.searchsorted(edges[k], p, side="right")]
                for k, p in enumerate(softmax(other).T)
            ],
            axis=1,
        )
    )


def normalised(shares: Array) -> Array:
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


METHODS: dict[str, Callable[[Array, Labels], Calibrated]] = {
    "none": none,
    "temperature": temperature,
    "bias-corrected temperature": bias_corrected,
    "vector": vector,
    "isotonic, each expression": isotonic,
    "histogram, each expression": histogram,
}
BASE = "temperature"


def cross_fitted(logits: Array, labels: Labels, groups: Labels, folds: int) -> dict[str, Array]:
    """Method -> probabilities (N, K), each face's from a fit to the other folds."""
    parts = StratifiedGroupKFold(folds, shuffle=True, random_state=0).split(logits, labels, groups)
    said = {name: np.empty(logits.shape) for name in METHODS}
    for others, held in parts:
        for name, method in METHODS.items():
            said[name][held] = method(logits[others], labels[others])(logits[held])
    return said


def figures(shares: Array, labels: Labels) -> Array:
    """METRICS, in order."""
    confidence, right = shares.max(axis=1), shares.argmax(axis=1) == labels
    return np.array(
        [
            cross_entropy(shares, labels),
            brier_score(shares, labels),
            calibration_error(calibration_bins(confidence, right)),
            adaptive_calibration_error(confidence, right),
            classwise_calibration_error(shares, labels),
            right.mean(),
            np.mean(
                [cross_entropy(shares[labels == k], labels[labels == k]) for k in np.unique(labels)]
            ),
        ]
    )


def judged(said: dict[str, Array], labels: Labels, resamples: int) -> dict[str, Any]:
    """Every figure with its interval, and its difference from the temperature's with its own."""
    rng = np.random.default_rng(0)
    whole = {name: figures(shares, labels) for name, shares in said.items()}
    drawn: dict[str, list[Array]] = {name: [] for name in said}
    for _ in range(resamples):
        faces = rng.integers(len(labels), size=len(labels))
        for name, shares in said.items():
            drawn[name].append(figures(shares[faces], labels[faces]))
    told: dict[str, Any] = {}
    for name in said:
        samples, base = np.array(drawn[name]), np.array(drawn[BASE])
        interval = np.percentile(samples, [2.5, 97.5], axis=0)
        between = np.percentile(samples - base, [2.5, 97.5], axis=0)
        told[name] = {
            metric: {
                "value": float(whole[name][i]),
                "interval": interval[:, i].tolist(),
                "difference": float(whole[name][i] - whole[BASE][i]),
                "difference_interval": between[:, i].tolist(),
            }
            for i, metric in enumerate(METRICS)
        }
        told[name]["earns_its_place"] = (
            name != BASE
            and all(told[name][metric]["difference_interval"][1] < 0 for metric in PROPER)
            and all(
                told[name][metric]["difference_interval"][0] <= 0
                for metric in METRICS
                if metric != "accuracy"
            )
            and told[name]["accuracy"]["difference_interval"][1] >= 0
        )
    return told


def fitted_to_fewer(logits: Array, labels: Labels, times: int = 200) -> list[dict[str, Any]]:
    """What a temperature of fewer faces is worth: on all faces, of as many drawn at random."""
    rng = np.random.default_rng(1)
    best = cross_entropy(softmax(logits, fit_temperature(logits, labels)), labels)
    plain = cross_entropy(softmax(logits), labels)
    rows = []
    for faces in (10, 20, 50, 100, 200, 500, 1000):
        if faces > len(labels) // 2:
            break
        found, losses = [], []
        for _ in range(times):
            some = rng.choice(len(labels), faces, replace=False)
            found.append(fit_temperature(logits[some], labels[some]))
            losses.append(cross_entropy(softmax(logits, found[-1]), labels))
        rows.append(
            {
                "faces": faces,
                "temperature": np.percentile(found, [2.5, 50, 97.5]).tolist(),
                "cross_entropy_lost": float(np.mean(losses) - best),
                "worse_than_none": float(np.mean(np.array(losses) > plain)),
            }
        )
    return rows


def threshold(shares: Array, labels: Labels) -> dict[str, Any]:
    """The risk-coverage curve and where `uncertain` lies on it."""
    confidence, right = shares.max(axis=1), shares.argmax(axis=1) == labels
    below = fit_uncertain_below(confidence, right)
    curve = risk_coverage(confidence, right)
    coverage, risk = curve.at(below)
    return {"area": curve.area, "uncertain_below": below, "coverage": coverage, "risk": risk}


def logits_of(network: str, data: str) -> tuple[Array, FaceView]:
    """What a network says of its validation faces before any temperature, float64 (N, K), and the faces."""
    if api.is_model_file(network):
        model = FaceModel.open(network)
        subject = Subject.of_model(
            model.card, model, api.load_for(model.card, data, None), "validation", network
        )
        logits = model.logits(fitted(subject.faces.pixels(), model.card.input))
    else:
        import torch

        run = RunFolder.open(network)
        subject = Subject.of_run(run, api.load(data), "validation", "cpu")
        classifier: Any = subject.predict
        with torch.no_grad():
            parts = [
                classifier.logits(torch.tensor(batch)).numpy()
                for batch in subject.faces.batches(256)
            ]
        logits = np.concatenate(parts)
    return logits.astype(np.float64), subject.faces


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", metavar="RUN|MODEL.onnx")
    parser.add_argument("--data", required=True)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logits, faces = logits_of(options.network, options.data)
    labels = np.asarray(faces.labels)
    groups = np.unique(faces.digests, axis=0, return_inverse=True)[1].ravel()
    said = cross_fitted(logits, labels, groups, options.folds)
    told = judged(said, labels, options.resamples)
    whole = fit_temperature(logits, labels)
    print(
        f"{Path(options.network).name} on {len(labels)} validation faces of "
        f"{faces.store.fingerprint[:12]}, {options.folds} folds; temperature of all {whole:.3f}\n"
    )
    print(
        "| method | "
        + " | ".join(SHORT)
        + " | earns its place |\n|---|"
        + "---|" * (len(METRICS) + 1)
    )
    for name, by in told.items():
        cells = [cell(metric, by[metric]["value"], by[metric]["interval"]) for metric in METRICS]
        verdict = "-" if name == BASE else "yes" if by["earns_its_place"] else "no"
        print(f"| {name} | " + " | ".join(cells) + f" | {verdict} |")
    print(f"\n| less {BASE} | " + " | ".join(SHORT) + " |\n|---|" + "---|" * len(METRICS))
    for name, by in told.items():
        if name != BASE:
            differences = (
                cell(metric, by[metric]["difference"], by[metric]["difference_interval"], "+")
                for metric in METRICS
            )
            print(f"| {name} | " + " | ".join(differences) + " |")
    few = fitted_to_fewer(logits, labels)
    print("\n| faces fitted to | temperature, 95 % of draws | NLL lost | worse than none |")
    print("|---|---|---|---|")
    for row in few:
        low, middle, high = row["temperature"]
        print(
            f"| {row['faces']:,} | {middle:.2f} ({low:.2f} to {high:.2f}) | "
            f"{row['cross_entropy_lost']:.4f} | {row['worse_than_none']:.0%} |"
        )
    curve = threshold(said[BASE], labels)
    print(
        f"\nAURC {curve['area']:.4f}; below {curve['uncertain_below']:.3f} uncertain: "
        f"{curve['coverage']:.1%} are answered, {1 - (curve['risk'] or 0):.2%} of these rightly"
    )
    if options.json:
        content = {"temperature": whole, "methods": told, "fewer": few, "risk_coverage": curve}
        options.json.write_text(json.dumps(content, indent=2) + "\n")


def cell(metric: str, value: float, interval: list[float], sign: str = "") -> str:
    low, high = interval
    if metric.endswith("cross_entropy") or metric == "brier_score":
        return f"{value:{sign}.4f} ({low:{sign}.4f} to {high:{sign}.4f})"
    return f"{100 * value:{sign}.2f} ({100 * low:{sign}.2f} to {100 * high:{sign}.2f})"


if __name__ == "__main__":
    main()
