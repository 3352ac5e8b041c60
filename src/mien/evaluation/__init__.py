"""Scores and comparisons of any predictor: nothing here needs torch. `mien.pages` shows them."""

from mien.evaluation.choosing import SPLIT_NAMES, check_request, faces_to_score
from mien.evaluation.compare import Comparison, compare
from mien.evaluation.evaluate import Subject, find_copies, score
from mien.evaluation.evaluation import Evaluation, ViewScores
from mien.evaluation.metrics import Scores, compute_scores
from mien.evaluation.robustness import Robustness, evaluate_corrupted
from mien.evaluation.summary import ensemble, over_seeds, summarise
from mien.evaluation.views import VIEWS, Predictor

__all__ = [
    "SPLIT_NAMES",
    "VIEWS",
    "Comparison",
    "Evaluation",
    "Predictor",
    "Robustness",
    "Scores",
    "Subject",
    "ViewScores",
    "check_request",
    "compare",
    "compute_scores",
    "ensemble",
    "evaluate_corrupted",
    "faces_to_score",
    "find_copies",
    "over_seeds",
    "score",
    "summarise",
]
