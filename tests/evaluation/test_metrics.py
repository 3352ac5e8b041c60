"""Every metric against an independent reference, and against cases small enough to do by hand."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from pydantic import TypeAdapter
from sklearn import metrics as sk

from mien.errors import InputError
from mien.evaluation.metrics import (
    Scores,
    accuracy_interval,
    adaptive_calibration_error,
    brier_score,
    calibration_bins,
    calibration_chance,
    calibration_error,
    classwise_calibration_error,
    compute_scores,
    risk_coverage,
)


def made_up(n=2000, k=7, seed=0):
    """Labels that often follow the probabilities, so that every metric lies inside its range."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(k, 0.3), n).astype(np.float32)
    labels = np.array([generator.choice(k, p=p / p.sum()) for p in probabilities.astype(float)])
    return probabilities, labels


def test_agrees_with_scikit_learn():
    probabilities, labels = made_up()
    predicted = probabilities.argmax(axis=1)
    scores = compute_scores(probabilities, labels)
    assert scores.count == 2000
    assert scores.accuracy == pytest.approx(sk.accuracy_score(labels, predicted))
    assert scores.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    assert scores.macro_f1 == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert np.array_equal(scores.confusion, sk.confusion_matrix(labels, predicted))
    doubles = np.maximum(probabilities.astype(np.float64), 1e-15)
    doubles /= doubles.sum(axis=1, keepdims=True)
    assert scores.cross_entropy == pytest.approx(sk.log_loss(labels, doubles), rel=1e-4)
    for label, item in enumerate(scores.per_class):
        mine = labels == label
        assert item.support == mine.sum()
        assert item.precision == pytest.approx(sk.precision_score(mine, predicted == label))
        assert item.recall == pytest.approx(sk.recall_score(mine, predicted == label))
        assert item.f1 == pytest.approx(sk.f1_score(mine, predicted == label))


@pytest.mark.parametrize("bins", [5, 15])
def test_agrees_with_torchmetrics(bins):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    probabilities, labels = made_up(seed=3)
    tensors = torch.tensor(probabilities), torch.tensor(labels)
    scores = compute_scores(probabilities, labels)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    error = calibration_error(calibration_bins(confidence, right, bins))
    theirs = functional.multiclass_calibration_error(
        *tensors, num_classes=7, n_bins=bins, norm="l1"
    )
    assert error == pytest.approx(float(theirs), abs=1e-5)
    for ours, name in [
        (scores.accuracy, "multiclass_accuracy"),
        (scores.macro_f1, "multiclass_f1_score"),
    ]:
        average = "micro" if name == "multiclass_accuracy" else "macro"
        theirs = getattr(functional, name)(*tensors, num_classes=7, average=average)
        assert ours == pytest.approx(float(theirs), abs=1e-6)


def test_the_brier_score_is_scikit_learn_s():
    probabilities, labels = made_up(seed=5)
    doubles = probabilities.astype(np.float64)
    doubles /= doubles.sum(axis=1, keepdims=True)
    theirs = sk.brier_score_loss(labels, doubles, labels=np.arange(7), scale_by_half=False)
    assert brier_score(doubles, labels) == pytest.approx(theirs)
    assert compute_scores(probabilities, labels).brier_score == pytest.approx(theirs, rel=1e-5)


def test_classwise_is_the_mean_of_torchmetrics_binary_errors():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    probabilities, labels = made_up(seed=6)

    def error(k):
        """Theirs takes a probability below one half for its complement's confidence: as two classes."""
        chosen = torch.tensor(probabilities[:, k])
        return float(
            functional.multiclass_calibration_error(
                # The larger of the two is p itself, and right where it is that class.
                torch.stack([torch.zeros_like(chosen), chosen], dim=1),
                torch.tensor((labels == k).astype(int)),
                num_classes=2,
                n_bins=15,
            )
        )

    theirs = np.mean([error(k) for k in range(7)])
    assert classwise_calibration_error(probabilities, labels) == pytest.approx(theirs, abs=1e-5)


def test_adaptive_bins_hold_equally_many():
    # Six faces in three bins of two: |0.15 - 0|, |0.35 - 0.5|, |0.75 - 1|.
    confidence = np.array([0.9, 0.1, 0.6, 0.3, 0.4, 0.2])
    right = np.array([True, False, True, True, False, False])
    found = adaptive_calibration_error(confidence, right, 3)
    assert found == pytest.approx((0.15 + 0.15 + 0.25) / 3)
    # Fewer faces than bins: a bin each.
    alone = adaptive_calibration_error(confidence, right, 15)
    assert alone == pytest.approx(np.abs(confidence - right).mean())


