"""Weights of networks: which of them are the head's, reading them without running code, fitting them.

Tensors go by their names in a network's state dict.
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

#: Under which a training checkpoint may hold the state dict.
_NESTS = ("state_dict", "model_state_dict", "model", "network")
#: What DataParallel and torch.compile put before every name.
_PREFIXES = ("module.", "_orig_mod.")


def head_names(network: nn.Module) -> frozenset[str]:
    """The tensors of the last layer, which turns features into logits; the rest is the backbone.

    timm's networks say which it is; of others it is the last linear layer.
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
            f"{type(network).__name__} has no last linear layer to tell its head from its backbone: "
            "start it without init, freeze_epochs and optimizer.backbone_lr"
        )
    return names


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a state dict that `torch.save` wrote.

    The state dict may lie inside a training checkpoint. Nothing but tensors and plain values is ever
    unpickled: InputError for a pickle with more in it, and for a file without tensors.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such weights file")
    try:
        with path.open("rb") as handle:
            start = handle.read(9)
        # A safetensors file begins with 8 bytes of length and a JSON object.
        content = safetensors.torch.load_file(path) if start[8:] == b"{" else _unpickled(path)
    except InputError:
        raise
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{path}: damaged weights file, or none at all ({reason}); make or fetch it again"
        ) from error
    return _tensors(content, path)


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a network with weights that were saved of it: every tensor by name and shape."""
    if not path.is_file():
        raise InputError(f"{path}: no weights there; has the first epoch of training ended?")
    given = read_weights(path)
    _refuse_misfits(network, given, str(path))
    network.load_state_dict(given)


@dataclass(frozen=True)
class InitialWeights:
    """Weights to start a training from.

    Attributes:
        tensors: by name.
        source: where they come from, for people.
        expressions: what the head's rows stand for, where that is known.
    """

    tensors: Mapping[str, Tensor]
    source: str
    expressions: Expressions | None = None

    def fitting(
        self, network: nn.Module, expressions: Expressions | None = None
    ) -> dict[str, Tensor]:
        """Those tensors that `network` takes over.

        All but the head's must be there and fit. The head's are left out, so that it keeps its own
        initial values, unless all of them fit and nothing speaks against their meaning the same
        `expressions`. Where only the channels of the input differ, the first convolution is made
        to answer gray faces as before.
        """
        own, given = network.state_dict(), dict(self.tensors)
        stem = next(
            (f"{n}.weight" for n, m in network.named_modules() if isinstance(m, nn.Conv2d)), ""
        )
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
        """Put them into a network; returns what environment.json says of it."""
        given = self.fitting(network, expressions)
        network.load_state_dict(given, strict=False)
        contiguous = {name: tensor.contiguous() for name, tensor in self.tensors.items()}
        return {
            "source": self.source,
            # That of a file of ours is the file's own.
            "sha256": hashlib.sha256(safetensors.torch.save(contiguous)).hexdigest(),
            "new_head": not given.keys() >= head_names(network),
        }


def _unpickled(path: Path) -> object:
    """What `torch.save` wrote, as far as it is tensors and plain values."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a pickle protocol that torch does not write
            return torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        more = f"it names {named[1]}" if named else "more than torch.save writes of tensors"
        raise InputError(
            f"{path}: refused, for it is a pickle with code in it ({more}), which reading would run; "
            "save its network's state_dict() alone, best as safetensors"
        ) from error


def _tensors(content: object, path: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint, by plain names."""
    while isinstance(content, Mapping):
        nest = next((n for n in _NESTS if isinstance(content.get(n), Mapping)), None)
        if nest is None:
            break
        content = content[nest]
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise InputError(f"{path}: no state dict: a weights file holds tensors by name")
    tensors = dict(content)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if not tensors:
        raise InputError(f"{path}: there is no tensor in it")
    return tensors


def _with_channels(weight_OIHW: Tensor, channels: int) -> Tensor:
    """A first convolution for another number of input channels, the same on a gray face.

    From three to one the weights are summed; from one to three each takes a third.
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
    """InputError that names the layers where name or shape differ.

    BatchNorm's count of batches may be missing, as it is in older files: nothing here reads it.
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
    raise InputError(f"{where}: its weights do not fit the network in {named}{rest}")
