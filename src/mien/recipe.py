"""A recipe: all settings that determine the result of a training, in one frozen dataclass.

In code, recipes are plain dataclasses; values from outside (`--set`, recipe.json) are checked here by
name, type and range.
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


#: Share of Training that becomes the validation split if a source has none.
CARVED_SHARE = 0.1


@dataclass(frozen=True)
class SplitRule:
    """The split of faces into training and validation.

    holdout: None is the official split, Training / PublicTest / PrivateTest; a source without a validation
        split gets a stratified `CARVED_SHARE` of Training, never of test. A share such as 0.2 takes that
        part of Training for validation, stratified by label; the source's own validation faces are not used.
    seed: of the random choice of these faces.
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
    """Random changes of training faces, drawn for each face and epoch.

    flip: probability of a horizontal mirror image.
    rotation: degrees, uniform in ±rotation, about the centre.
    scale: zoom factor, uniform between the two values.
    shift: share of the side, uniform in ±shift, for each axis.
    border: the fill of areas that rotation, scale and shift uncover. `black`; or `varied`: for each face one of
        black, a random gray, the repeated edge and the mirror image, as hair and background do in photos.
    light: contrast and brightness, each by a factor uniform in 1 ± light.
    blur: Gaussian blur with a standard deviation uniform in 0..blur pixels.
    noise: Gaussian noise with a standard deviation uniform in 0..noise, as a share of the range of gray levels.
    spare: share of faces that are left unchanged by contrast, brightness, blur and noise, drawn for each of the
        four separately, so that training also sees original faces.
    erase: probability that a rectangle of 2 to 20 % of the face is filled with one random gray
        (Random Erasing, Zhong et al. 2017, which fills it with noise).

    >>> Augment(flip=0.5, rotation=10).shift
    0.0
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
    """Mixing of faces in pairs within a batch, together with their targets.

    name: `mixup` blends all pixels (Zhang et al. 2018); `cutmix` pastes a rectangle of the other face
        (Yun et al. 2019).
    probability: probability that a batch is mixed.
    alpha: the share of the first face is drawn from Beta(alpha, alpha).
    """

    name: Literal["mixup", "cutmix"] = "mixup"
    probability: Share = 0.0
    alpha: Positive = 1.0


@dataclass(frozen=True)
class Targets:
    """The target probabilities of training faces: the label, mixed with a teacher and with votes.

    teacher: a folder that `mien teach` wrote: an ensemble's answers for the same views of faces that the
        student sees ("consistent teaching", Beyer et al. 2022); or None.
    teacher_share: the teacher's share of the target; the label has the rest.
    votes: FER+'s fer2013new.csv, votes of ten annotators on the training faces; or None.
    votes_share: the votes' share of the label's part, for faces with clear votes.
    """

    teacher: str | None = None
    teacher_share: Share = 0.8
    votes: str | None = None
    votes_share: Share = 0.5


@dataclass(frozen=True)
class Objective:
    """The training loss.

    name: mean cross-entropy in nats.
    logit_adjustment: tau of `logits + tau * ln(share of each expression among the targets)`, used in training only:
        the network then learns how well a face fits an expression, independently of the expression's frequency
        (Menon et al. 2021). 0 is off, 1 minimises the balanced error.
    label_smoothing: share of the target that is spread evenly over all expressions.
    class_weights: `balanced` weights a class by N / (K x the count of its labels), even if votes or a teacher are the
        targets.
    """

    name: Literal["cross-entropy"] = "cross-entropy"
    logit_adjustment: Annotated[float, Ge(0), Le(3)] = 0.0
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    class_weights: Literal["none", "balanced"] = "none"

    @property
    def lifts_rare(self) -> bool:
        """Whether training raises the probabilities of rare expressions above their frequency."""
        return self.class_weights == "balanced" or self.logit_adjustment > 0


@dataclass(frozen=True)
class Optimizer:
    """The optimizer.

    lr: the learning rate; the schedule changes it.
    momentum: for SGD and Muon; Muon's is always Nesterov's.
    nesterov: for SGD.
    betas: for Adam and AdamW; also for the parameters that Muon leaves to AdamW: biases and normalisation.
    backbone_lr: factor on the learning rate of all layers but the last one.
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
    """The schedule of the learning rate, by its name.

    constant: no change.
    plateau: x `factor` when the validation figure `monitor` has not improved for more than `patience` epochs.
    cosine: from `lr` to `lr * final` along half a cosine, step by step.
    one-cycle: up to `lr` over the first `warmup` share of all steps, then down to `lr * final`, both along
        cosines (Smith & Topin 2017, but momentum is not cycled).
    """

    name: Literal["constant", "plateau", "cosine", "one-cycle"] = "constant"
    monitor: Literal["loss", "accuracy"] = "loss"
    factor: Annotated[float, Gt(0), Lt(1)] = 0.5
    patience: Annotated[int, Ge(0)] = 2
    warmup: Annotated[float, Gt(0), Lt(1)] = 0.3
    final: Annotated[float, Gt(0), Le(1)] = 1e-3


