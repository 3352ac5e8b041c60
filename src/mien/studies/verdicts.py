"""The verdicts of a diagnosis: figures, and one plain sentence per question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.errors import quantity
from mien.evaluation.compare import paired_interval
from mien.evaluation.metrics import accuracy_interval
from mien.evaluation.text import percent
from mien.studies.plan import FACTORS, Diagnosis
from mien.studies.trials import Outcome

#: Gain of validation accuracy per doubling of the faces above which more faces count as a help.
_WORTH_A_DOUBLING = 0.01
#: Share of the gap from which a factor counts as a cause of it.
_A_PART = 0.15
#: Rejected labels count as a cause if their share of the gap is more than this many times their share of the labels.
#: The two shares would be equal if rejected labels were memorised like any other label.
_MORE_THAN_ITS_SHARE = 1.25
#: A difference of validation accuracy that would matter. A question stays open if the interval reaches farther than
#: this to either side of the measured difference.
_OF_NOTE = 0.03
#: A split needs this many rejected and this many accepted faces for a verdict on labels.
_FEWEST_REJECTED = 30


@dataclass(frozen=True)
class Effect:
    """The effect of one change: a trial compared with the baseline.

    Attributes:
        outcome: the trial.
        difference: validation accuracy of the trial minus that of the baseline, -1..1.
        interval: its 95% interval over validation faces (paired bootstrap).
        gap_change: overfitting gap of the trial minus that of the baseline.
        beyond_noise: whether the interval excludes 0 and the difference is larger than the one that another seed
            makes, if another seed was tried.
        still_rising: whether the best epoch is in the last tenth, so that more epochs would gain more.
    """

    outcome: Outcome
    difference: float
    interval: tuple[float, float]
    gap_change: float
    beyond_noise: bool
    still_rising: bool

    @property
    def blurred(self) -> str | None:
        """A sentence if the interval is too wide for a verdict; else None."""
        return _blurred(self.interval, len(self.outcome.validation.labels))


@dataclass(frozen=True)
class LabelNoise:
    """The overfitting gap, divided between labels that annotators reject and labels that they accept.

    The gap is (accuracy on training faces) - (on validation faces). With r the share of rejected
    labels among the training faces, it is r x (gap among the rejected) + (1 - r) x (gap among the
    accepted), as far as both splits have the same share r.

    Attributes:
        share: share of rejected labels among the training labels, 0..1.
        train, validation: accuracy on (rejected, accepted) faces, 0..1.
        part: share of the gap that rejected labels cause, usually 0..1.
    """

    share: float
    train: tuple[float, float]
    validation: tuple[float, float]
    part: float

    @property
    def stands_out(self) -> bool:
        """Whether the rejected labels' share of the gap is clearly larger than their share of the labels."""
        return self.part >= _A_PART and self.part > _MORE_THAN_ITS_SHARE * self.share


@dataclass(frozen=True)
class Verdict:
    """The answer to one question.

    Attributes:
        factor: a key of FACTORS.
        verdict: the answer in one or two sentences.
        culprit: whether the factor is a cause of the overfitting; None if the question stays open.
    """

    factor: str
    verdict: str
    culprit: bool | None

    @property
    def question(self) -> str:
        return FACTORS[self.factor]


def effect(outcome: Outcome, diagnosis: Diagnosis) -> Effect:
    """Compare a trial with the baseline, on the same validation faces."""
    difference = _right(outcome) - _right(diagnosis.baseline)
    interval = paired_interval(difference)
    mean = float(difference.mean())
    seeds = [
        abs(other.validation_accuracy - diagnosis.baseline.validation_accuracy)
        for other in diagnosis.of("baseline")
    ]
    epochs = len(outcome.run.history())
    best = int(outcome.run.kept_epoch()["epoch"])
    return Effect(
        outcome=outcome,
        difference=mean,
        interval=interval,
        gap_change=outcome.gap - diagnosis.baseline.gap,
        beyond_noise=not interval[0] <= 0 <= interval[1] and abs(mean) > max(seeds),
        still_rising=best > 0.9 * epochs and epochs >= outcome.trial.recipe.epochs,
    )


