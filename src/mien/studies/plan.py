"""Plan the trials that diagnose a recipe, and estimate how many of them fit a budget."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mien.data.ferplus import LabelledVotes
from mien.data.store import FaceView
from mien.errors import InputError, quantity
from mien.recipe import Augment, Optimizer, Recipe
from mien.studies.trials import SAMPLE, Outcome, Trial, subset

#: Factors in the order of the report.
FACTORS = {
    "data": "Are there too few faces?",
    "capacity": "Is the network too large?",
    "regularisation": "Is it regularised too little?",
    "labels": "Does it learn wrong labels by heart?",
}

#: Base share -> smaller shares of its learning curve. All trials but those of the learning curve train on the
#: base share of the training faces: the largest one with which the whole plan fits the budget.
BASES = {1.0: (0.1, 0.25, 0.5), 0.5: (0.1, 0.25), 0.25: (0.05, 0.1), 0.1: (0.025, 0.05)}

#: A smaller share trains for as many steps as the base share, but for at most this many times its epochs.
MOST_EPOCHS = 4

#: Batches of the short training that measures the speed of this machine.
_PROBE_BATCHES = 20


@dataclass(frozen=True, eq=False)  # a key by identity: recipes hold options, which cannot be hashed
class PlannedTrial:
    """A trial with its place in the plan.

    Attributes:
        rank: order of the trials, lowest first; the most informative trials have the lowest ranks.
        factor: the question that it answers, a key of FACTORS; or "baseline", for the recipe itself.
        trial: the trial.
    """

    rank: int
    factor: str
    trial: Trial

    @property
    def is_extra(self) -> bool:
        """Whether it needs more faces than the base share. Such trials run if the budget has time left."""
        return self.rank >= _EXTRA


_EXTRA = 100


def plan(recipe: Recipe, base: float) -> list[PlannedTrial]:
    """List the trials of a recipe, the most informative first.

    A factor has no trial if the network has no option for it (a width, a dropout after its pools), or if initial
    weights allow no other width.

    Args:
        recipe: the recipe to diagnose.
        base: a key of BASES.

    Raises:
        InputError: unknown network, or options that it does not take.
    """
    from mien import models

    entry = models.entry(recipe.model.name)
    options = entry.options(recipe.model.options)

    def at_base(rank: int, factor: str, label: str, changed: Recipe, **kind: bool) -> PlannedTrial:
        return PlannedTrial(
            rank, factor, Trial(label.replace(" ", "-"), label, changed, base, **kind)
        )

    def with_options(start: Recipe, **changes: float) -> Recipe:
        return replace(start, model=replace(start.model, options=options | changes))

    augmented = replace(recipe, augment=_augmented(recipe.augment))
    decayed = replace(recipe, optimizer=_decayed(recipe.optimizer))
    smoothed = replace(recipe, objective=replace(recipe.objective, label_smoothing=0.1))
    together = replace(augmented, optimizer=decayed.optimizer, objective=smoothed.objective)
    # Votes know the true labels.
    dealt = replace(recipe, targets=replace(recipe.targets, votes=None))
    if recipe.select == "people":
        dealt = replace(dealt, select="accuracy")
    steps = [
        at_base(0, "baseline", "as it is", recipe),
        at_base(1, "regularisation", "augmentation", augmented),
        at_base(3, "labels", "shuffled labels", dealt, shuffled=True),
        at_base(6, "baseline", "another seed", replace(recipe, seed=recipe.seed + 1)),
        at_base(8, "regularisation", "weight decay", decayed),
        at_base(9, "regularisation", "label smoothing", smoothed),
    ]
    if "conv_dropout" in options:
        more = max(0.25, min(0.9, 1.5 * options["conv_dropout"]))
        steps.append(
            at_base(
                7, "regularisation", "dropout after pools", with_options(recipe, conv_dropout=more)
            )
        )
        together = with_options(together, conv_dropout=more)
    steps.append(at_base(4, "regularisation", "all of these together", together))
    if "width" in options and recipe.init is None:
        for rank, factor in ((2, 0.25), (11, 0.5)):
            narrow = with_options(recipe, width=factor * options["width"])
            steps.append(at_base(rank, "capacity", f"width x {factor:g}", narrow))
    return sorted([*steps, *_on_shares(recipe, base)], key=lambda step: step.rank)


def _on_shares(recipe: Recipe, base: float) -> Iterator[PlannedTrial]:
    """The trials of the learning curve: on other shares of the faces."""

    def on_share(rank: int, share: float, epochs: int) -> PlannedTrial:
        label = f"{100 * share:g} % of the faces"
        trial = Trial(f"data-{100 * share:g}", label, replace(recipe, epochs=epochs), share)
        return PlannedTrial(rank, "data", trial)

    for place, share in enumerate(BASES[base]):
        epochs = round(recipe.epochs * min(MOST_EPOCHS, base / share))
        yield on_share(10 if place else 5, share, epochs)
    for share in BASES:
        if share > base:
            yield on_share(_EXTRA + round(100 * share), share, recipe.epochs)


def _augmented(have: Augment) -> Augment:
    """Strengthen flip, rotation, zoom and shift: none becomes weaker than in the recipe."""
    low, high = have.scale
    return replace(
        have,
        flip=0.5,
        rotation=min(180.0, max(10.0, 1.5 * have.rotation)),
        scale=(min(0.9, low), max(1.1, high)),
        shift=max(0.08, have.shift),
    )


def _decayed(have: Optimizer) -> Optimizer:
    """Set system D's last weight decay, or twice the recipe's own if that is more."""
    return replace(have, weight_decay=max(8e-4, 2 * have.weight_decay))


@dataclass
class Pace:
    """The speed of this machine, to estimate the duration of trials.

    Attributes:
        seconds_per_unit: seconds of training per face and million multiply-adds of its forward pass.
    """

    seconds_per_unit: float

    @classmethod
    def probe(cls, recipe: Recipe, train: FaceView, validation: FaceView, device: str) -> Pace:
        """Measure the speed with a short training in a temporary folder.

        Args:
            recipe: the recipe to time.
            train: the training faces; at most 20 batches are used.
            validation: the validation faces; about 70 are used.
            device: `auto`, `cpu`, `cuda`, `cuda:N`, `mps`.

        Raises:
            InputError: the recipe cannot be trained on this device.
            StoppedError: SIGINT or SIGTERM.
        """
        from mien import training

        count = min(len(train), _PROBE_BATCHES * recipe.batch_size)
        few = subset(train, count / len(train)) if count < len(train) else train
        with tempfile.TemporaryDirectory() as folder:
            run = training.train(
                replace(recipe, epochs=1),
                few,
                subset(validation, min(1.0, 70 / len(validation))),
                Path(folder) / "probe",
                device=device,
            )
            rate = run.history()[0]["images_per_second"]
        return cls(1 / rate / _multiply_adds(recipe))

    def seconds(self, trial: Trial, train: FaceView, validation: FaceView) -> float:
        """Estimate the seconds of a trial: training, validation after each epoch, and scoring at the end.

        A forward pass is taken as a third of a training step.
        """
        faces = trial.share * len(train)
        passes = trial.recipe.epochs * (faces + len(validation) / 3)
        passes += (min(faces, SAMPLE) + len(validation)) / 3
        return passes * _multiply_adds(trial.recipe) * self.seconds_per_unit

    def learn(self, trial: Trial, train: FaceView, validation: FaceView, seconds: float) -> None:
        """Correct the speed by the measured seconds of a trial with the recipe's own network."""
        predicted = self.seconds(trial, train, validation)
        self.seconds_per_unit *= seconds / predicted


