"""Pages, tables for the terminal, Markdown and figures of evaluations, all made of one set of blocks."""

from mien.pages.comparison import render_comparison as render_comparison
from mien.pages.comparison import write_comparison as write_comparison
from mien.pages.model_card import CardFiles as CardFiles
from mien.pages.model_card import write_card as write_card
from mien.pages.predictions import draw_predictions as draw_predictions
from mien.pages.report import write_report as write_report
from mien.pages.robustness import render_robustness as render_robustness
from mien.pages.robustness import write_robustness_page as write_robustness_page
from mien.pages.tables import render_summary as render_summary
from mien.pages.tables import render_table as render_table
from mien.pages.tables import summary_text as summary_text
