"""The main functions of mien, for the command line, programs and notebooks."""

from mien.api.inputs import chosen_recipe as chosen_recipe
from mien.api.inputs import is_model_file as is_model_file
from mien.api.inputs import load as load
from mien.api.inputs import load_for as load_for
from mien.api.model_files import export as export
from mien.api.scoring import evaluate as evaluate
from mien.api.scoring import evaluate_corrupted as evaluate_corrupted
from mien.api.scoring import report_folder as report_folder
from mien.api.training import parse_seeds as parse_seeds
from mien.api.training import plan as plan
from mien.api.training import teach as teach
from mien.api.training import train as train
from mien.api.training import train_seeds as train_seeds
