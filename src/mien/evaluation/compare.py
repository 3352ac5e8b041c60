"""Runs side by side, and whether the differences are more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, extra_required
from mien.evaluation.evaluation import Evaluation
from mien.evaluation.metrics import RESAMPLES, interval_of
from mien.evaluation.summary import MeanSd, OfSeeds, summarise
from mien.runs import RunFolder

#: The view that runs are compared in: the one every evaluation has.
VIEW = "none"


@dataclass(frozen=True)
class Contender(OfSeeds):
    """One side of a comparison: a run, or the runs of several seeds of one recipe.

    Attributes:
        name: what the tables call it.
        recipe: the recipe's name.
        runs: one run a seed.
        evaluations: the saved evaluation of each run, all on the same faces.
    """

    name: str
    recipe: str
    runs: tuple[RunFolder, ...]
    evaluations: tuple[Evaluation, ...]

    @cached_property
    def figures(self) -> dict[str, MeanSd]:
        """Headline -> mean ± sd over the seeds."""
        return summarise(self.evaluations)[VIEW]

    def right(self) -> NDArray[np.float64]:
        """float64 (N,), 0..1: the share of seeds that got each face right."""
        answers = [e.probabilities[VIEW].argmax(axis=1) == e.labels for e in self.evaluations]
        return np.asarray(np.mean(answers, axis=0), dtype=np.float64)


@dataclass(frozen=True)
class Pair:
    """Two contenders on the same faces.

    Attributes:
        first, second: their names.
        difference: accuracy of the first minus that of the second, -1..1.
        interval: its 95% paired bootstrap interval.
        only_first, only_second: faces that one got right and the other did not; None for seeds.
        p_value: of McNemar's exact test, 0..1; None for seeds.
    """

    first: str
    second: str
    difference: float
    interval: tuple[float, float]
    only_first: int | None
    only_second: int | None
    p_value: float | None


@dataclass(frozen=True)
class Comparison:
    """Contenders on one split, and every pair of them."""

    split: str
    faces: int
    contenders: tuple[Contender, ...]
    pairs: tuple[Pair, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "split": self.split,
            "view": VIEW,
            "faces": self.faces,
            "runs": [
                {
                    "name": c.name,
                    "recipe": c.recipe,
                    "paths": [str(run.path) for run in c.runs],
                    "seeds": len(c.runs),
                    "epochs": c.epochs and asdict(c.epochs),
                    "seconds": c.seconds and asdict(c.seconds),
                    "figures": {name: asdict(summary) for name, summary in c.figures.items()},
                }
                for c in self.contenders
            ],
            "pairs": [asdict(pair) for pair in self.pairs],
        }


def compare(runs: Sequence[RunFolder | Path | str], split: str = "validation") -> Comparison:
    """Compare the saved evaluations of runs on one split, each with each.

    A folder that holds seed-* runs counts as one contender, shown as mean ± sd.

    Raises:
        InputError: a run has no evaluation of the split, or two were evaluated on different faces.
    """
    if not runs:
        raise InputError("compare: give the run folders to compare")
    names = _names([run.path if isinstance(run, RunFolder) else Path(run) for run in runs])
    contenders = tuple(_contender(name, run, split) for name, run in zip(names, runs, strict=True))
    first = contenders[0].evaluations[0]
    for contender in contenders:
        for run, evaluation in zip(contender.runs, contender.evaluations, strict=True):
            _refuse_other_faces(contenders[0].runs[0], first, run, evaluation)
    return Comparison(
        split=split,
        faces=len(first),
        contenders=contenders,
        pairs=tuple(_pair(one, two) for one, two in combinations(contenders, 2)),
    )


def mcnemar(right_first_N: NDArray[np.bool_], right_second_N: NDArray[np.bool_]) -> float:
    """Exact two-sided p value of McNemar's test, 0..1.

    Of the b + c faces that only one of two classifiers gets right, were they equally good,
    binomial(b + c, 1/2) would be the first's (McNemar 1947; Dietterich 1998).
    """
    with extra_required("report", "comparing runs"):
        from scipy.stats import binomtest
    only_first = int((right_first_N & ~right_second_N).sum())
    only_second = int((right_second_N & ~right_first_N).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)


def paired_interval(difference_N: NDArray[np.float64]) -> tuple[float, float]:
    """95% percentile bootstrap interval of the mean of per-face differences, each -1..1.

    The faces are drawn with replacement, both classifiers' answers to a face together. Differences
    have few values (-1, 0, 1 for two runs), so their multinomial counts are drawn at once.
    """
    values, counts = np.unique(difference_N, return_counts=True)
    generator = np.random.default_rng(0)
    drawn = generator.multinomial(len(difference_N), counts / len(difference_N), size=RESAMPLES)
    return interval_of(drawn @ values / len(difference_N))


def _names(paths: Sequence[Path]) -> list[str]:
    """The folders' own names, or as much of their paths as tells them apart."""
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError("compare: a run folder was given twice; give different ones")
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _contender(name: str, run: RunFolder | Path | str, split: str) -> Contender:
    runs = tuple(RunFolder.expand(run))
    evaluations = tuple(Evaluation.load(run, split) for run in runs)
    recipe = runs[0].recipe().name or "-"
    return Contender(name, recipe, runs, evaluations)


def _refuse_other_faces(
    one: RunFolder, first: Evaluation, two: RunFolder, second: Evaluation
) -> None:
    """Paired figures need the same faces in the same order under the same labels."""
    if first.rows.tolist() != second.rows.tolist() or _truth(first) != _truth(second):
        raise InputError(
            f"{one.path} and {two.path} were evaluated on different {first.split} faces; "
            "evaluate both on the same data"
        )


def _truth(evaluation: Evaluation) -> list[str]:
    return [evaluation.expressions[label] for label in evaluation.labels]


def _pair(one: Contender, two: Contender) -> Pair:
    first, second = one.right(), two.right()
    single = len(one.runs) == len(two.runs) == 1
    return Pair(
        first=one.name,
        second=two.name,
        difference=float((first - second).mean()),
        interval=paired_interval(first - second),
        only_first=int((first > second).sum()) if single else None,
        only_second=int((second > first).sum()) if single else None,
        p_value=mcnemar(first > 0.5, second > 0.5) if single else None,
    )