def label_noise(diagnosis: Diagnosis) -> LabelNoise | None:
    """Divide the baseline's gap between rejected and accepted labels.

    None without votes, or if a split has too few rejected or accepted faces.
    """
    if diagnosis.votes is None:
        return None
    baseline = diagnosis.baseline
    rejected = diagnosis.votes.rejected()
    fitted = rejected[baseline.trial.faces(diagnosis.train).indices]
    held = rejected[diagnosis.validation.indices]
    fewest = min(int(count.sum()) for side in (fitted, held) for count in (side, ~side))
    if fewest < _FEWEST_REJECTED:
        return None
    right = baseline.train.probabilities["none"].argmax(1) == baseline.train.labels
    right_held = _right(baseline) > 0
    share = float(fitted.mean())
    train = float(right[fitted].mean()), float(right[~fitted].mean())
    validation = float(right_held[held].mean()), float(right_held[~held].mean())
    from_rejected = share * (train[0] - validation[0])
    whole = from_rejected + (1 - share) * (train[1] - validation[1])
    return LabelNoise(share, train, validation, from_rejected / whole if whole else 0.0)


def verdicts(diagnosis: Diagnosis) -> list[Verdict]:
    """Judge each factor, in the order of FACTORS; all stay open if the baseline has learnt nothing."""
    why = learnt_nothing(diagnosis)
    if why is not None:
        return [_open(factor, f"No verdict: {why}") for factor in FACTORS]
    return [
        _data(diagnosis),
        _capacity(diagnosis),
        _regularisation(diagnosis),
        _labels(diagnosis),
    ]


def learnt_nothing(diagnosis: Diagnosis) -> str | None:
    """A sentence if the baseline is not clearly above chance, so that no verdict is possible; else None."""
    right = _right(diagnosis.baseline)
    labels = diagnosis.baseline.validation.labels
    chance = float(np.bincount(labels).max()) / len(labels)
    low, high = accuracy_interval(int(right.sum()), len(right))
    if low > chance:
        return None
    return (
        f"on {quantity(len(right), 'validation face')} the recipe as it is reaches {percent(float(right.mean()))} "
        f"(95 % interval {percent(low)} to {percent(high)}), and always naming the commonest expression "
        f"{percent(chance)}. A network that has not clearly learnt cannot show why it overfits: give it more "
        "faces, more epochs or a larger budget."
    )


def _blurred(interval: tuple[float, float], faces: int) -> str | None:
    """A sentence if an interval is too wide for a verdict, with the number of faces that would do; else None."""
    # A bootstrap of equal answers has width 0, however few the faces.
    half = max((interval[1] - interval[0]) / 2, 1.5 / faces)
    if half <= _OF_NOTE:
        return None
    enough = faces * (half / _OF_NOTE) ** 2
    return (
        f"no verdict: with {quantity(faces, 'validation face')} it is known to ± {points(half)}; "
        f"about {max(100, round(enough, -2)):,.0f} of them would tell."
    )


def summary(diagnosis: Diagnosis, found: Sequence[Verdict]) -> str:
    """Summarise the verdicts in two or three sentences."""
    baseline = diagnosis.baseline
    start = (
        f"Trained on {quantity(len(baseline.trial.faces(diagnosis.train)), 'face')}, {diagnosis.recipe.name} "
        f"names {percent(baseline.train_accuracy)} of them rightly and {percent(baseline.validation_accuracy)} "
        f"of the validation faces: a gap of {points(baseline.gap)}."
    )
    why = learnt_nothing(diagnosis)
    if why is not None:
        return f"{start} No verdict: {why}"
    names = {
        "data": "too few faces",
        "capacity": "a network larger than it need be",
        "regularisation": "too little regularisation",
        "labels": "wrong labels learnt by heart",
    }
    guilty = [names[item.factor] for item in found if item.culprit]
    innocent = [names[item.factor] for item in found if item.culprit is False]
    unsure = [names[item.factor] for item in found if item.culprit is None]
    parts = [start]
    if guilty:
        parts.append(f"Causes: {_and(guilty)}.")
    if innocent:
        parts.append(f"Not causes: {_and(innocent)}.")
    if unsure:
        parts.append(f"Left open: {_and(unsure)}.")
    return " ".join(parts)


