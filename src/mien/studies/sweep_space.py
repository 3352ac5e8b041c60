"""The search space of a sweep: recipe fields, named as for `--set`, each with a range or a choice, in a TOML file.

    optimizer.lr = { low = 1e-4, high = 1e-2, log = true }
    model.dropout = { low = 0.2, high = 0.6, step = 0.1 }
    batch_size = { low = 32, high = 256, log = true }
    optimizer.name = { choice = ["adam", "sgd"] }

A range has whole numbers only if its field takes only whole numbers.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pydantic
from annotated_types import Gt, MinLen

from mien.errors import InputError, near_names, one_line, reading_from

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from mien.training import Recipe

#: Fields that a sweep must not change -> the reason.
_FIXED = {
    "name": "it names the recipe",
    "seed": "the luckiest seed is no better recipe; train the best one with --seeds",
    "split": "trials are compared on the same validation faces",
    "select": "all trials are judged by validation accuracy",
    "expressions": "the data say it",
}

Finite = Annotated[float, pydantic.AllowInfNan(False)]
Number = int | Finite
Value = pydantic.StrictBool | pydantic.StrictInt | pydantic.StrictFloat | str | list[Number]


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Range(_Strict):
    """All numbers from `low` to `high`.

    Attributes:
        low: the smallest value.
        high: the largest value, above `low`.
        log: sample evenly on a logarithmic scale; `low` has to be above 0.
        step: only the values low, low + step, ...; not together with `log`.
    """

    low: Number
    high: Number
    log: bool = False
    step: Annotated[Number, Gt(0)] | None = None

    @pydantic.model_validator(mode="after")
    def _check(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) has to be below high ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range begins above 0, not at {self.low:g}")
        if self.log and self.step is not None:
            raise ValueError("a range has log or step, not both")
        return self

    @property
    def examples(self) -> list[str]:
        return [_text(self.low), _text(self.high)]


class Choice(_Strict):
    """One of several values, written as for `--set`: "none" empties a field."""

    choice: Annotated[list[Value], MinLen(1)]

    @property
    def examples(self) -> list[str]:
        return [_text(value) for value in self.choice]


_KEYS = {*Range.model_fields, *Choice.model_fields}


@dataclass(frozen=True)
class Dimension:
    """A field and its values.

    Attributes:
        name: the field, as `--set` names it.
        values: a range or a choice.
        whole: whether the range has whole numbers only.
    """

    name: str
    values: Range | Choice
    whole: bool = False

    def distribution(self) -> BaseDistribution:
        """Convert to a distribution of Optuna."""
        from optuna import distributions

        values = self.values
        if isinstance(values, Choice):
            return distributions.CategoricalDistribution(tuple(values.examples))
        if self.whole:
            step = int(values.step or 1)
            return distributions.IntDistribution(
                int(values.low), int(values.high), log=values.log, step=step
            )
        return distributions.FloatDistribution(
            values.low, values.high, log=values.log, step=values.step
        )


@dataclass(frozen=True)
class Space:
    """The dimensions of a sweep."""

    dimensions: tuple[Dimension, ...]

    def __iter__(self) -> Iterator[Dimension]:
        return iter(self.dimensions)

    def distributions(self) -> dict[str, BaseDistribution]:
        return {dimension.name: dimension.distribution() for dimension in self}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {one.name: one.values.model_dump(exclude_defaults=True) for one in self}


def assignments(settings: Mapping[str, Any]) -> list[str]:
    """Write a point of a space as arguments of `--set`.

    >>> assignments({"optimizer.lr": 0.01, "batch_size": 64})
    ['optimizer.lr=0.01', 'batch_size=64']
    """
    return [f"{name}={_text(value)}" for name, value in settings.items()]


def read_space(path: Path, recipe: Recipe) -> Space:
    """Read a space and check every field and bound against the recipe.

    Raises:
        InputError: the file cannot be read or a field does not fit the recipe; it names the file and the first
            fault.
    """
    where = str(path)
    with reading_from(where):
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f"{where}: not TOML ({one_line(error)}); see `mien sweep --help`"
            ) from error
    found = {name: _values(name, given, where) for name, given in _leaves(content, where)}
    if not found:
        raise InputError(
            f"{where}: names no field; write, for example, batch_size = {{ choice = [32, 64] }}"
        )
    firsts = [f"{name}={values.examples[0]}" for name, values in found.items()]
    lasts = [f"{name}={values.examples[-1]}" for name, values in found.items()]
    for name, values in found.items():
        for text in values.examples:
            _check_value(recipe, f"{name}={text}", [[], firsts, lasts], where)
    return Space(
        tuple(
            Dimension(name, given, _is_whole(recipe, name, given, where))
            for name, given in found.items()
        )
    )


def _leaves(content: Mapping[str, Any], where: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Flatten nested tables: yield (dotted field name, range or choice as written)."""
    for key, value in content.items():
        name = f"{prefix}{key}"
        if not isinstance(value, dict):
            raise InputError(
                f"{where}: {name} = {value!r} is one value; write {{ low = ..., high = ... }} or "
                "{ choice = [...] }, or leave it out and give it with --set"
            )
        if reason := _FIXED.get(name.partition(".")[0]):
            raise InputError(f"{where}: {name} is not to be swept: {reason}")
        if _KEYS & value.keys() or not any(isinstance(inner, dict) for inner in value.values()):
            yield name, value
        else:
            yield from _leaves(value, where, f"{name}.")


def _values(name: str, given: Mapping[str, Any], where: str) -> Range | Choice:
    for key in given:
        if key not in _KEYS:
            raise InputError(f"{where}: {name} has no {key!r} ({near_names(key, _KEYS)})")
    kind = Choice if "choice" in given else Range
    try:
        return kind.model_validate(given)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            said = "write { low = ..., high = ... } or { choice = [...] }"
        elif first["type"] == "extra_forbidden":
            said = f"a choice has no {first['loc'][0]}"
        elif first["loc"]:
            said = f"{first['loc'][0]} = {first['input']!r}: {said}"
        raise InputError(f"{where}: {name}: {said}") from None


def _check_value(recipe: Recipe, assignment: str, beside: list[list[str]], where: str) -> None:
    """Raise InputError if the recipe takes the value neither alone nor together with others of the space."""
    problems = []
    name, _, _ = assignment.partition("=")
    for others in ([one for one in group if one.partition("=")[0] != name] for group in beside):
        try:
            _overridden(recipe, [*others, assignment])
        except InputError as error:
            problems.append(error)
        else:
            return
    raise InputError(f"{where}: {problems[0]}") from None


def _overridden(recipe: Recipe, changes: list[str]) -> Recipe:
    from mien import models, training

    changed = training.override(recipe, changes)
    models.entry(changed.model.name).options(changed.model.options)
    return changed


def _is_whole(recipe: Recipe, name: str, values: Range | Choice, where: str) -> bool:
    """Find out if a field takes whole numbers only, by trying a fraction between the bounds."""
    if isinstance(values, Choice):
        return False
    whole = float(values.low).is_integer() and float(values.high).is_integer()
    fraction = values.low + 0.4142 * (values.high - values.low)
    try:
        _overridden(recipe, [f"{name}={fraction}"])
    except InputError:
        if whole and not float(values.step or 1).is_integer():
            raise InputError(
                f"{where}: {name} takes whole numbers, not steps of {values.step:g}"
            ) from None
        return whole
    return False


def _text(value: Any) -> str:
    """Write a value as for `--set`."""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
