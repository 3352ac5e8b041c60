"""FER+: the votes of ten annotators on each face of FER-2013.

Barsoum, Zhang, Canton Ferrer, Zhang: "Training Deep Networks for Facial Expression Recognition with
Crowd-Sourced Label Distribution", ICMI 2016, arXiv:1608.01041. The votes are `fer2013new.csv` of
github.com/microsoft/FERPlus. Majorities and distributions follow the authors' own program there
(src/ferplus.py, the modes "majority" and "crossentropy"); rows without an image name are pictures
without a face and are left out (src/generate_training_data.py).

The file's rows are the challenge's rows, in the challenge's order. Its image names are not row
numbers: they skip the pictures without a face, so from row 59 on they are too small.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mien.data.reading import reading, split_named
from mien.data.store import SPLITS, FaceStore
from mien.errors import InputError, one_line, quantity
from mien.expressions import SEVEN, Expressions, canonical

#: The expressions that annotators could choose. Labels 0..6 are the challenge's; it has no contempt.
EIGHT: Expressions = (*SEVEN, "contempt")
#: All choices of an annotator, in the order of the columns of `Votes.votes`.
CHOICES = (*EIGHT, "unknown", "no face")
#: Results in place of an expression: UNKNOWN if there is no majority or it says "unknown", NO_FACE if
#: there is no face. Both are negative, and also valid (negative) indices into `CHOICES`.
UNKNOWN, NO_FACE = -2, -1

#: Faces of FER-2013, each with a row of votes; and the number of annotators of a face.
ROWS = 35_887
ANNOTATORS = 10

#: If at least ENOUGH_FACES faces have a majority and fewer than this share of them have it as their label,
#: a join is refused: the rows must be in another order. The share is 67.5 % on the challenge's data, 18.2 %
#: if joined one row too far, 18.0 to 18.5 % if shuffled, 18.5 % if joined by the numbers in the image names.
#: In 300 random draws of 50 faces in the right order it was never below 42 %.
LEAST_AGREEMENT = 0.4
ENOUGH_FACES = 50
#: The share is looked at in runs of so many faces too, because behind a row that is missing all are one row off. In the
#: right order, runs of 500 of the training faces had 62 to 74 %.
_RUN = 200

_VOTED_ON = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
    "unknown", "NF",
)  # fmt: skip
_GIVE = "give fer2013new.csv as github.com/microsoft/FERPlus has it"


@dataclass(frozen=True)
class Votes:
    """The annotators' votes on N faces.

    Attributes:
        votes: uint8 (N, 10), the number of votes for each of `CHOICES`; ten in all (nine for one
            face).
        rows: int64 (N,), the challenge's row number of each face.
        splits: uint8 (N,), index into `SPLITS`.
        has_face: bool (N,), False if FER+ gives no image name.
        source: the file, for messages.

    >>> counts = np.array([[1, 0, 0, 0, 2, 0, 7, 0, 0, 0]], np.uint8)  # 1 angry, 2 sad, 7 neutral
    >>> row = np.array([0])
    >>> votes = Votes(counts, row, row.astype(np.uint8), row == 0, "example")
    >>> EIGHT[votes.majority()[0]], float(votes.distributions()[0, 6])
    ('neutral', 1.0)
    """

    votes: NDArray[np.uint8]
    rows: NDArray[np.int64]
    splits: NDArray[np.uint8]
    has_face: NDArray[np.bool_]
    source: str

    def __len__(self) -> int:
        return len(self.votes)

    def __getitem__(self, chosen: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Self:
        """The votes on some of the faces."""
        arrays = {
            field.name: getattr(self, field.name)[chosen]
            for field in fields(self)
            if field.name != "source"
        }
        return replace(self, **arrays)

    def majority(self) -> NDArray[np.int64]:
        """The choice with more than half of the votes on each face.

        A choice with a single vote is an outlier and not counted.

        Returns:
            int64 (N,), index into `EIGHT` (0..6 are the challenge's labels); `UNKNOWN` if no choice
            has more than half of the counted votes, or "unknown" has; `NO_FACE` if "no face" has, or
            there is no image name.
        """
        votes = self._without_outliers()
        leader = votes.argmax(axis=1)
        leader = np.where(leader < len(EIGHT), leader, leader - len(CHOICES))
        leader = np.where(2 * votes.max(axis=1) > votes.sum(axis=1), leader, UNKNOWN)
        return np.where(self.has_face, leader, NO_FACE)

    def distributions(self) -> NDArray[np.float32]:
        """The leading expressions of each face, weighted by their votes.

        A choice with a single vote is an outlier and not counted. Choices are taken in the order of
        their votes, equal ones together, until they hold three quarters of the votes. "Unknown" and
        "no face" end the selection and are not taken. A face is left out if more than three
        expressions are taken, if they hold no more than half of the votes, or if it has no image name.

        Returns:
            float32 (N, 8), columns as `EIGHT`; each row sums to 1, or is all zeros for a face left out.
        """
        votes = self._without_outliers()
        total = votes.sum(axis=1, keepdims=True)
        named = votes[:, : len(EIGHT)]
        above = votes[:, None, :] > named[:, :, None]  # (N, 8, 10): which choices have more votes
        held = np.where(above, votes[:, None, :], 0).sum(axis=2)
        # The authors also stop after three choices. Ten votes cannot reach a fourth, so no check is needed.
        reached = 4 * held < 3 * total
        ended = above[:, :, [UNKNOWN, NO_FACE]].any(axis=2)
        taken = np.where(reached & ~ended, named, 0)
        kept = taken.sum(axis=1)
        good = (2 * kept > total[:, 0]) & ((taken > 0).sum(axis=1) <= 3) & self.has_face
        shares = np.zeros(taken.shape, np.float32)
        shares[good] = taken[good] / kept[good, None]
        return shares

    def annotator_agreement(self) -> float | None:
        """The share of annotators who agree with the other annotators of the same face, 0..1.

        See `with_the_others` for the count; summed over all faces. None if no face has two annotators
        who name an expression.
        """
        agreeing, annotators = self.with_the_others()
        return float(agreeing.sum() / annotators.sum()) if annotators.any() else None

    def with_the_others(
        self, answers: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Compare each annotator, or a model, with the other annotators of the same face.

        Each annotator who names one of `EIGHT` is left out in turn, and the annotator's choice is
        compared with the leading choice of the others; if k choices of the others are tied, naming one
        of them counts as 1/k of an agreement.

        Args:
            answers: int64 (N,), index into `EIGHT`: a model's answers, compared in place of the
                left-out annotator's choice; None compares the annotators themselves.

        Returns:
            (agreements float64 (N,), annotators int64 (N,)); both are 0 for faces with fewer than
            two annotators who name one of `EIGHT`.
        """
        named = self.votes[:, : len(EIGHT)].astype(np.int64)
        agreeing = np.zeros(len(self))
        for choice in range(len(EIGHT)):
            others = named.copy()
            others[:, choice] -= 1
            leads = others == others.max(axis=1, keepdims=True)
            says = np.full(len(self), choice) if answers is None else answers
            agreeing += named[:, choice] * leads[np.arange(len(self)), says] / leads.sum(axis=1)
        several = named.sum(axis=1) > 1
        return np.where(several, agreeing, 0), np.where(several, named.sum(axis=1), 0)

    def join(self, store: FaceStore) -> LabelledVotes:
        """The votes on a store's faces, in the store's order, found by row number alone.

        Raises:
            InputError: the faces are not named by row number; FER+ has no such row or expression; the
                splits differ; or the labels agree with the majority on so few faces
                (`LEAST_AGREEMENT`) that rows or labels must be in another order.
        """
        found = self[self._positions(store)]
        joined = LabelledVotes(
            found.votes, found.rows, found.splits, found.has_face, found.source, _labels(store)
        )
        elsewhere = np.flatnonzero(joined.splits != store.splits)
        if len(elsewhere):
            face = elsewhere[0]
            raise InputError(
                f"{store.source}: row {store.rows[face]} is a {SPLITS[store.splits[face]]} face, in "
                f"{self.source} a {SPLITS[joined.splits[face]]} face, and {len(elsewhere):,} rows "
                "differ like this; give the challenge's rows, in its order and with its splits"
            )
        majority = joined.majority()
        decided = majority >= 0
        agreement = (majority == joined.labels)[decided].mean() if decided.any() else 0.0
        if decided.sum() >= ENOUGH_FACES and agreement < LEAST_AGREEMENT:
            raise InputError(
                f"{store.source}: only {agreement:.0%} of its labels agree with most annotators of "
                f"{self.source}, but 67% are expected; its rows or labels are in another order: give "
                "the challenge's rows, in its order"
            )
        in_order = np.flatnonzero(decided)[np.argsort(joined.rows[decided], kind="stable")]
        right = (majority == joined.labels)[in_order]
        for start in range(0, len(right) - _RUN + 1, _RUN // 2):
            if right[start : start + _RUN].mean() < LEAST_AGREEMENT:
                raise InputError(
                    f"{store.source}: from about row {joined.rows[in_order[start]]:,} on, its labels do not agree with "
                    f"most annotators of {self.source}; a row may be missing there: give all of the challenge's rows"
                )
        return joined

    def _without_outliers(self) -> NDArray[np.int64]:
        return np.where(self.votes > 1, self.votes, 0).astype(np.int64)

    def _positions(self, store: FaceStore) -> NDArray[np.int64]:
        """The position in these votes of each face of a store: int64 (faces,)."""
        names = np.asarray(store.rows)
        # Refuse numbers of more than 9 digits before the conversion: they might not fit an int64.
        odd = np.flatnonzero(~np.char.isdecimal(names) | (np.char.str_len(names) > 9))
        if len(odd):
            raise InputError(
                f"{store.source}: its faces have names ({names[odd[0]]}), not row numbers, by which "
                "FER+ is joined; give fer2013.csv, icml_face_data.csv or a parquet with a row column"
            )
        rows = names.astype(np.int64)
        last = int(self.rows.max(initial=-1))
        position = np.full(last + 2, -1)
        position[self.rows] = np.arange(len(self))
        positions = position[np.minimum(rows, last + 1)]
        beyond = np.flatnonzero(positions < 0)
        if len(beyond):
            raise InputError(
                f"{store.source}: row {rows[beyond[0]]} is not among the {quantity(len(self), 'row')} of "
                f"{self.source}; give the challenge's rows"
            )
        return positions


@dataclass(frozen=True)
class LabelledVotes(Votes):
    """The annotators' votes on the faces of a store, with the store's labels.

    Attributes:
        labels: int64 (N,), the store's labels as indices into `EIGHT`.
    """

    labels: NDArray[np.int64]

    def label_votes(self) -> NDArray[np.float64]:
        """The share of each face's annotators who chose its label: float64 (N,), 0..1."""
        voters: NDArray[np.int64] = self.votes.sum(axis=1, dtype=np.int64)
        return self._on_label() / voters

    def rejected(self) -> NDArray[np.bool_]:
        """Whether the annotators reject a face's label: bool (N,).

        They reject it if a majority names another expression or "no face", or if at most one of them
        chose the label (a single vote is an outlier by FER+'s own rule).
        """
        majority = self.majority()
        accepted = (majority == UNKNOWN) | (majority == self.labels)
        rejected: NDArray[np.bool_] = ~accepted | (self._on_label() <= 1)
        return rejected

    def _on_label(self) -> NDArray[np.int64]:
        return self.votes[np.arange(len(self)), self.labels].astype(np.int64)


@dataclass(frozen=True)
class VoteCounts:
    """Counts of FER+'s votes on the faces of one split.

    Attributes:
        faces: number of faces.
        no_face, unknown, contempt: faces whose majority is this choice.
        decided: faces whose majority is one of the eight expressions.
        differs: decided faces whose majority is not the label.
        rejected: see `LabelledVotes.rejected`.
        annotator_agreement: see `Votes.annotator_agreement`.
        confusion: label -> majority, one of `CHOICES` -> number of faces.
    """

    faces: int
    no_face: int
    unknown: int
    contempt: int
    decided: int
    differs: int
    rejected: int
    annotator_agreement: float | None
    confusion: dict[str, dict[str, int]]


def count_votes(votes: LabelledVotes) -> dict[str, VoteCounts]:
    """Count the votes by split: split -> counts, for the splits that have faces."""
    return {
        name: _vote_counts(votes[votes.splits == split])
        for split, name in enumerate(SPLITS)
        if (votes.splits == split).any()
    }


def _vote_counts(votes: LabelledVotes) -> VoteCounts:
    majority = votes.majority()
    table = np.zeros((len(EIGHT), len(CHOICES)), np.int64)
    np.add.at(table, (votes.labels, majority), 1)
    named = dict(zip(CHOICES, table.sum(axis=0).tolist(), strict=True))
    decided = int((majority >= 0).sum())
    return VoteCounts(
        faces=len(votes),
        no_face=named["no face"],
        unknown=named["unknown"],
        contempt=named["contempt"],
        decided=decided,
        differs=decided - int(table.trace()),
        rejected=int(votes.rejected().sum()),
        annotator_agreement=votes.annotator_agreement(),
        confusion={
            label: dict(zip(CHOICES, row.tolist(), strict=True))
            for label, row in zip(EIGHT, table, strict=True)
            if row.any()
        },
    )


def read_votes(path: str | Path) -> Votes:
    """Read FER+'s `fer2013new.csv`: the votes on all faces of FER-2013, in its order.

    Raises:
        InputError: the file cannot be read, is not FER+'s, or is incomplete.
    """
    table: list[list[int]] = []
    splits: list[int] = []
    has_face: list[bool] = []
    with reading(str(path)), Path(path).open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        try:
            usage, image, *voted_on = columns = _columns(next(lines, []), str(path))
            for line in filter(None, lines):
                where = f"{path}, line {lines.line_num}"
                if len(line) <= max(columns):
                    raise InputError(f"{where}: cut short; {_GIVE}")
                table.append(vote_counts([line[column] for column in voted_on], where))
                splits.append(split_named(line[usage], where))
                has_face.append(bool(line[image].strip()))
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a table in text ({one_line(error)}); {_GIVE}") from error
    if len(table) != ROWS:
        raise InputError(
            f"{path}: {quantity(len(table), 'row')} instead of FER+'s {ROWS:,}, and faces are found by row "
            f"number; {_GIVE}"
        )
    return Votes(
        votes=np.array(table, np.uint8),
        rows=np.arange(len(table)),
        splits=np.array(splits, np.uint8),
        has_face=np.array(has_face),
        source=str(path),
    )


def _columns(header: list[str], where: str) -> list[int]:
    """The positions of the columns: Usage, Image name, those of `EIGHT`, unknown, NF."""
    names = [canonical(name) for name in header]
    missing = [name for name in ("Usage", "Image name", *_VOTED_ON) if canonical(name) not in names]
    if missing:
        raise InputError(f"{where}: no FER+ votes, it has no column {', '.join(missing)}; {_GIVE}")
    return [names.index(name) for name in ("usage", "image name", *EIGHT, "unknown", "nf")]


def vote_counts(texts: list[str], where: str) -> list[int]:
    """Parse the votes of a row.

    Raises:
        InputError: a vote is not a number, or their sum is not 1 to `ANNOTATORS`; `where` is the
            place for the message.
    """
    for text in texts:
        if not text.strip().isdecimal() or len(text.strip()) > 9:
            raise InputError(f"{where}: {text.strip()[:20]!r} is not a number of votes; {_GIVE}")
    counts = [int(text) for text in texts]
    if not 0 < sum(counts) <= ANNOTATORS:
        raise InputError(
            f"{where}: {quantity(sum(counts), 'vote')} of {ANNOTATORS} annotators; {_GIVE}"
        )
    return counts


def _labels(store: FaceStore) -> NDArray[np.int64]:
    """The store's labels as indices into `EIGHT`."""
    unheard = [name for name in store.expressions if name not in EIGHT]
    if unheard:
        raise InputError(
            f"{store.source}: FER+ has no votes on {', '.join(unheard)}, only on {', '.join(EIGHT)}; "
            "give data with these labels"
        )
    return np.array([EIGHT.index(name) for name in store.expressions])[store.labels]