def _multiply_adds(recipe: Recipe) -> float:
    """Millions of multiply-adds of one face's forward pass."""
    from mien import models

    spec, options = recipe.input, recipe.model.options
    return (
        models.cost(recipe.model.name, spec, len(recipe.expressions), options).multiply_adds / 1e6
    )


def choose_base(
    recipe: Recipe, budget: float, pace: Pace, train: FaceView, validation: FaceView
) -> float:
    """Choose the largest base share with which the plan, without its extra trials, fits the budget.

    If no share fits, the smallest is taken, provided that its first three trials fit.

    Args:
        recipe: the recipe to diagnose.
        budget: seconds.
        pace: the speed of this machine.
        train: all training faces.
        validation: all validation faces.

    Returns:
        A key of BASES.

    Raises:
        InputError: the first three trials of the smallest share do not fit.
    """

    def needed(steps: list[PlannedTrial]) -> float:
        return sum(pace.seconds(step.trial, train, validation) for step in steps)

    for base in BASES:
        if needed([step for step in plan(recipe, base) if not step.is_extra]) <= budget:
            return base
    smallest = min(BASES)
    least = needed(plan(recipe, smallest)[:3])
    if least > budget:
        raise InputError(
            f"--budget {budget / 60:g}: the three trials that tell most, on {smallest:.0%} of the "
            f"faces, take about {quantity(math.ceil(least / 60), 'minute')} here; give at least that, or fewer "
            "epochs with --set epochs=N"
        )
    return smallest


@dataclass(frozen=True)
class Diagnosis:
    """The outcomes of the trials of one recipe.

    Attributes:
        recipe: the recipe in question.
        base: share of the training faces, 0..1, for all trials but those of the learning curve.
        train, validation: all faces of the recipe's split.
        outcomes: step -> outcome, in the order of the plan.
        left_out: step -> its estimated seconds.
        votes: votes of the FER+ annotators on the store's faces, or None.
        budget: allowed seconds of the last call.
        out: folder of trials and report.
    """

    recipe: Recipe
    base: float
    train: FaceView
    validation: FaceView
    outcomes: dict[PlannedTrial, Outcome]
    left_out: dict[PlannedTrial, float]
    votes: LabelledVotes | None
    budget: float
    out: Path

    @property
    def baseline(self) -> Outcome:
        """The outcome of the unchanged recipe on the base share."""
        return next(iter(self.outcomes.values()))

    def of(self, factor: str) -> list[Outcome]:
        """List the outcomes of one factor: a key of FACTORS, or "baseline"."""
        return [outcome for step, outcome in self.outcomes.items() if step.factor == factor]
