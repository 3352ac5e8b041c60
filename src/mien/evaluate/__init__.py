"""Scores, reports and comparisons. Takes any predictor, so nothing here needs torch."""

from mien.evaluate.compare import Comparison, compare, render_comparison, write_comparison
from mien.evaluate.evaluate import Progress, evaluate_run, faces_to_score, find_copies, score
from mien.evaluate.evaluation import Evaluation, ViewScores
from mien.evaluate.metrics import Scores, compute_scores
from mien.evaluate.report import write_report
from mien.evaluate.tables import render_summary, render_table, summarise
from mien.evaluate.views import VIEWS, Predictor

__all__ = [
    "VIEWS",
    "Comparison",
    "Evaluation",
    "Predictor",
    "Progress",
    "Scores",
    "ViewScores",
    "compare",
    "compute_scores",
    "evaluate_run",
    "faces_to_score",
    "find_copies",
    "render_comparison",
    "render_summary",
    "render_table",
    "score",
    "summarise",
    "write_comparison",
    "write_report",
]
