"""Measure a network's accuracy and calibration on corrupted faces."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.callbacks import Progress
from mien.data.ferplus import Votes
from mien.data.store import FaceView
from mien.errors import InputError
from mien.evaluation.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from mien.evaluation.evaluate import Subject
from mien.evaluation.metrics import calibration_bins, calibration_error
from mien.evaluation.people import majority_of
from mien.files import write_json
from mien.runs import RunFolder
from mien.version import __version__

#: The reference network, to whose errors others are compared, and the file in the package with its figures.
REFERENCE = "four-block-cnn"
REFERENCE_FILE = "four_block_corruptions.json"
#: The severity of summary figures.
MIDDLE = 3
_BATCH = 256
_FIGURES = ("accuracy", "calibration_error", "sure", "sure_accuracy")


@dataclass(frozen=True)
class Figures:
    """A network's figures on faces with one corruption and severity; all are 0..1.

    Attributes:
        accuracy: accuracy of all answers.
        calibration_error: expected calibration error of the probabilities.
        sure: share of answers that are not uncertain; None if the network has no threshold.
        sure_accuracy: accuracy of these answers; None if there are none.
    """

    accuracy: float
    calibration_error: float
    sure: float | None = None
    sure_accuracy: float | None = None


@dataclass(frozen=True)
class Robustness:
    """A network's figures on clean and corrupted faces.

    Attributes:
        name: the network's name.
        split: the split of the faces.
        faces: their number.
        source, fingerprint: the data.
        seed: seed of the corruptions.
        clean: figures on unchanged faces.
        corrupted: corruption -> figures of severities 1 to 5.
        command: the command of this evaluation, or None.
        weights: SHA-256 of the weights, or None.
        judge: the source of true answers: `labels`, or `votes` for the majority of FER+'s annotators.
    """

    name: str
    split: str
    faces: int
    source: str
    fingerprint: str
    seed: int
    clean: Figures
    corrupted: dict[str, tuple[Figures, ...]]
    command: str | None = None
    weights: str | None = None
    judge: str = "labels"

    @property
    def file_name(self) -> str:
        """The name of its files in a run folder, without the suffix."""
        return f"corruptions-{self.split}" + ("" if self.judge == "labels" else f"-{self.judge}")

    def errors(self, corruption: str) -> float:
        """The mean error rate over severities, 0..1."""
        return float(np.mean([1 - item.accuracy for item in self.corrupted[corruption]]))

    def relative_loss(self, corruption: str) -> float:
        """The share of clean accuracy that is lost at the middle severity; negative for a gain."""
        kept = self.corrupted[corruption][MIDDLE - 1].accuracy
        return 1 - kept / self.clean.accuracy if self.clean.accuracy else 0.0

    @property
    def mean_relative_loss(self) -> float:
        """The mean over corruptions of `relative_loss`."""
        return float(np.mean([self.relative_loss(name) for name in self.corrupted]))

    @property
    def mean_calibration_error(self) -> float:
        """The mean calibration error over corruptions and severities, 0..1."""
        every = [item.calibration_error for items in self.corrupted.values() for item in items]
        return float(np.mean(every))

    def corruption_error(self, corruption: str, reference: Robustness) -> float:
        """The error rate divided by the reference's (CE, Hendrycks & Dietterich 2019)."""
        return self.errors(corruption) / reference.errors(corruption)

    def mean_corruption_error(self, reference: Robustness) -> float:
        """The mean of `corruption_error` over corruptions (mCE): 1 for the reference itself; less is better."""
        return float(np.mean([self.corruption_error(name, reference) for name in self.corrupted]))

    def comparable(self, other: Robustness) -> bool:
        """Whether both have the same faces, source of true answers, corruptions and seed."""

        def scored(one: Robustness) -> tuple[object, ...]:
            faces = (one.fingerprint, one.split, one.faces)
            return (*faces, one.judge, one.seed, tuple(one.corrupted))

        return scored(self) == scored(other)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, derived figures included."""
        reference = reference_for(self)
        return {
            "mien": __version__,
            "name": self.name,
            "split": self.split,
            "data": {"source": self.source, "fingerprint": self.fingerprint, "faces": self.faces},
            "seed": self.seed,
            "judge": self.judge,
            "command": self.command,
            "weights_sha256": self.weights,
            "clean": vars(self.clean),
            "mean_relative_loss": self.mean_relative_loss,
            "mean_calibration_error": self.mean_calibration_error,
            "reference": REFERENCE if reference else None,
            "mean_corruption_error": reference and self.mean_corruption_error(reference),
            "corruptions": {
                name: {
                    **{key: [getattr(item, key) for item in items] for key in _FIGURES},
                    "relative_loss": self.relative_loss(name),
                    "corruption_error": reference and self.corruption_error(name, reference),
                }
                for name, items in self.corrupted.items()
            },
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Robustness:
        """The inverse of `to_dict`."""
        data = content["data"]
        return cls(
            name=content["name"],
            split=content["split"],
            faces=data["faces"],
            source=data["source"],
            fingerprint=data["fingerprint"],
            seed=content["seed"],
            clean=Figures(**content["clean"]),
            corrupted={
                name: tuple(
                    Figures(*values)
                    for values in zip(*(item[key] for key in _FIGURES if key in item), strict=True)
                )
                for name, item in content["corruptions"].items()
            },
            command=content["command"],
            weights=content["weights_sha256"],
            judge=content.get("judge", "labels"),
        )

    def save(self, run: RunFolder) -> None:
        """Write corruptions-<split>.json into the run, or corruptions-<split>-votes.json if `judge` is votes."""
        write_json(run.path / f"{self.file_name}.json", self.to_dict())


def shipped_reference() -> Robustness:
    """The reference's figures on FER-2013's validation split, from tools/corruption_reference.py."""
    file = resources.files("mien.evaluation") / REFERENCE_FILE
    return Robustness.from_dict(json.loads(file.read_text(encoding="utf-8")))


def reference_for(robustness: Robustness) -> Robustness | None:
    """The reference's figures if they are comparable with these, else None."""
    reference = shipped_reference()
    return reference if robustness.comparable(reference) else None


