"""The registry of networks. Each file holds one family; importing it registers its networks."""

from __future__ import annotations

import inspect
import typing
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pydantic
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mien.errors import InputError, near_names
from mien.input_spec import InputSpec
from mien.registry import Registry

#: Builds a network from its input's (channels, height, width), the number of classes, and options by keyword.
Builder = Callable[..., nn.Module]


@dataclass(frozen=True)
class ModelEntry:
    """A registered network.

    Attributes:
        name: its name in recipes.
        build: its builder.
        input: the input that it was designed for.
    """

    name: str
    build: Builder
    input: InputSpec

    @property
    def summary(self) -> str:
        """The first line of the builder's docstring."""
        return (inspect.getdoc(self.build) or "").partition("\n")[0]

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Complete the options of the builder: defaults, replaced by the given values.

        Raises:
            InputError: a given option is unknown, or its value has a wrong type or range (by the
                builder's signature).
        """
        # After shape, classes.
        parameters = list(inspect.signature(self.build).parameters.values())[2:]
        hints = typing.get_type_hints(self.build, include_extras=True)
        known = {parameter.name: hints[parameter.name] for parameter in parameters}
        checked: dict[str, Any] = {parameter.name: parameter.default for parameter in parameters}
        for name, value in given.items():
            if name not in known:
                hint = near_names(name, known) if known else "it has none"
                raise InputError(f"model {self.name} has no option {name!r} ({hint})")
            try:
                checked[name] = pydantic.TypeAdapter(known[name]).validate_python(value)
            except pydantic.ValidationError as error:
                raise InputError(
                    f"model option {name}={value!r}: {error.errors()[0]['msg']}"
                ) from None
        return checked


_MODELS = Registry[ModelEntry]("model")


def register(name: str, spec: InputSpec | None = None) -> Callable[[Builder], Builder]:
    """Decorate a builder to register its network.

    Args:
        name: the network's name in recipes.
        spec: the input that it was designed for; default: `InputSpec()`.

    The builder's signature is `build(shape_CHW, classes, *, option=default, ...) -> nn.Module`. Options
    need type annotations: values from recipes are checked by them.
    """

    def add(build: Builder) -> Builder:
        _MODELS.add(name, ModelEntry(name, build, spec or InputSpec()))
        return build

    return add


def names() -> list[str]:
    """All registered names, sorted."""
    return sorted(_MODELS)


def entry(name: str) -> ModelEntry:
    """The entry of a name.

    Raises:
        InputError: there is no such network; the message proposes similar names.
    """
    return _MODELS[name]


def create(
    name: str, spec: InputSpec, classes: int, options: Mapping[str, Any] | None = None
) -> nn.Module:
    """Build a network with random weights.

    Args:
        name: a registered name.
        spec: the input; the network takes normalised faces, float32 (B, *spec.shape).
        classes: the number of logits; the network returns float32 (B, classes).
        options: the network's own options; the others keep their defaults.

    Raises:
        InputError: the name or an option is unknown or wrong, or the network does not fit the input.
    """
    model = entry(name)
    checked = model.options(options or {})
    try:
        with warnings.catch_warnings():
            # torch only warns of a layer without weights; such a network is useless, so this is an error.
            warnings.filterwarnings("error", message="Initializing zero-element")
            return model.build(spec.shape, classes, **checked)
    except (RuntimeError, ValueError, UserWarning) as error:
        raise InputError(
            f"model {name} cannot be built for an input of {spec.shape} ({error}); "
            f"the network was made for {model.input.shape}"
        ) from error


@dataclass(frozen=True)
class Cost:
    """The cost of a network.

    Attributes:
        parameters: number of trained parameters.
        multiply_adds: multiply-adds of the forward pass of one face.
    """

    parameters: int
    multiply_adds: int


def cost(
    name: str,
    spec: InputSpec | None = None,
    classes: int = 7,
    options: Mapping[str, Any] | None = None,
) -> Cost:
    """Count the parameters and multiply-adds of a network without running it.

    Only convolutions and linear layers are counted, on torch's meta device.

    Args:
        name, classes, options: see `create`.
        spec: the input; default: the network's own.

    Raises:
        InputError: see `create`.

    >>> cost("four-block-cnn").parameters
    980679
    """
    spec = spec or entry(name).input
    with torch.device("meta"):
        network = create(name, spec, classes, options).eval()
        faces = torch.empty(1, *spec.shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(faces)
    return Cost(
        parameters=sum(p.numel() for p in network.parameters()),
        multiply_adds=counter.get_total_flops() // 2,  # torch counts a multiply-add as two
    )