def points(value: float) -> str:
    """Write a difference of shares, -1..1, in percentage points.

    >>> points(0.1234), points(-0.004)
    ('12.3 points', '-0.4 points')
    """
    return f"{100 * value:.1f} points"


def _data(diagnosis: Diagnosis) -> Verdict:
    curve = learning_curve(diagnosis)
    if len(curve) < 2:
        return _open("data", "No other number of faces was tried within the budget.")
    sizes = np.log2([n for n, _ in curve])
    accuracies = np.array([outcome.validation_accuracy for _, outcome in curve])
    doubling = float(np.polyfit(sizes, accuracies, 1)[0])
    last = float((accuracies[-1] - accuracies[-2]) / (sizes[-1] - sizes[-2]))
    (few, first), (many, most) = curve[0], curve[-1]
    helps: bool | None = last > _WORTH_A_DOUBLING
    doubt = _blurred(
        paired_interval(_right(curve[-1][1]) - _right(curve[-2][1])), len(_right(most))
    )
    if doubt is not None:
        helps = None
    return Verdict(
        "data",
        f"From {few:,} to {quantity(many, 'face')}, validation accuracy goes from "
        f"{percent(first.validation_accuracy)} to {percent(most.validation_accuracy)}, {points(doubling)} with "
        f"each doubling ({points(last)} for the last one), and the gap from {points(first.gap)} to "
        f"{points(most.gap)}: "
        + (
            doubt
            if doubt is not None
            else "the curve has not flattened, more faces would help."
            if helps
            else "the curve has flattened, more faces of this kind would hardly help."
        ),
        helps,
    )


def _capacity(diagnosis: Diagnosis) -> Verdict:
    tried = [effect(outcome, diagnosis) for outcome in diagnosis.of("capacity")]
    if not tried:
        return _open(
            "capacity", "No other width was tried: no room in the budget, or no such option."
        )
    narrow = min(tried, key=lambda item: item.outcome.trial.recipe.model.options["width"])
    gap = diagnosis.baseline.gap
    relief = -narrow.gap_change / gap if gap > 0 else 0.0
    loses = narrow.beyond_noise and narrow.difference < 0
    what = (
        f"With {narrow.outcome.trial.label}, validation accuracy changes by "
        f"{_signed(narrow.difference)} ({_interval(narrow.interval)}) and the gap from {points(gap)} "
        f"to {points(narrow.outcome.gap)}: "
    )
    if narrow.blurred is not None:
        return _open("capacity", what + narrow.blurred)
    if relief < _A_PART:
        return Verdict(
            "capacity", what + "a narrower network overfits as much, so size is not why.", False
        )
    if loses:
        return Verdict(
            "capacity",
            what + "a narrower network overfits less, but only because it learns less; "
            "size is not what costs validation accuracy.",
            False,
        )
    return Verdict(
        "capacity",
        what
        + "a narrower network overfits less and loses nothing: there is more capacity than use "
        "for it.",
        True,
    )


