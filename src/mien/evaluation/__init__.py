"""Scores and comparisons of any predictor: nothing here needs torch. `mien.pages` shows them."""

from mien.evaluation.choosing import SPLIT_NAMES as SPLIT_NAMES
from mien.evaluation.choosing import check_request as check_request
from mien.evaluation.choosing import faces_to_score as faces_to_score
from mien.evaluation.compare import Comparison as Comparison
from mien.evaluation.compare import compare as compare
from mien.evaluation.evaluate import Subject as Subject
from mien.evaluation.evaluate import find_copies as find_copies
from mien.evaluation.evaluate import score as score
from mien.evaluation.evaluation import Evaluation as Evaluation
from mien.evaluation.evaluation import ViewScores as ViewScores
from mien.evaluation.metrics import Scores as Scores
from mien.evaluation.metrics import compute_scores as compute_scores
from mien.evaluation.robustness import Robustness as Robustness
from mien.evaluation.robustness import evaluate_corrupted as evaluate_corrupted
from mien.evaluation.summary import check_members as check_members
from mien.evaluation.summary import ensemble as ensemble
from mien.evaluation.summary import over_seeds as over_seeds
from mien.evaluation.summary import summarise as summarise
from mien.evaluation.views import VIEWS as VIEWS
from mien.evaluation.views import Predictor as Predictor
