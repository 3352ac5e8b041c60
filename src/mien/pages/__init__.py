"""Pages, tables for the terminal, Markdown and figures of evaluations, all made of one set of blocks."""

from mien.pages.comparison import render_comparison, write_comparison
from mien.pages.model_card import CardFiles, write_card
from mien.pages.predictions import draw_predictions
from mien.pages.report import write_report
from mien.pages.robustness import render_robustness, write_robustness_page
from mien.pages.tables import render_summary, render_table, summary_text

__all__ = [
    "CardFiles",
    "draw_predictions",
    "render_comparison",
    "render_robustness",
    "render_summary",
    "render_table",
    "summary_text",
    "write_card",
    "write_comparison",
    "write_report",
    "write_robustness_page",
]