def _regularisation(diagnosis: Diagnosis) -> Verdict:
    tried = [effect(outcome, diagnosis) for outcome in diagnosis.of("regularisation")]
    if not tried:
        return _open("regularisation", "No regularisation was tried within the budget.")
    tried.sort(key=lambda item: item.difference, reverse=True)
    gap = diagnosis.baseline.gap
    told = "; ".join(
        f"{item.outcome.trial.label} {_signed(item.difference)} ({_interval(item.interval)}"
        f"{'' if item.beyond_noise else ', within noise'}), gap {points(item.outcome.gap)}"
        for item in tried
    )
    helped = [item for item in tried if item.beyond_noise and item.difference > 0]
    closed = [item for item in tried if gap > 0 and -item.gap_change / gap >= _A_PART]
    blurred = next((item.blurred for item in tried if item.blurred), None)
    rising = [item.outcome.trial.label for item in tried if item.still_rising]
    verdict = f"Validation accuracy and gap (as it is: {points(gap)}) with {told}: "
    if helped:
        verdict += f"{helped[0].outcome.trial.label} helps most, so regularisation was wanting."
    elif blurred is not None:
        return _open("regularisation", verdict + blurred)
    elif closed:
        verdict += "the gap can be closed, but validation accuracy gains nothing by it."
    else:
        verdict += "none of it changes much."
    if rising:
        verdict += f" Still rising when the epochs ended: {_and(rising)}."
    return Verdict("regularisation", verdict, True if helped else None if rising else False)


def _labels(diagnosis: Diagnosis) -> Verdict:
    sentences: list[str] = []
    culprit: bool | None = None
    noise = label_noise(diagnosis)
    if noise is not None:
        culprit = noise.stands_out
        sentences.append(
            f"FER+ annotators reject {percent(noise.share)} of the training labels. The network gives the "
            f"rejected label to {percent(noise.train[0])} of those faces and to {percent(noise.validation[0])} "
            f"of such validation faces: the difference is learnt by heart, and makes up "
            f"{percent(noise.part, 0)} of the gap, {'more than' if culprit else 'no more than'} their number alone "
            f"would make up. Among accepted labels it is right on {percent(noise.train[1])} "
            f"and {percent(noise.validation[1])}."
        )
    else:
        sentences.append(
            "Without FER+ votes (--votes) nothing is known of wrong labels."
            if diagnosis.votes is None
            else f"Fewer than {_FEWEST_REJECTED} labels of a split are rejected by FER+ annotators, or accepted: "
            "too few to tell."
        )
    dealt = diagnosis.of("labels")
    if dealt:
        last = dealt[0].run.history()[-1]["train_accuracy"]
        real = diagnosis.baseline.run.history()[-1]["train_accuracy"]
        commonest = np.bincount(diagnosis.train.labels).max() / len(diagnosis.train)
        sentences.append(
            f"On labels dealt at random it reaches {percent(last)} training accuracy in the same epochs "
            f"({percent(real)} on the real ones, {percent(commonest)} by always naming the commonest): "
            + (
                "it can learn by heart what means nothing."
                if last > commonest + 0.15
                else "in this time it cannot learn by heart what means nothing, so what it learns "
                "from real labels is mostly there to be learnt."
            )
        )
    return Verdict("labels", " ".join(sentences), culprit)


def learning_curve(diagnosis: Diagnosis) -> list[tuple[int, Outcome]]:
    """List (number of training faces, outcome) of the unchanged recipe, in increasing order."""
    outcomes = [diagnosis.baseline, *diagnosis.of("data")]
    curve = [(len(item.trial.faces(diagnosis.train)), item) for item in outcomes]
    return sorted(curve, key=lambda point: point[0])


def _right(outcome: Outcome) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """float64 (N,): 1.0 for each validation face with the right answer, else 0.0."""
    evaluation = outcome.validation
    right: np.ndarray[tuple[int], np.dtype[np.float64]] = (
        evaluation.probabilities["none"].argmax(axis=1) == evaluation.labels
    ).astype(np.float64)
    return right


def _open(factor: str, why: str) -> Verdict:
    return Verdict(factor, why, None)


def _signed(value: float) -> str:
    return f"{100 * value:+.1f} points"


def _interval(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
