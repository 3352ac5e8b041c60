"""A recipe: everything that decides what a training produces, in one frozen dataclass.

Recipes are written as plain dataclasses; what comes from outside (`--set`, recipe.json) is checked
here by name, type and range.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import pydantic
from annotated_types import Ge, Gt, Le, Lt

from mien.errors import InputError, near_names
from mien.expressions import SEVEN, Expressions
from mien.files import read_json
from mien.input_spec import InputSpec

Finite = pydantic.AllowInfNan(False)
Share = Annotated[float, Ge(0), Le(1)]
Positive = Annotated[float, Gt(0), Finite]
Count = Annotated[int, Gt(0)]


#: Share of Training that selects where a source has no validation split of its own.
CARVED_SHARE = 0.1


@dataclass(frozen=True)
class SplitRule:
    """How training and validation faces are told apart.

    `holdout=None` is the official split: Training / PublicTest / PrivateTest; a source without a
    validation split gets a stratified `CARVED_SHARE` of Training, never of test.
    `holdout=0.2` sets that share of Training aside, stratified by label and drawn by `seed`; the
    source's own validation faces then take no part.
    """

    holdout: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class ModelSpec:
    """A registered network and its options (`--set model.dropout=0.3`)."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Augment:
    """Random changes of training faces, each face its own, drawn anew in every epoch.

    flip: probability of a mirror image.
    rotation: degrees, uniform in ±rotation, about the centre, black beyond the border.
    scale: zoom factor, uniform between the two.
    shift: share of the side, uniform in ±shift, each axis.
    border: what rotation, scale and shift uncover. `black`, or `varied`: of each face its own, one of black, one
        gray, the edge drawn out and the mirror image, since around a face in a photo there is hair and background.
    light: contrast and brightness, each by a factor uniform in 1 ± light.
    blur: by a Gaussian of a standard deviation uniform in 0..blur pixels.
    noise: Gaussian, of a standard deviation uniform in 0..noise of the range from black to white.
    spare: share of faces that contrast, brightness, blur and noise leave alone, each of the four by itself, so
        that faces as they are stay in sight.
    erase: probability that a rectangle of 2 to 20 % of the face is replaced by one random gray
        (Zhong et al. 2017, Random Erasing, who fill it with noise).
    """

    flip: Share = 0.0
    rotation: Annotated[float, Ge(0), Le(180)] = 0.0
    scale: tuple[Positive, Positive] = (1.0, 1.0)
    shift: Annotated[float, Ge(0), Lt(1)] = 0.0
    border: Literal["black", "varied"] = "black"
    light: Annotated[float, Ge(0), Lt(1)] = 0.0
    blur: Annotated[float, Ge(0), Le(20)] = 0.0
    noise: Annotated[float, Ge(0), Le(1)] = 0.0
    spare: Annotated[float, Ge(0), Lt(1)] = 0.0
    erase: Share = 0.0


@dataclass(frozen=True)
class Mixing:
    """Faces blended in pairs within a batch, and their targets with them.

    name: `mixup`, pixel by pixel (Zhang et al. 2018), or `cutmix`, a rectangle of the other
        (Yun et al. 2019).
    probability: of a batch to be mixed.
    alpha: the share of the first face follows Beta(alpha, alpha).
    """

    name: Literal["mixup", "cutmix"] = "mixup"
    probability: Share = 0.0
    alpha: Positive = 1.0


@dataclass(frozen=True)
class Targets:
    """What the network should say of a training face: its label, blended with what others say.

    teacher: a folder that `mien teach` wrote: what an ensemble says of the very views that the
        student sees (Beyer et al. 2022, "consistent" teaching); or None.
    teacher_share: its share of the target, the rest is the label's.
    votes: FER+'s fer2013new.csv, more annotation of the training faces; or None.
    votes_share: their share of what is left to the label, for faces on which the votes are clear.
    """

    teacher: str | None = None
    teacher_share: Share = 0.8
    votes: str | None = None
    votes_share: Share = 0.5


@dataclass(frozen=True)
class Objective:
    """The training loss. `class_weights=balanced` weighs a class by N / (K x its count).

    logit_adjustment: tau of `logits + tau * ln(share of each expression among the targets)`, in training alone: the
        network then says how well a face fits an expression, however rare that is (Menon et al. 2021).
        0 is off, 1 the balanced error's.
    """

    name: str = "cross-entropy"
    logit_adjustment: Annotated[float, Ge(0), Le(3)] = 0.0
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    class_weights: Literal["none", "balanced"] = "none"

    @property
    def lifts_rare(self) -> bool:
        """Whether the network answers as if rare expressions were more frequent than they are."""
        return self.class_weights == "balanced" or self.logit_adjustment > 0


