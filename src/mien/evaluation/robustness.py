"""How much of its accuracy and calibration a network keeps when faces get worse."""

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

#: The network whose errors others are measured by, and the file with its figures inside the package.
REFERENCE = "four-block-cnn"
REFERENCE_FILE = "four_block_corruptions.json"
#: The severity that one figure stands for.
MIDDLE = 3
_FIGURES = ("accuracy", "calibration_error", "sure", "sure_accuracy")


@dataclass(frozen=True)
class Figures:
    """How a network does on faces of one kind; every figure is 0..1.

    Attributes:
        accuracy: of all answers.
        calibration_error: expected calibration error of the probabilities.
        sure: the share of answers that are not uncertain; None if the network has no such threshold.
        sure_accuracy: of the sure answers; None if there is none.
    """

    accuracy: float
    calibration_error: float
    sure: float | None = None
    sure_accuracy: float | None = None


@dataclass(frozen=True)
class Robustness:
    """A network's figures on N faces, clean and corrupted.

    Attributes:
        name: of the network, for people.
        split, faces, source, fingerprint: what was scored.
        seed: of the corruptions.
        judge: who says which answer is right: `labels`, or `votes` for the majority of FER+'s annotators.
        clean: on the faces as they are.
        corrupted: corruption -> figures by severity, 1 to 5.
        command: what was typed, or None. weights: sha256 of the weights, or None.
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
        """Of its files in a run folder, without the suffix."""
        return f"corruptions-{self.split}" + ("" if self.judge == "labels" else f"-{self.judge}")

    def errors(self, corruption: str) -> float:
        """The mean error over severities, 0..1."""
        return float(np.mean([1 - item.accuracy for item in self.corrupted[corruption]]))

    def relative_loss(self, corruption: str, severity: int = MIDDLE) -> float:
        """The share of its clean accuracy that the network loses at a severity; below 0 for a gain."""
        kept = self.corrupted[corruption][severity - 1].accuracy
        return 1 - kept / self.clean.accuracy if self.clean.accuracy else 0.0

    @property
    def mean_relative_loss(self) -> float:
        """`relative_loss` at the middle severity, over corruptions."""
        return float(np.mean([self.relative_loss(name) for name in self.corrupted]))

    @property
    def mean_calibration_error(self) -> float:
        """Over corruptions and severities, 0..1."""
        every = [item.calibration_error for items in self.corrupted.values() for item in items]
        return float(np.mean(every))

    def corruption_error(self, corruption: str, reference: Robustness) -> float:
        """The errors over all severities over those of the reference (CE, Hendrycks & Dietterich 2019)."""
        return self.errors(corruption) / reference.errors(corruption)

    def mean_corruption_error(self, reference: Robustness) -> float:
        """mCE: 1 for the reference itself, less for what errs less than it."""
        return float(np.mean([self.corruption_error(name, reference) for name in self.corrupted]))

    def comparable(self, other: Robustness) -> bool:
        """Whether both are of the same faces, made worse in the same way."""

        def scored(one: Robustness) -> tuple[object, ...]:
            faces = (one.fingerprint, one.split, one.faces)
            return (*faces, one.judge, one.seed, tuple(one.corrupted))

        return scored(self) == scored(other)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, figures that can be worked out from others too."""
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
                    "accuracy": [item.accuracy for item in items],
                    "calibration_error": [item.calibration_error for item in items],
                    "sure": [item.sure for item in items],
                    "sure_accuracy": [item.sure_accuracy for item in items],
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
        """Write corruptions-<split>.json into the run, corruptions-<split>-votes.json if votes judge."""
        write_json(run.path / f"{self.file_name}.json", self.to_dict())


def shipped_reference() -> Robustness:
    """The reference's figures, of FER-2013's validation split; tools/corruption_reference.py makes them."""
    file = resources.files("mien.evaluation") / REFERENCE_FILE
    return Robustness.from_dict(json.loads(file.read_text(encoding="utf-8")))


def reference_for(robustness: Robustness) -> Robustness | None:
    """The reference's figures where they are of the same faces, made worse in the same way; else None."""
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
    """Score a subject on its faces as they are and after every corruption, in the single view.

    Args:
        subject: what is scored on what.
        name: what it goes by.
        votes: FER+'s, of these data: only faces with a majority for an expression count, and it judges.
        seed: of the corruptions.
        corruptions: which of them.
        progress: told after each corruption.
        command: what was typed, for the record.

    Raises:
        InputError: no face is left, or the votes are of other data.
    """
    faces = subject.faces
    truth_N = np.asarray(faces.labels, np.int64)
    if votes is not None:
        truth_N = majority_of(votes, faces)
        faces = replace(faces, indices=faces.indices[truth_N >= 0])
        truth_N = truth_N[truth_N >= 0]
    if not len(faces):
        raise InputError(f"{faces.store.source}: no face of the {subject.split} split is left")
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
    batch_size: int = 256,
) -> Figures:
    """What a subject scores on faces, corrupted or not."""
    answers: list[NDArray[np.float64]] = []
    sure: list[NDArray[np.bool_]] = []
    for start in range(0, len(faces), batch_size):
        part = replace(faces, indices=faces.indices[start : start + batch_size])
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
