"""What an evaluation found, and its files: evaluation-<split>.json, probabilities-<split>.csv."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien import __version__
from mien.errors import InputError
from mien.evaluation.metrics import Scores, compute_scores
from mien.expressions import Expressions
from mien.files import atomic_file, write_json
from mien.runs import RunFolder


@dataclass(frozen=True)
class ViewScores:
    """One view's scores.

    Attributes:
        official: over every face of the split.
        deduplicated: without the faces that have an exact copy among the training faces; None where
            the data hold no training faces to compare with, or where every face has a copy.
    """

    official: Scores
    deduplicated: Scores | None

    @classmethod
    def of(
        cls,
        probabilities: NDArray[np.float32],
        labels: NDArray[np.int64],
        copies: NDArray[np.bool_],
        training_faces: int,
    ) -> ViewScores:
        """The scores of probabilities (N, K); the rest as `Evaluation` has it."""
        alone = None
        if training_faces and not copies.all():
            alone = compute_scores(probabilities[~copies], labels[~copies])
        return cls(compute_scores(probabilities, labels), alone)


@dataclass(frozen=True)
class Evaluation:
    """Probabilities and scores of one split of N faces.

    Attributes:
        expressions: the K names that labels and columns mean.
        split: "validation", "test", "official-validation" or "train".
        rows: str (N,), the source's own name of each face.
        labels: int64 (N,).
        copies: bool (N,), True where a training face has the very same pixels.
        training_faces: how many training faces `copies` was looked up in.
        probabilities: view -> float32 (N, K).
        scores: view -> its scores.
        source, fingerprint: the data scored.
        command: what was typed to get this, or None.
        weights: sha256 of the weights file scored, or None.
    """

    expressions: Expressions
    split: str
    rows: NDArray[np.str_]
    labels: NDArray[np.int64]
    copies: NDArray[np.bool_]
    training_faces: int
    probabilities: dict[str, NDArray[np.float32]]
    scores: dict[str, ViewScores]
    source: str = ""
    fingerprint: str = ""
    command: str | None = None
    weights: str | None = None
    version: str = field(default=__version__)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def views(self) -> tuple[str, ...]:
        return tuple(self.scores)

    def to_dict(self) -> dict[str, Any]:
        """What evaluation-<split>.json holds: everything but the probabilities, as plain values."""
        support = np.bincount(self.labels, minlength=len(self.expressions))
        return {
            "mien": self.version,
            "split": self.split,
            "expressions": list(self.expressions),
            "data": {"source": self.source, "fingerprint": self.fingerprint},
            "command": self.command,
            "weights_sha256": self.weights,
            "counts": {
                "faces": len(self),
                "copies_in_training": int(self.copies.sum()),
                "training_faces": self.training_faces,
                "per_expression": {
                    name: int(n) for name, n in zip(self.expressions, support, strict=True)
                },
            },
            "views": {
                view: {
                    "official": scores.official.to_dict(),
                    "deduplicated": scores.deduplicated and scores.deduplicated.to_dict(),
                }
                for view, scores in self.scores.items()
            },
        }

    def save(self, run: RunFolder) -> None:
        """Write both files, each whole or not at all; the JSON last, it stands for both."""
        table = self._table()
        with atomic_file(run.probabilities_path(self.split)) as handle:
            handle.write(table)
        content = self.to_dict() | {"probabilities_sha256": hashlib.sha256(table).hexdigest()}
        write_json(run.evaluation_path(self.split), content)

    def _table(self) -> bytes:
        """The CSV, a line a face; float32 in the shortest digits that read back the same."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        columns = [f"{view}:{name}" for view in self.probabilities for name in self.expressions]
        writer.writerow(["row", "label", "copy_in_training", *columns])
        digits = np.concatenate([p.astype(str) for p in self.probabilities.values()], axis=1)
        for row, label, copy, values in zip(
            self.rows, self.labels, self.copies, digits, strict=True
        ):
            writer.writerow([row, self.expressions[label], int(copy), *values])
        return text.getvalue().encode()

    @classmethod
    def load(cls, run: RunFolder, split: str) -> Evaluation:
        """What `save` wrote; InputError where the split was not evaluated or a file was changed."""
        content = run.evaluation(split)
        if content is None:
            raise InputError(
                f"{run.path}: the {split} split was not evaluated; "
                f"run  mien evaluate {run.path} --data PATH --split {split}"
            )
        path = run.probabilities_path(split)
        try:
            table = path.read_bytes()
        except FileNotFoundError:
            raise _not_whole(path, "missing") from None
        if hashlib.sha256(table).hexdigest() != content.get("probabilities_sha256"):
            raise _not_whole(
                path, f"not the file that {run.evaluation_path(split).name} was made with"
            )
        try:
            return cls._parse(content, table)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise _not_whole(run.evaluation_path(split), f"not understood ({error!r})") from error

    @classmethod
    def _parse(cls, content: dict[str, Any], table: bytes) -> Evaluation:
        expressions = tuple(content["expressions"])
        lines = list(csv.reader(io.StringIO(table.decode(), newline="")))[1:]
        values = np.array([line[3:] for line in lines]).astype(np.float32)
        per_view = np.split(values, len(content["views"]), axis=1)
        return cls(
            expressions=expressions,
            split=content["split"],
            rows=np.array([line[0] for line in lines]),
            labels=np.array([expressions.index(line[1]) for line in lines], dtype=np.int64),
            copies=np.array([line[2] == "1" for line in lines]),
            training_faces=content["counts"]["training_faces"],
            probabilities=dict(zip(content["views"], per_view, strict=True)),
            scores={
                view: ViewScores(
                    Scores.from_dict(both["official"]),
                    both["deduplicated"] and Scores.from_dict(both["deduplicated"]),
                )
                for view, both in content["views"].items()
            },
            source=content["data"]["source"],
            fingerprint=content["data"]["fingerprint"],
            command=content["command"],
            weights=content["weights_sha256"],
            version=content["mien"],
        )


def _not_whole(path: Path, what: str) -> InputError:
    return InputError(f"{path}: {what}; run `mien evaluate` again")
