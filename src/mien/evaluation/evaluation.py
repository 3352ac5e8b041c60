"""The result of an evaluation, and its files: evaluation-<split>.json, probabilities-<split>.csv."""

from __future__ import annotations

import csv
import hashlib
import importlib
import io
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from mien.errors import InputError
from mien.evaluation.across import Across
from mien.evaluation.metrics import Scores, compute_scores
from mien.evaluation.people import People
from mien.expressions import Expressions
from mien.files import atomic_file, spreadsheet_name, write_json
from mien.runs import RunFolder
from mien.version import __version__


@dataclass(frozen=True)
class ViewScores:
    """The scores of one view.

    Attributes:
        official: on all faces of the split.
        deduplicated: on the faces without an exact copy among the training faces; None if there are no
            training faces, or every face has a copy.
        without_near_copies: on the faces without an exact or near copy; None if no face has a near copy
            only, near copies were not searched, or no face remains.
    """

    official: Scores
    deduplicated: Scores | None
    without_near_copies: Scores | None = None


@dataclass(frozen=True)
class Evaluation:
    """Probabilities and scores of one split of N faces.

    Attributes:
        expressions: the K names of labels and columns.
        split: "validation", "test", "official-validation" or "train"; "across-" and a name if the data
            are not the training's and have other classes.
        rows: str (N,), the source's own name of each face.
        labels: int64 (N,), index into `expressions`.
        copies: bool (N,), whether a training face has exactly the same pixels.
        training_faces: number of training faces that were searched for copies.
        probabilities: view -> float32 (N, K).
        scores: view -> its scores.
        source, fingerprint: the data.
        command: the command of this evaluation, or None.
        weights: SHA-256 of the weights, or None.
        version: the version of mien that made it.
        near_copies: bool (N,), whether a training face is the same photograph, exactly or nearly; None if
            near copies were not searched.
        across: the mapping of classes of other data; all figures are then of the shared expressions.
        people: the comparison with FER+'s annotators, if votes were given; single view.
        majority: int64 (N,), the annotators' majority, index into `expressions`, -1 for none of them;
            None without votes.
        notes: remarks on the data and on the faces scored.
    """

    expressions: Expressions
    split: str
    rows: NDArray[np.str_]
    labels: NDArray[np.int64]
    copies: NDArray[np.bool_]
    training_faces: int
    probabilities: dict[str, NDArray[np.float32]]
    scores: dict[str, ViewScores] = field(default_factory=dict)
    source: str = ""
    fingerprint: str = ""
    command: str | None = None
    weights: str | None = None
    version: str = field(default=__version__)
    near_copies: NDArray[np.bool_] | None = None
    across: Across | None = None
    people: People | None = None
    majority: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def near_copies_in_training(self) -> int | None:
        """The number of faces with a near copy, but no exact copy, among the training faces."""
        return None if self.near_copies is None else int((self.near_copies & ~self.copies).sum())

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the views that were scored."""
        return tuple(self.scores)

    @property
    def truth(self) -> NDArray[np.int64]:
        """The true answers, int64 (N,): the majority of annotators if votes were given, else the labels.

        -1 if there is no true answer.
        """
        return self.labels if self.majority is None else self.majority

    def scored(self) -> Evaluation:
        """The same evaluation, with the scores of its probabilities."""
        return replace(self, scores={view: self._scores(view) for view in self.probabilities})

    def _scores(self, view: str) -> ViewScores:
        probabilities, near = self.probabilities[view], self.near_copies

        def without(left_out: NDArray[np.bool_] | None) -> Scores | None:
            if left_out is None or not self.training_faces or left_out.all():
                return None
            return compute_scores(probabilities[~left_out], self.labels[~left_out])

        # Without further near copies this score would only repeat the deduplicated one.
        repeats = near is None or np.array_equal(near, self.copies)
        return ViewScores(
            official=compute_scores(probabilities, self.labels),
            deduplicated=without(self.copies),
            without_near_copies=None if repeats else without(near),
        )

    def to_dict(self) -> dict[str, Any]:
        """The content of evaluation-<split>.json: everything but the probabilities, as plain values."""
        support = np.bincount(self.labels, minlength=len(self.expressions))
        return {
            "mien": self.version,
            "split": self.split,
            "expressions": list(self.expressions),
            "data": {"source": self.source, "fingerprint": self.fingerprint},
            "notes": list(self.notes),
            "command": self.command,
            "weights_sha256": self.weights,
            "across": self.across and asdict(self.across),
            "people": self.people and asdict(self.people),
            "counts": {
                "faces": len(self),
                "copies_in_training": int(self.copies.sum()),
                "near_copies_in_training": self.near_copies_in_training,
                "training_faces": self.training_faces,
                "per_expression": {
                    name: int(n) for name, n in zip(self.expressions, support, strict=True)
                },
            },
            "views": {view: asdict(scores) for view, scores in self.scores.items()},
        }

    def plot(self, view: str = "none") -> Any:
        """Draw the confusion matrix of a view, as a matplotlib Figure; a notebook shows it if it is the last value."""
        # Pages depend on evaluation: imported by name, so that there is no circle.
        plots = importlib.import_module("mien.pages.plots")
        name = self.split.replace("-", " ").capitalize()
        return plots.confusion(self.scores[view].official.confusion, self.expressions, name)

    def save(self, run: RunFolder) -> None:
        """Write both files, each completely or not at all; the JSON last, because it marks both as complete.

        Raises:
            InputError: the run folder cannot be written.
        """
        table = self._table()
        with atomic_file(run.probabilities_path(self.split)) as handle:
            handle.write(table)
        content = self.to_dict() | {"probabilities_sha256": hashlib.sha256(table).hexdigest()}
        write_json(run.evaluation_path(self.split), content)

    def _table(self) -> bytes:
        """The CSV, one line for each face; float32 with the fewest digits that give the same value back."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        columns = [f"{view}:{name}" for view in self.probabilities for name in self.expressions]
        names = (*self.expressions, "")  # index -1, no majority, gives ""
        said = [] if self.majority is None else [[names[k] for k in self.majority]]
        head = ["row", "label", "copy_in_training", *(["majority"] if said else [])]
        writer.writerow([*head, *columns])
        # "1" for an exact copy, "near" for a near one.
        kinds = np.where(self.copies, "1", "0").astype("<U4")
        if self.near_copies is not None:
            kinds[self.near_copies & ~self.copies] = "near"
        digits = np.concatenate([p.astype(str) for p in self.probabilities.values()], axis=1)
        for row, label, kind, *rest, values in zip(
            self.rows, self.labels, kinds, *said, digits, strict=True
        ):
            writer.writerow([spreadsheet_name(row), self.expressions[label], kind, *rest, *values])
        return text.getvalue().encode(errors="surrogateescape")

    @classmethod
    def load(cls, run: RunFolder, split: str) -> Evaluation:
        """Read an evaluation that `save` wrote.

        Raises:
            InputError: the split was not evaluated, or a file is missing, changed or damaged.
        """
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
        head, *lines = csv.reader(io.StringIO(table.decode(errors="surrogateescape"), newline=""))
        first = 4 if "majority" in head else 3
        values = np.array([line[first:] for line in lines]).astype(np.float32)
        per_view = np.split(values, len(content["views"]), axis=1)
        kinds = np.array([line[2] for line in lines])
        looked_for = content["counts"].get("near_copies_in_training") is not None
        return cls(
            expressions=expressions,
            split=content["split"],
            rows=np.array([line[0] for line in lines]),
            labels=np.array([expressions.index(line[1]) for line in lines], dtype=np.int64),
            copies=kinds == "1",
            training_faces=content["counts"]["training_faces"],
            probabilities=dict(zip(content["views"], per_view, strict=True)),
            scores=_SCORES.validate_python(content["views"]),
            source=content["data"]["source"],
            fingerprint=content["data"]["fingerprint"],
            command=content["command"],
            weights=content["weights_sha256"],
            version=content["mien"],
            near_copies=kinds != "0" if looked_for else None,
            across=_ACROSS.validate_python(content.get("across")),
            people=_PEOPLE.validate_python(content.get("people")),
            majority=None
            if first == 3
            else np.array(
                [expressions.index(line[3]) if line[3] else -1 for line in lines], dtype=np.int64
            ),
            notes=tuple(content.get("notes", ())),
        )


_SCORES = pydantic.TypeAdapter(dict[str, ViewScores])
_ACROSS = pydantic.TypeAdapter(Across | None)
_PEOPLE = pydantic.TypeAdapter(People | None)


def _not_whole(path: Path, what: str) -> InputError:
    return InputError(f"{path}: {what}; run `mien evaluate` again")