@dataclass(frozen=True)
class Optimizer:
    """`momentum` is SGD's and Muon's (which is always Nesterov's), `nesterov` SGD's; `betas` are Adam's,
    AdamW's and of what Muon leaves to AdamW: biases and normalisation.

    backbone_lr: factor on the learning rate of all but the network's last layer, in every step.
    """

    name: Literal["adam", "adamw", "muon", "sgd"] = "adam"
    lr: Positive = 1e-3
    weight_decay: Annotated[float, Ge(0), Finite] = 0.0
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    nesterov: bool = False
    betas: tuple[Annotated[float, Ge(0), Lt(1)], Annotated[float, Ge(0), Lt(1)]] = (0.9, 0.999)
    backbone_lr: Positive = 1.0


@dataclass(frozen=True)
class Schedule:
    """How the learning rate moves.

    constant: not at all.
    plateau: x `factor` when validation `monitor` has not improved for more than `patience` epochs.
    cosine: from `lr` to `lr * final` along half a cosine, step by step.
    one-cycle: up to `lr` over the first `warmup` share of all steps, then down to `lr * final`
        (Smith & Topin 2017; cosine legs, momentum not cycled).
    """

    name: Literal["constant", "plateau", "cosine", "one-cycle"] = "constant"
    monitor: Literal["loss", "accuracy"] = "loss"
    factor: Annotated[float, Gt(0), Lt(1)] = 0.5
    patience: Annotated[int, Ge(0)] = 2
    warmup: Annotated[float, Gt(0), Lt(1)] = 0.3
    final: Annotated[float, Gt(0), Le(1)] = 1e-3


@dataclass(frozen=True)
class Recipe:
    """One training, fully said.

    init: where the initial weights come from: `hub` (the backbone's, pretrained, as timm publishes
        them), `package` (the same from an installed package), the path of a run or of a weights
        file; or None, for random ones. A last layer that does not fit stays random.
    init_share: share of the initial weights in what is validated and kept; the rest is what was learnt since
        (Wortsman et al. 2022, Robust fine-tuning of zero-shot models). Training itself is the same.
    freeze_epochs: for so many epochs at the beginning only the last layer is trained, and BatchNorm
        keeps its statistics.
    clip_norm: the largest gradient norm, or None.
    ema: decay of the moving average of weights, which is then what is validated and kept; or None.
    precise_norm: of so many training faces, not augmented, the BatchNorm statistics of what is validated
        and kept are computed (Wu & Johnson 2021); None keeps the moving ones. Training itself is the same.
    progressive_size: height in pixels of the faces in the first epoch; over the first half of all epochs they grow to
        the input's (progressive resizing, Howard 2018), so that early steps cost less. None is the input's from
        the start. For networks that take faces of any size.
    validate_every: epochs from one validation to the next; the last epoch is always validated, and only a validated
        one can be kept. It has to be 1 with `early_stopping` and with the schedule `plateau`, which wait for each.
    early_stopping: epochs without improvement of `select` after which training ends; or None.
    select: the validation figure that picks the best checkpoint; `last` takes the last epoch, whatever its figures.
        `people` takes, of the last fifth of the epochs, the one with the best score by FER+'s majorities
        (`targets.votes`): the mean of accuracy and balanced accuracy.
    precision: `auto` is bfloat16 autocast where the hardware multiplies it itself, float16 on CUDA devices that know
        that alone (compute capability 7: T4, V100), else float32; on a CPU float32 too for networks of depthwise
        convolutions. In float16, which a CPU does not take, the gradients are scaled so that small ones count.
    seed: decides initial weights, order, augmentation and dropout. The split has a seed of its own.
    """

    name: str
    model: ModelSpec
    init: str | None = None
    init_share: Annotated[float, Ge(0), Lt(1)] = 0.0
    freeze_epochs: Annotated[int, Ge(0)] = 0
    input: InputSpec = InputSpec()
    expressions: Expressions = SEVEN
    split: SplitRule = SplitRule()
    augment: Augment = Augment()
    mixing: Mixing = Mixing()
    targets: Targets = Targets()
    objective: Objective = Objective()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    epochs: Count = 50
    batch_size: Count = 64
    clip_norm: Positive | None = None
    ema: Annotated[float, Gt(0), Lt(1)] | None = None
    precise_norm: Annotated[int, Ge(2)] | None = None
    progressive_size: Annotated[int, Ge(4)] | None = None
    validate_every: Count = 1
    early_stopping: Count | None = None
    select: Literal["accuracy", "loss", "last", "people"] = "accuracy"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    seed: Annotated[int, Ge(0)] = 0


_RECIPE = pydantic.TypeAdapter(Recipe)


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """Plain values for recipe.json."""
    return dataclasses.asdict(recipe)


