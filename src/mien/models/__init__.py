"""Create networks by name, and call a trained network as a function. Needs the 'train' extra."""

from mien.errors import extra_required

with extra_required("train", "Building a network"):
    import safetensors  # noqa: F401
    import torch  # noqa: F401

from mien.models import reference, residual, transfer  # noqa: F401 (importing registers them)
from mien.models.classifier import Classifier, load_classifier
from mien.models.device import pick_device
from mien.models.networks import Cost, ModelEntry, cost, create, entry, names, register
from mien.models.own import OwnFile, import_own, refuse_another_file, refuse_unknown
from mien.models.transfer import HUB, PACKAGE, check_init, initial_weights

__all__ = [
    "HUB",
    "PACKAGE",
    "Classifier",
    "Cost",
    "ModelEntry",
    "OwnFile",
    "check_init",
    "cost",
    "create",
    "entry",
    "import_own",
    "initial_weights",
    "load_classifier",
    "names",
    "pick_device",
    "refuse_another_file",
    "refuse_unknown",
    "register",
]