def evaluate_corrupted(
    subject: Subject,
    name: str,
    *,
    votes: Votes | None = None,
    seed: int = 0,
    corruptions: tuple[Corruption, ...] = CORRUPTIONS,
    progress: Progress | None = None,
    command: str | None = None,
) -> Robustness:
    """Score a network on clean faces and after each corruption at each severity, single view.

    Args:
        subject: the network and its faces.
        name: the network's name.
        votes: FER+'s votes on these data. If given, only faces with a majority for an expression are
            scored, and the majority is the truth.
        seed: seed of the corruptions.
        corruptions: the corruptions to apply.
        progress: called after each corruption with the corruptions done and their total.
        command: the command, for the record.

    Raises:
        InputError: there are no faces to score, or the votes belong to other data.
    """
    faces = subject.faces
    truth_N = np.asarray(faces.labels, np.int64)
    if votes is not None:
        truth_N = majority_of(votes, faces)
        faces = replace(faces, indices=faces.indices[truth_N >= 0])
        truth_N = truth_N[truth_N >= 0]
    if not len(faces):
        raise InputError(
            f"{faces.store.source}: no face of the {subject.split} split can be scored; choose another "
            "with --split"
        )
    clean = _figures(subject, faces, truth_N)
    corrupted: dict[str, tuple[Figures, ...]] = {}
    for done, corruption in enumerate(corruptions, start=1):
        corrupted[corruption.name] = tuple(
            _figures(subject, faces, truth_N, corruption, severity, seed) for severity in SEVERITIES
        )
        if progress is not None:
            progress(done, len(corruptions))
    return Robustness(
        name=name,
        split=subject.split,
        faces=len(faces),
        source=faces.store.source,
        fingerprint=faces.store.fingerprint,
        seed=seed,
        judge="labels" if votes is None else "votes",
        clean=clean,
        corrupted=corrupted,
        command=command,
        weights=subject.weights,
    )


def _figures(
    subject: Subject,
    faces: FaceView,
    truth_N: NDArray[np.int64],
    corruption: Corruption | None = None,
    severity: int = 1,
    seed: int = 0,
) -> Figures:
    """Score a network on faces, corrupted if `corruption` is given; `truth_N` int64 (N,) are the true answers."""
    answers: list[NDArray[np.float64]] = []
    sure: list[NDArray[np.bool_]] = []
    for start in range(0, len(faces), _BATCH):
        part = replace(faces, indices=faces.indices[start : start + _BATCH])
        pixels = part.pixels()
        if corruption is not None:
            pixels = corruption.of_all(pixels, severity, part.digests, seed)
        answers.append(np.asarray(subject.predict(pixels), np.float64))
        if subject.is_sure is not None:
            sure.append(subject.is_sure(pixels, answers[-1]))
    probabilities_NK = np.concatenate(answers)
    right_N = probabilities_NK.argmax(axis=1) == truth_N
    error = calibration_error(calibration_bins(probabilities_NK.max(axis=1), right_N))
    if not sure:
        return Figures(float(right_N.mean()), error)
    sure_N = np.concatenate(sure)
    among = float(right_N[sure_N].mean()) if sure_N.any() else None
    return Figures(float(right_N.mean()), error, float(sure_N.mean()), among)
