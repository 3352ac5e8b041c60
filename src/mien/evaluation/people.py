"""Compare a network with people: FER+'s ten annotators of each face.

Only expressions known to both are compared. If the network does not know contempt, votes for it are removed from
distributions (the rest is scaled to sum to 1), and faces with a majority for it are only counted, because the
network cannot answer them. For majorities and distributions see `mien.data.ferplus`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.ferplus import CHOICES, EIGHT, NO_FACE, UNKNOWN, LabelledVotes, Votes
from mien.data.store import FaceView
from mien.errors import InputError
from mien.evaluation.metrics import RESAMPLES, SMALLEST_PROBABILITY, interval_of
from mien.expressions import Expressions


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % percentile bootstrap interval over faces."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class People:
    """The agreement of a network with FER+'s annotators on the faces of a split, single view.

    Attributes:
        source: the file of votes.
        expressions: the expressions known to both.
        compared: number of faces with a distribution of votes over these expressions.
        divergence: mean Kullback-Leibler divergence of the network's probabilities q from the
            distributions p, sum of p ln(p / q), in nats, 0 and up.
        spread: mean entropy of the distributions in nats: the disagreement among annotators.
        correlation: Pearson's correlation of probabilities and shares of votes over all faces and expressions.
        correlations: the same for each expression; None if one side does not vary.
        decided: number of faces whose majority is one of the expressions.
        majority: the share of them for which the network gives the majority's expression.
        labels: the share of them for which the challenge's label is the majority's expression.
        no_face, unknown, elsewhere: numbers of faces whose majority is "no face", whose votes have no
            majority, and whose majority is an expression that the network does not know.
        annotated: number of faces with two or more annotators who name an expression; the next three are
            of these faces, each annotator compared once.
        annotator: the share of annotators who agree with most of the others.
        network: the share of agreement if the network answers in place of the annotator.
        lead: `network` minus `annotator`, with a paired interval.
        balanced: the mean of `recalls`, so that all expressions have the same weight; None in evaluations of
            mien 0.1.
        score: the mean of `majority` and `balanced`, the main score of networks ("J" in the documents).
        recalls: expression -> (the network's recall of it by the majority, number of faces).
        of_eight: accuracy over `decided` and `elsewhere`, with all of the latter wrong, for comparison with
            networks of FER+'s eight expressions (Barsoum et al. 2016). None if `elsewhere` is 0.
    """

    source: str
    expressions: Expressions
    compared: int
    divergence: Estimate
    spread: float
    correlation: float
    correlations: dict[str, float | None]
    decided: int
    majority: Estimate
    labels: float
    no_face: int
    unknown: int
    elsewhere: int
    annotated: int
    annotator: Estimate
    network: Estimate
    lead: Estimate
    balanced: Estimate | None = None
    score: Estimate | None = None
    recalls: dict[str, tuple[float, int]] = field(default_factory=dict)
    of_eight: Estimate | None = None


def beside_people(
    probabilities_NK: NDArray[np.floating[Any]], faces: FaceView, votes: Votes
) -> People:
    """Compare a network's probabilities with the annotators' votes on the faces of a split.

    Args:
        probabilities_NK: (N, K), columns as the faces' expressions.
        faces: the N faces.
        votes: FER+'s votes.

    Raises:
        InputError: the votes belong to other data (see `Votes.join`), or name no expression of these faces.
    """
    said = votes.join(faces.store)[faces.indices]
    probabilities = np.asarray(probabilities_NK, dtype=np.float64)
    columns = np.array([EIGHT.index(name) for name in faces.expressions])
    shares, q = _distributions(said, columns, probabilities)
    decided, right, right_labels = _by_majority(said, columns, probabilities)
    agreeing, annotators = said.with_the_others()
    in_place, _ = said.with_the_others(columns[probabilities.argmax(axis=1)])
    if not len(shares) or not decided.any() or not annotators.any():
        raise InputError(
            f"{votes.source}: its annotators name none of {', '.join(faces.expressions)} on these faces "
            f"of {faces.store.source}; give a split with more faces"
        )
    majority = said.majority()
    rng = np.random.default_rng(0)
    named = _named(said, faces.expressions)
    answers = probabilities.argmax(axis=1)
    balanced, score = _balanced(answers[decided], named[decided], rng)
    eight = majority >= 0
    return People(
        source=Path(votes.source).name,
        expressions=faces.expressions,
        compared=len(shares),
        divergence=_share(_divergence(shares, q), np.ones(len(shares)), rng),
        spread=float(_divergence(shares, np.ones_like(shares)).mean() * -1),
        correlation=_pearson(shares.ravel(), q.ravel()) or 0.0,
        correlations={
            name: _pearson(shares[:, k], q[:, k]) for k, name in enumerate(faces.expressions)
        },
        decided=int(decided.sum()),
        majority=_share(right[decided].astype(float), np.ones(int(decided.sum())), rng),
        balanced=balanced,
        score=score,
        recalls=_recalls(answers, named, faces.expressions),
        labels=float(right_labels[decided].mean()),
        no_face=int((majority == NO_FACE).sum()),
        unknown=int((majority == UNKNOWN).sum()),
        elsewhere=int((eight & ~decided).sum()),
        annotated=int((annotators > 0).sum()),
        annotator=_share(agreeing, annotators, rng),
        network=_share(in_place, annotators, rng),
        lead=_share(in_place - agreeing, annotators, rng),
        of_eight=_share(right[eight].astype(float), np.ones(int(eight.sum())), rng)
        if (eight & ~decided).any()
        else None,
    )


def _recalls(
    answers: NDArray[np.int64], majority: NDArray[np.int64], expressions: Expressions
) -> dict[str, tuple[float, int]]:
    """For each expression, the share of its faces that get it as an answer, and their number."""
    return {
        name: (float((answers[majority == k] == k).mean()), int((majority == k).sum()))
        for k, name in enumerate(expressions)
        if (majority == k).any()
    }


def majority_of(votes: Votes, faces: FaceView) -> NDArray[np.int64]:
    """The majority's expression of each face: int64 (N,), index into the faces' own expressions.

    It is -1 for faces without a majority, and for those whose majority is not one of these expressions.

    Raises:
        InputError: the votes belong to other data (see `Votes.join`).
    """
    return _named(votes.join(faces.store)[faces.indices], faces.expressions)


def _named(said: LabelledVotes, expressions: Expressions) -> NDArray[np.int64]:
    """`majority_of` for votes that are already joined; all `expressions` are in `EIGHT`."""
    positions = np.full(len(CHOICES), -1)
    for k, name in enumerate(expressions):
        positions[EIGHT.index(name)] = k
    return positions[said.majority()]


def people_score(answers_N: NDArray[np.int64], majority_N: NDArray[np.int64]) -> float:
    """The main score of networks ("J"): the mean of accuracy and balanced accuracy, 0..1.

    Args:
        answers_N: int64 (N,), index into the expressions.
        majority_N: int64 (N,), see `majority_of`; faces with -1 are not counted.

    >>> people_score(np.array([0, 0, 0, 1]), np.array([0, 0, 1, -1]))
    0.5833333333333333
    """
    decided = majority_N >= 0
    right = (answers_N == majority_N)[decided]
    recalls = [right[majority_N[decided] == k].mean() for k in np.unique(majority_N[decided])]
    return float((right.mean() + np.mean(recalls)) / 2)


def _balanced(
    answers: NDArray[np.int64], majority: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Estimate, Estimate]:
    """Balanced accuracy, and its mean with accuracy; intervals by resampling faces."""

    def figures(chosen: NDArray[np.int64]) -> tuple[float, float]:
        whole = people_score(answers[chosen], majority[chosen])
        accuracy = float((answers[chosen] == majority[chosen]).mean())
        return 2 * whole - accuracy, whole

    draws = np.array(
        [figures(rng.integers(len(answers), size=len(answers))) for _ in range(RESAMPLES)]
    )
    balanced, score = figures(np.arange(len(answers)))
    return (
        Estimate(balanced, interval_of(draws[:, 0])),
        Estimate(score, interval_of(draws[:, 1])),
    )


def _distributions(
    said: LabelledVotes, columns: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(shares of votes, probabilities), both float64 (n, K), of the n faces that have a distribution."""
    shares = said.distributions()[:, columns].astype(np.float64)
    named = shares.sum(axis=1) > 0
    shares = shares[named] / shares[named].sum(axis=1, keepdims=True)
    return shares, probabilities[named]


def _by_majority(
    said: LabelledVotes, columns: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Compare with the majority: three arrays, bool (N,).

    They tell whether the network knows the majority's expression, answers with it, and the label is it.
    """
    majority = said.majority()
    answers = columns[probabilities.argmax(axis=1)]
    return np.isin(majority, columns), answers == majority, said.labels == majority


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of p ln(p / q) of each row, float64 (n,), with 0 ln 0 = 0."""
    logs = np.log(np.maximum(p, SMALLEST_PROBABILITY)) - np.log(np.maximum(q, SMALLEST_PROBABILITY))
    divergence: NDArray[np.float64] = (p * logs).sum(axis=1)
    return divergence


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float | None:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _share(sums: NDArray[np.float64], counts: NDArray[Any], rng: np.random.Generator) -> Estimate:
    """The ratio of total `sums` to total `counts`, both (N,); the interval is by resampling faces."""
    drawn = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        chosen = rng.integers(len(sums), size=len(sums))
        drawn[i] = sums[chosen].sum() / max(counts[chosen].sum(), 1)
    return Estimate(float(sums.sum() / counts.sum()), interval_of(drawn))