def from_dict(content: Mapping[str, Any], where: str) -> Recipe:
    """A recipe from plain values, every field checked; `where` names the source in messages."""
    _refuse_unknown(Recipe, content, where)
    try:
        return _check_together(_RECIPE.validate_python(dict(content)), where)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if not str(part)[:1].isupper())
        raise InputError(
            f"{where}: {place}={first['input']!r} is not allowed: {first['msg']}"
        ) from None


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file: a run's recipe.json, a sweep's best.json."""
    content = read_json(path, "give a recipe.json")
    missing = {"name", "model"} - content.keys()
    if missing:
        raise InputError(f"{path}: not a recipe of mien (it lacks {', '.join(sorted(missing))})")
    return from_dict(content, str(path))


def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """`["epochs=3", "optimizer.lr=3e-4"]` applied to a recipe, checked by name, type and range.

    `none` empties an optional field, unless it is one of the field's own values; values of tuples are separated
    by commas.
    """
    content = to_dict(recipe)
    for assignment in assignments:
        if assignment.strip().startswith("expressions="):
            raise InputError(f"--set {assignment}: give the label set of the data with --labels")
        path, equals, value = assignment.partition("=")
        if not equals:
            raise InputError(f"--set {assignment}: write it as FIELD=VALUE, e.g. epochs=3")
        *parents, leaf = path.strip().split(".")
        place: dict[str, Any] = content
        fields = get_type_hints(Recipe)
        for depth, parent in enumerate(parents):
            if not isinstance(place.get(parent), dict):
                raise _unknown_field(".".join(parents[: depth + 1]), place, f"--set {assignment}")
            place = place[parent]
            group = fields[parent]
            fields = get_type_hints(group) if dataclasses.is_dataclass(group) else {}
        allowed = get_args(fields.get(leaf))
        if leaf not in place:
            if parents != ["model"]:
                raise _unknown_field(leaf, place, f"--set {assignment}")
            place = place["options"]  # whether the network has such an option, its builder says
        if isinstance(place.get(leaf), dict):
            inner = ", ".join(f"{path}.{name}" for name in place[leaf])
            raise InputError(f"--set {assignment}: {path} is a group; set one of {inner or path}")
        place[leaf] = _parsed(value.strip(), place.get(leaf), allowed)
    return from_dict(content, f"--set {' '.join(assignments)}" if assignments else recipe.name)


def _parsed(text: str, current: object, allowed: tuple[object, ...]) -> object:
    if text.lower() in ("none", "null") and text not in allowed:
        return None
    if isinstance(current, tuple | list):
        return [part.strip() for part in text.split(",")]
    return text


def _unknown_field(name: str, place: Mapping[str, Any], where: str) -> InputError:
    return InputError(f"{where}: a recipe has no field {name!r} here ({near_names(name, place)})")


def _refuse_unknown(kind: type, content: Mapping[str, Any], where: str) -> None:
    hints = get_type_hints(kind)
    for name, value in content.items():
        if name not in hints:
            raise _unknown_field(name, hints, where)
        if dataclasses.is_dataclass(hints[name]) and isinstance(value, Mapping):
            _refuse_unknown(hints[name], value, where)


def _check_together(recipe: Recipe, where: str) -> Recipe:
    """What the type of a single field cannot say."""
    problem, holdout = recipe.input.fault(), recipe.split.holdout
    if recipe.split.seed < 0:
        problem = f"split.seed={recipe.split.seed}: 0 or more"
    elif holdout is not None and not 0 < holdout < 1:
        problem = f"split.holdout={holdout}: a share between 0 and 1, or none"
    elif recipe.freeze_epochs and recipe.init is None:
        problem = f"freeze_epochs={recipe.freeze_epochs} would freeze random weights: give an init (--init RUN)"
    elif recipe.init_share and recipe.init is None:
        problem = f"init_share={recipe.init_share:g} would be of random weights: give an init (--init RUN)"
    elif recipe.select == "last" and recipe.early_stopping is not None:
        problem = "early_stopping waits for a best epoch, which select=last does not know"
    elif recipe.select == "people" and recipe.early_stopping is not None:
        problem = (
            "early_stopping waits for a best epoch, which select=people looks for at the end alone"
        )
    elif recipe.validate_every > 1 and (
        recipe.early_stopping is not None or recipe.schedule.name == "plateau"
    ):
        problem = (
            "early_stopping and schedule.name=plateau look at every epoch: set validate_every=1"
        )
    elif recipe.progressive_size is not None and recipe.progressive_size >= recipe.input.height:
        problem = (
            f"progressive_size={recipe.progressive_size}: faces grow from it to input.height="
            f"{recipe.input.height}, so it is smaller"
        )
    elif recipe.augment.scale[0] > recipe.augment.scale[1]:
        problem = f"augment.scale={recipe.augment.scale}: the smaller factor comes first"
    elif recipe.optimizer.nesterov and not (
        recipe.optimizer.name == "sgd" and recipe.optimizer.momentum > 0
    ):
        problem = "optimizer.nesterov needs optimizer.name=sgd and optimizer.momentum above 0"
    if problem:
        raise InputError(f"{where}: {problem}")
    return recipe