@pytest.mark.parametrize("count", [300, 3000])
def test_chance_is_what_perfectly_calibrated_answers_show(count):
    generator = np.random.default_rng(1)
    confidence = generator.uniform(0.3, 1, count)
    drawn = [
        calibration_error(calibration_bins(confidence, generator.random(count) < confidence))
        for _ in range(2000)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert calibration_chance(confidence) == pytest.approx((low, high), rel=0.06)


def test_answers_that_are_certain_leave_nothing_to_chance():
    assert calibration_chance(np.ones(50)) == (0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_adaptive_agrees_with_scikit_learn_s_quantile_curve(seed):
    from sklearn.calibration import calibration_curve

    generator = np.random.default_rng(seed)
    confidence = generator.permutation(np.linspace(0.01, 0.99, 1500))
    right = generator.random(1500) < confidence**1.5
    theirs = np.abs(
        np.subtract(*calibration_curve(right, confidence, n_bins=15, strategy="quantile"))
    )
    assert adaptive_calibration_error(confidence, right) == pytest.approx(theirs.mean(), abs=2e-3)


@pytest.mark.parametrize("seed", range(4))
def test_risk_and_coverage_are_those_of_every_threshold(seed):
    generator = np.random.default_rng(seed)
    confidence = generator.integers(1, 15, 80) / 15  # with many that are equal
    right = generator.random(80) < confidence
    curve = risk_coverage(confidence, right)
    for threshold in (*np.unique(confidence), 0.0, 0.5):
        kept = confidence >= threshold
        assert curve.at(threshold) == pytest.approx((kept.mean(), (~right[kept]).mean()))
    assert curve.at(2.0) == (0.0, None)
    assert curve.coverage[-1] == 1
    assert curve.risk[-1] == pytest.approx(1 - right.mean())


def test_the_area_is_the_mean_risk_over_all_numbers_of_answers():
    confidence, right = np.linspace(1, 0, 50), np.arange(50) % 3 > 0
    risks = [(~right[: n + 1]).mean() for n in range(50)]
    assert risk_coverage(confidence, right).area == pytest.approx(np.mean(risks))


def test_scores_of_earlier_versions_are_read():
    probabilities, labels = made_up(50)
    content = asdict(compute_scores(probabilities, labels))
    for name in (
        "brier_score",
        "adaptive_calibration_error",
        "classwise_calibration_error",
        "calibration_chance",
    ):
        del content[name]
    assert TypeAdapter(Scores).validate_python(json.loads(json.dumps(content))).brier_score is None


def test_by_hand():
    probabilities = np.array([[0.8, 0.2, 0.0], [0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.3, 0.7, 0.0]])
    scores = compute_scores(probabilities, np.array([0, 1, 1, 1]))
    assert scores.accuracy == 0.75
    assert scores.confusion == ((1, 0, 0), (1, 2, 0), (0, 0, 0))
    assert scores.balanced_accuracy == pytest.approx((1 + 2 / 3) / 2)
    assert scores.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert scores.cross_entropy == pytest.approx(-np.log([0.8, 0.4, 0.9, 0.7]).mean())
    # Four bins of one face each: |1 - 0.8|, |0 - 0.6|, |1 - 0.9|, |1 - 0.7|.
    assert scores.calibration_error == pytest.approx((0.2 + 0.6 + 0.1 + 0.3) / 4)


def test_an_expression_without_faces_has_no_scores_and_no_part_in_the_means():
    probabilities = np.array([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]])
    scores = compute_scores(probabilities, np.array([0, 0]))
    assert scores.per_class[2].precision is None
    assert scores.per_class[2].support == 0
    assert scores.balanced_accuracy == 0.5
    assert scores.macro_f1 == pytest.approx(2 / 3)


def test_an_expression_never_predicted_scores_nought():
    scores = compute_scores(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]))
    assert (scores.per_class[1].precision, scores.per_class[1].f1) == (0.0, 0.0)


def test_calibration_bins_close_on_the_right_and_hold_every_face():
    confidence = np.array([0.0, 0.2, 0.4, 0.41, 1.0])
    bins = calibration_bins(confidence, np.array([True, True, False, True, True]), 5)
    assert [item.count for item in bins] == [2, 1, 1, 0, 1]
    assert bins[3].accuracy is None
    assert bins[0].confidence == pytest.approx(0.1)


def test_a_perfectly_calibrated_predictor_has_no_calibration_error():
    right = np.arange(1000) < 700
    assert calibration_error(calibration_bins(np.full(1000, 0.7), right)) == pytest.approx(0)


def test_certain_and_wrong_costs_a_finite_cross_entropy():
    scores = compute_scores(np.array([[1.0, 0.0]]), np.array([1]))
    assert scores.cross_entropy == pytest.approx(87.3365, abs=1e-3)


def test_interval_is_that_of_resampled_indices_and_of_the_normal_law():
    low, high = accuracy_interval(2656, 3589)
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(0.74 * 0.26 / 3589), rel=0.05)
    right = np.arange(3589) < 2656
    generator = np.random.default_rng(9)
    means = [right[generator.integers(0, 3589, 3589)].mean() for _ in range(1000)]
    assert (low, high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=2e-3)


def test_interval_depends_on_the_seed_alone():
    assert accuracy_interval(60, 100) == accuracy_interval(60, 100)
    assert accuracy_interval(60, 100) != accuracy_interval(60, 101)
    assert accuracy_interval(10, 10) == (1.0, 1.0)
    assert accuracy_interval(0, 10) == (0.0, 0.0)


def test_scores_survive_json():
    probabilities, labels = made_up(50)
    scores = compute_scores(probabilities, np.minimum(labels, 5))
    text = json.dumps(asdict(scores), allow_nan=False)
    assert TypeAdapter(Scores).validate_python(json.loads(text)) == scores


@pytest.mark.parametrize(
    ("probabilities", "labels"),
    [
        (np.zeros((0, 7)), []),
        (np.array([[0.5, np.nan]]), [0]),
        (np.array([[1.5, -0.5]]), [0]),
        (np.array([[2.0, 3.0]]), [0]),
        (np.array([[0.5, 0.5]]), [2]),
        (np.array([[0.5, 0.5]]), [-1]),
        (np.array([[0.5, 0.5]]), [0, 1]),
    ],
)
def test_refuses_what_cannot_be_scored(probabilities, labels):
    with pytest.raises(InputError):
        compute_scores(probabilities, np.array(labels, dtype=np.int64))
