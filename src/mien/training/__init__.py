"""Train a recipe on faces; the result is a run folder. Needs the 'train' extra."""

from mien.errors import extra_required

with extra_required("train", "Training"):
    import safetensors  # noqa: F401
    import torch  # noqa: F401

from mien.recipe import Augment as Augment
from mien.recipe import Mixing as Mixing
from mien.recipe import ModelSpec as ModelSpec
from mien.recipe import Objective as Objective
from mien.recipe import Optimizer as Optimizer
from mien.recipe import Recipe as Recipe
from mien.recipe import Schedule as Schedule
from mien.recipe import Targets as Targets
from mien.recipe import from_dict as from_dict
from mien.recipe import override as override
from mien.recipe import read_recipe as read_recipe
from mien.recipe import to_dict as to_dict
from mien.training.checkpoint import Interval as Interval
from mien.training.distributed import is_first as is_first
from mien.training.loop import train as train
from mien.training.outlook import Outlook as Outlook
from mien.training.outlook import outlook as outlook
from mien.training.sheet import SheetWatcher as SheetWatcher
from mien.training.stopping import StoppedError as StoppedError
from mien.training.targets import Supervision as Supervision
from mien.training.targets import check_targets as check_targets
from mien.training.teaching import Teaching as Teaching
from mien.training.teaching import teach as teach
from mien.training.trackers import trackers_named as trackers_named
from mien.training.watch import Moment as Moment
from mien.training.watch import PictureWatcher as PictureWatcher
from mien.training.watch import TerminalWatcher as TerminalWatcher
from mien.training.watch import Watcher as Watcher
from mien.training.watch import usual_watchers as usual_watchers
