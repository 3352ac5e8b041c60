"""Scores, reports and comparisons. Takes any predictor, so nothing here needs torch."""

from mien.evaluation.choosing import SPLIT_NAMES, check_request, faces_to_score
from mien.evaluation.compare import Comparison, compare, render_comparison, write_comparison
from mien.evaluation.ensemble import ensemble
from mien.evaluation.evaluate import Subject, find_copies, score
from mien.evaluation.evaluation import Evaluation, ViewScores
from mien.evaluation.metrics import Scores, compute_scores
from mien.evaluation.model_card import CardFiles, write_card
from mien.evaluation.predictions import draw_predictions
from mien.evaluation.report import write_report
from mien.evaluation.robustness import Robustness, evaluate_corrupted
from mien.evaluation.robustness_page import render_robustness, write_robustness_page
from mien.evaluation.tables import (
    over_seeds,
    render_summary,
    render_table,
    summarise,
    summary_text,
)
from mien.evaluation.views import VIEWS, Predictor

__all__ = [
    "SPLIT_NAMES",
    "VIEWS",
    "CardFiles",
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
    "draw_predictions",
    "ensemble",
    "evaluate_corrupted",
    "faces_to_score",
    "find_copies",
    "over_seeds",
    "render_comparison",
    "render_robustness",
    "render_summary",
    "render_table",
    "score",
    "summarise",
    "summary_text",
    "write_card",
    "write_comparison",
    "write_report",
    "write_robustness_page",
]
