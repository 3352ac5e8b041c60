"""The verbs of mien: what the command line calls, and what a program or a notebook calls."""

from mien.api.choosing import chosen_recipe, is_model_file, load, load_for
from mien.api.judging import evaluate, evaluate_corrupted, export
from mien.api.training import parse_seeds, teach, train, train_seeds

__all__ = [
    "chosen_recipe",
    "evaluate",
    "evaluate_corrupted",
    "export",
    "is_model_file",
    "load",
    "load_for",
    "parse_seeds",
    "teach",
    "train",
    "train_seeds",
]
