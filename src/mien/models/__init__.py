"""Create networks by name, and call a trained network as a function. Needs the 'train' extra."""

from mien.errors import extra_required

with extra_required("train", "Building a network"):
    import safetensors  # noqa: F401
    import torch  # noqa: F401

from mien.models import reference, residual, transfer  # noqa: F401 (importing registers them)
from mien.models.classifier import Classifier as Classifier
from mien.models.classifier import load_classifier as load_classifier
from mien.models.device import pick_device as pick_device
from mien.models.networks import Cost as Cost
from mien.models.networks import ModelEntry as ModelEntry
from mien.models.networks import cost as cost
from mien.models.networks import create as create
from mien.models.networks import entry as entry
from mien.models.networks import names as names
from mien.models.networks import register as register
from mien.models.own import OwnFile as OwnFile
from mien.models.own import import_own as import_own
from mien.models.own import refuse_another_file as refuse_another_file
from mien.models.own import refuse_unknown as refuse_unknown
from mien.models.transfer import HUB as HUB
from mien.models.transfer import PACKAGE as PACKAGE
from mien.models.transfer import check_init as check_init
from mien.models.transfer import initial_weights as initial_weights
