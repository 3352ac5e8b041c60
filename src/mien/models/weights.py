"""Weights of networks: find the head, read files without running code, and fit weights to a network.

Tensors are identified by their names in a network's state dict.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from mien.errors import InputError
from mien.expressions import Expressions

#: Keys under which a training checkpoint may hold the state dict.
_NESTS = ("state_dict", "model_state_dict", "model", "network")
#: Prefixes that DataParallel and torch.compile add to every name.
_PREFIXES = ("module.", "_orig_mod.")


def head_names(network: nn.Module) -> frozenset[str]:
    """The names of the head's tensors: the last layer, from features to logits. The rest is the backbone.

    timm's networks tell their head; for others it is the last linear layer.

    Raises:
        InputError: the network has no linear layer.
    """
    get_classifier = getattr(network, "get_classifier", None)
    if get_classifier is not None:
        said = get_classifier()
        heads = said if isinstance(said, tuple) else (said,)  # a distilled network has two
    else:
        heads = tuple(m for m in network.modules() if isinstance(m, nn.Linear))[-1:]
    layers = [name for name, module in network.named_modules() if any(module is h for h in heads)]
    names = frozenset(
        name for name in network.state_dict() if any(name.startswith(f"{la}.") for la in layers)
    )
    if not names:
        raise InputError(
            f"{type(network).__name__} has no linear layer that could be its head; train it without "
            "init, freeze_epochs and optimizer.backbone_lr"
        )
    return names


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, or of a state dict written by `torch.save`.

    The state dict may be inside a training checkpoint. Only tensors and plain values are unpickled, so
    that no code of the file is run.

    Returns:
        Name -> tensor, on the CPU.

    Raises:
        InputError: the file is missing or damaged, holds no tensors, or is a pickle with code.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; check the path")
    try:
        with path.open("rb") as handle:
            start = handle.read(9)
        # A safetensors file starts with 8 bytes of length and a JSON object.
        content = safetensors.torch.load_file(path) if start[8:] == b"{" else _unpickled(path)
    except InputError:
        raise
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{path}: damaged, or not a weights file ({reason}); make or fetch it again"
        ) from error
    return _tensors(content, path)


def load_weights(network: nn.Module, path: Path) -> None:
    """Load saved weights into a network; all tensors have to agree by name and shape.

    Raises:
        InputError: the file is missing or damaged, or its tensors do not fit.
    """
    if not path.is_file():
        raise InputError(f"{path}: no weights there; has the first epoch of training ended?")
    given = read_weights(path)
    _refuse_misfits(network, given, str(path))
    network.load_state_dict(given)


@dataclass(frozen=True)
class InitialWeights:
    """Weights to start a training from.

    Attributes:
        tensors: name -> tensor.
        source: the file or model that they come from, for messages.
        expressions: the label set of the head's rows; None if it is unknown.
    """

    tensors: Mapping[str, Tensor]
    source: str
    expressions: Expressions | None = None

    def fitting(
        self, network: nn.Module, expressions: Expressions | None = None
    ) -> dict[str, Tensor]:
        """Select the tensors that `network` can take over: name -> tensor.

        All tensors of the backbone have to be there and fit. Those of the head are selected only if all
        of them fit and the two label sets are equal or this one's is unknown; else the head keeps its
        own initial values. If the number of input channels differs, the first convolution is converted
        so that its answers to gray faces stay the same.

        Args:
            network: the network to fill.
            expressions: the network's label set.

        Raises:
            InputError: a tensor of the backbone is missing or does not fit.
        """
        own, given = network.state_dict(), dict(self.tensors)
        stem = next(
            (f"{n}.weight" for n, m in network.named_modules() if isinstance(m, nn.Conv2d)), ""
        )
        # Pretrained networks take RGB, most of mien's take gray.
        if stem in given and given[stem].ndim == 4:
            given[stem] = _with_channels(given[stem], own[stem].shape[1])
        head = head_names(network)
        same_classes = self.expressions is None or self.expressions == expressions
        if not same_classes or any(
            name not in given or given[name].shape != own[name].shape for name in head
        ):
            given = {name: tensor for name, tensor in given.items() if name not in head}
        _refuse_misfits(network, given, self.source, unless=head)
        return given

    def start(self, network: nn.Module, expressions: Expressions) -> dict[str, Any]:
        """Load the weights into a network, see `fitting`.

        Returns:
            The entry for the run's environment.json: source, SHA-256, and whether the head is new.
        """
        given = self.fitting(network, expressions)
        network.load_state_dict(given, strict=False)
        contiguous = {name: tensor.contiguous() for name, tensor in self.tensors.items()}
        return {
            "source": self.source,
            # For a safetensors file written by mien this equals the hash of the file itself.
            "sha256": hashlib.sha256(safetensors.torch.save(contiguous)).hexdigest(),
            "new_head": not given.keys() >= head_names(network),
        }


def _unpickled(path: Path) -> object:
    """Read a file of `torch.save` that holds only tensors and plain values.

    Raises:
        InputError: the file holds code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of pickle protocols other than its own
            return torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        more = f"it names {named[1]}" if named else "more than torch.save writes of tensors"
        raise InputError(
            f"{path}: refused, because it is a pickle with code in it ({more}), which reading would run; "
            "save only the network's state_dict(), best as safetensors"
        ) from error


def _tensors(content: object, path: Path) -> dict[str, Tensor]:
    """Extract the state dict from a checkpoint, without `_PREFIXES` in its names.

    Raises:
        InputError: there is no state dict, or it is empty.
    """
    while isinstance(content, Mapping):
        nest = next((n for n in _NESTS if isinstance(content.get(n), Mapping)), None)
        if nest is None:
            break
        content = content[nest]
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise InputError(f"{path}: no state dict in it; a weights file maps names to tensors")
    tensors = dict(content)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if not tensors:
        raise InputError(f"{path}: there is no tensor in it; make or fetch it again")
    return tensors


def _with_channels(weight_OIHW: Tensor, channels: int) -> Tensor:
    """Convert a first convolution to another number of input channels; answers to gray faces stay the same.

    From three channels to one the weights are summed; from one to three each channel gets a third. For
    other numbers the weight is returned unchanged.
    """
    given = weight_OIHW.shape[1]
    if given == 3 and channels == 1:
        return weight_OIHW.sum(dim=1, keepdim=True)
    if given == 1 and channels == 3:
        return weight_OIHW.expand(-1, 3, -1, -1) / 3
    return weight_OIHW


def _refuse_misfits(
    network: nn.Module, given: Mapping[str, Tensor], where: str, unless: Collection[str] = ()
) -> None:
    """Refuse weights that differ from the network's tensors in name or shape.

    Args:
        network: the network.
        given: name -> tensor.
        where: the source of the weights, for the message.
        unless: names that may be missing. BatchNorm's `num_batches_tracked` may be missing too: older
            files lack it, and mien does not use it.

    Raises:
        InputError: names or shapes differ; the message names the first layers.
    """
    own = network.state_dict()
    misfits = [
        name
        for name in (*own, *sorted(given.keys() - own.keys()))
        if not (name in own and name in given and own[name].shape == given[name].shape)
        and not (name not in given and (name in unless or name.endswith("num_batches_tracked")))
    ]
    if not misfits:
        return
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in misfits))
    named = ", ".join(layers[:3])
    rest = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
    raise InputError(
        f"{where}: its weights do not fit the network in {named}{rest}; give weights of this network"
    )