@dataclass(frozen=True)
class Recipe:
    """All settings of one training.

    name: the recipe's name.
    model: the network and its options.
    init: source of the initial weights: `hub` (the backbone's pretrained weights that timm publishes),
        `package` (the same from an installed package), the path of a run or of a weights file; None for random
        weights. A last layer that does not fit stays random.
    init_share: share of the initial weights in the weights that are validated and kept, averaged with the trained
        ones (Wortsman et al. 2022, Robust fine-tuning of zero-shot models). Training itself does not change.
    freeze_epochs: number of first epochs in which only the last layer is trained, and BatchNorm keeps its statistics.
    input: the network's input.
    expressions: the label set.
    split, augment, mixing, targets, objective, optimizer, schedule: see these classes.
    epochs, batch_size: number of epochs; faces in a batch.
    clip_norm: the largest gradient norm, or None.
    ema: decay of a moving average of the weights, which is then validated and kept; or None.
    precise_norm: number of training faces, not augmented, from which the BatchNorm statistics of the validated and
        kept weights are computed (Wu & Johnson 2021); None keeps the moving averages. Training itself does not change.
    progressive_size: height in pixels of the faces in the first epoch; over the first half of all epochs it grows to
        the input's (progressive resizing, Howard 2018), which makes early epochs cheaper. None is the input's height
        from the start. For networks that take faces of any size.
    validate_every: epochs between two validations; the last epoch is always validated, and only weights of a validated
        epoch are kept. Has to be 1 with `early_stopping` and the schedule `plateau`, which need each epoch's figures.
    early_stopping: epochs without improvement of `select` after which training ends; or None.
    select: the validation figure that selects the best epoch; `last` takes the last epoch without regard to figures.
        `people` takes, among the last fifth of the epochs, the one with the best score by FER+'s majority votes
        (`targets.votes`): the mean of accuracy and balanced accuracy.
    precision: `auto` is bfloat16 autocast if the hardware has native bfloat16, float16 on CUDA devices that only have
        that (compute capability 7: T4, V100), else float32; on a CPU also float32 for networks of depthwise
        convolutions. In float16, which CPUs do not support, gradients are scaled so that small ones are not lost.
    seed: of initial weights, order, augmentation and dropout. The split has its own seed.

    >>> recipe = Recipe("mine", ModelSpec("basic-cnn"), epochs=3)
    >>> override(recipe, ["optimizer.lr=3e-4"]).optimizer.lr
    0.0003
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
    """A recipe as plain values, for recipe.json."""
    return dataclasses.asdict(recipe)


def from_dict(content: Mapping[str, Any], where: str) -> Recipe:
    """Make a recipe from plain values, and check every field.

    Args:
        content: fields by name; those that are missing get their defaults.
        where: the source, for messages.

    Raises:
        InputError: a field is unknown or has a wrong value, or two fields contradict each other.
    """
    _refuse_unknown(Recipe, content, where)
    try:
        return _check_together(_RECIPE.validate_python(dict(content)), where)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        # Parts with a capital letter are names of classes that pydantic adds: users know the fields only.
        place = ".".join(str(part) for part in first["loc"] if not str(part)[:1].isupper())
        raise InputError(
            f"{where}: {place}={first['input']!r} is not allowed: {first['msg']}"
        ) from None


def read_recipe(path: Path) -> Recipe:
    """Read the recipe in a JSON file: a run's recipe.json or a sweep's best.json.

    Raises:
        InputError: the file cannot be read, or is not a valid recipe.
    """
    content = read_json(path, "give a recipe.json")
    missing = {"name", "model"} - content.keys()
    if missing:
        raise InputError(f"{path}: not a recipe of mien (it lacks {', '.join(sorted(missing))})")
    return from_dict(content, str(path))


def listed(given: str | Sequence[str]) -> list[str]:
    """Texts as a list; a text alone is one of them: as a sequence it would be its letters.

    >>> listed("epochs=3"), listed(("epochs=3", "ema=none"))
    (['epochs=3'], ['epochs=3', 'ema=none'])
    """
    return [given] if isinstance(given, str) else list(given)


def refuse_seed(assignments: str | Sequence[str]) -> None:
    """Refuse a change of the seed where seeds are given as such: it would have no effect.

    Raises:
        InputError: one of the assignments is of `seed`.
    """
    for assignment in listed(assignments):
        if assignment.partition("=")[0].strip() == "seed":
            raise InputError(
                f"--set {assignment}: here the seeds are given by --seeds; leave one of them out"
            )


def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """Change fields of a recipe, as `--set` does: `["epochs=3", "optimizer.lr=3e-4"]`.

    `none` sets an optional field to None, unless it is one of the field's own values; values of tuples are
    separated by commas.

    Raises:
        InputError: a field is unknown, has a wrong value or gets two different ones, or two fields contradict
            each other.
    """
    content = to_dict(recipe)
    given: dict[tuple[int, str], str] = {}  # (id of the group, field) -> value
    for assignment in (assignments := listed(assignments)):
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
            place = place["options"]  # the network's builder checks the names of its options
        if isinstance(place.get(leaf), dict):
            inner = ", ".join(f"{path}.{name}" for name in place[leaf])
            raise InputError(f"--set {assignment}: {path} is a group; set one of {inner or path}")
        value = value.strip()
        if (first := given.setdefault((id(place), leaf), value)) != value:
            raise InputError(
                f"{path.strip()} is given twice, as {first} and as {value} (by --set, or by its own option); "
                "give it once"
            )
        place[leaf] = _parsed(value, place.get(leaf), allowed)
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
    """Check constraints between fields, beyond the types of single ones."""
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
        problem = "early_stopping needs a best epoch, which select=last does not have"
    elif recipe.select == "people" and recipe.early_stopping is not None:
        problem = "early_stopping needs a best epoch, which select=people chooses only at the end"
    elif recipe.validate_every > 1 and (
        recipe.early_stopping is not None or recipe.schedule.name == "plateau"
    ):
        problem = "early_stopping and schedule.name=plateau need every epoch's figures: set validate_every=1"
    elif recipe.progressive_size is not None and recipe.progressive_size >= recipe.input.height:
        problem = (
            f"progressive_size={recipe.progressive_size}: faces grow from it to input.height="
            f"{recipe.input.height}, so it has to be smaller"
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
