"""The main functions of mien, for the command line, programs and notebooks."""

from mien.api.inputs import chosen_recipe, is_model_file, load, load_for
from mien.api.model_files import export
from mien.api.scoring import evaluate, evaluate_corrupted, report_folder
from mien.api.training import parse_seeds, plan, teach, train, train_seeds

__all__ = [
    "chosen_recipe",
    "evaluate",
    "evaluate_corrupted",
    "export",
    "is_model_file",
    "load",
    "load_for",
    "parse_seeds",
    "plan",
    "report_folder",
    "teach",
    "train",
    "train_seeds",
]
