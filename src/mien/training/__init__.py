"""Train a recipe on faces; the result is a run folder. Needs the 'train' extra."""

from mien.errors import extra_required

with extra_required("train", "Training"):
    import safetensors  # noqa: F401
    import torch  # noqa: F401

from mien.recipe import (
    Augment,
    Mixing,
    ModelSpec,
    Objective,
    Optimizer,
    Recipe,
    Schedule,
    Targets,
    from_dict,
    override,
    read_recipe,
    to_dict,
)
from mien.training.checkpoint import Interval
from mien.training.distributed import is_first
from mien.training.judging import refuse_silent_judge
from mien.training.loop import train
from mien.training.outlook import Outlook, outlook
from mien.training.sheet import SheetWatcher
from mien.training.stopping import StoppedError
from mien.training.teaching import Teaching, teach
from mien.training.trackers import trackers_named
from mien.training.watch import Moment, PictureWatcher, TerminalWatcher, Watcher, usual_watchers

__all__ = [
    "Augment",
    "Interval",
    "Mixing",
    "ModelSpec",
    "Moment",
    "Objective",
    "Optimizer",
    "Outlook",
    "PictureWatcher",
    "Recipe",
    "Schedule",
    "SheetWatcher",
    "StoppedError",
    "Targets",
    "Teaching",
    "TerminalWatcher",
    "Watcher",
    "from_dict",
    "is_first",
    "outlook",
    "override",
    "read_recipe",
    "refuse_silent_judge",
    "teach",
    "to_dict",
    "trackers_named",
    "train",
    "usual_watchers",
]
