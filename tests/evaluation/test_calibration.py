"""Temperature and threshold against other optimisers, and at the ends of their ranges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax

from mien.errors import InputError
from mien.evaluation.calibration import (
    LEAST_FACES,
    OFFSET_SHARE,
    SURE_PRECISION,
    TEMPERATURES,
    Calibration,
    enough_to_calibrate,
    fit_calibration,
    fit_temperature,
    fit_uncertain_below,
    softmax,
)


def drawn(n, scale, seed, true_temperature=1.0):
    """Logits, and labels drawn from softmax(logits / true_temperature)."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, 7)) * scale
    shares = softmax(logits, true_temperature)
    return logits, np.array([generator.choice(7, p=row) for row in shares])


def cross_entropy(logits, labels, temperature):
    return -log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean()


@pytest.mark.parametrize("seed", range(5))
def test_the_temperature_is_the_one_that_scipy_finds(seed):
    logits, labels = drawn(300, 1 + 2 * seed, seed, 0.5 + seed)
    found = minimize_scalar(
        lambda log_t: cross_entropy(logits, labels, np.exp(log_t)),
        bounds=(-3, 4),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert fit_temperature(logits, labels) == pytest.approx(np.exp(found.x), rel=1e-4)


def test_the_temperature_that_labels_were_drawn_with_is_found_again():
    logits, labels = drawn(20_000, 4.0, 0, true_temperature=2.5)
    assert fit_temperature(logits, labels) == pytest.approx(2.5, rel=0.03)


def test_a_temperature_never_changes_an_answer():
    logits, labels = drawn(500, 3.0, 1, true_temperature=2.0)
    calibrated = softmax(logits, fit_temperature(logits, labels))
    assert (calibrated.argmax(1) == logits.argmax(1)).all()
    assert calibrated.sum(axis=1) == pytest.approx(1.0)


def test_a_fit_ends_at_the_borders():
    logits = np.eye(7) * 5
    right = np.arange(7)
    assert fit_temperature(logits, right) == TEMPERATURES[0]
    assert fit_temperature(logits, (right + 1) % 7) == TEMPERATURES[1]
    assert fit_temperature(np.ones((7, 7)), right) == 1.0


@pytest.mark.parametrize("seed", range(8))
def test_sure_answers_are_as_right_as_asked_for_and_no_lower_threshold_gives_that(seed):
    generator = np.random.default_rng(seed)
    confidence = generator.integers(1, 20, 60) / 20  # with many that are equal
    right = generator.random(60) < confidence
    found = fit_uncertain_below(confidence, right, 0.8)

    def precision(threshold):
        kept = right[confidence >= threshold]
        return kept.mean() if len(kept) else 1.0

    assert precision(found) >= 0.8
    assert all(precision(t) < 0.8 for t in [0.0, *np.unique(confidence)] if t < found)


def test_without_a_precision_it_is_the_one_that_sure_answers_are_to_have():
    confidence = np.linspace(0, 1, 1000)
    right = np.random.default_rng(3).random(1000) < confidence
    kept = right[confidence >= fit_uncertain_below(confidence, right)]
    assert SURE_PRECISION <= kept.mean() < SURE_PRECISION + 0.01


def test_what_is_always_right_is_never_doubted_and_what_is_always_wrong_always():
    confidence = np.array([0.3, 0.9, 0.5])
    assert fit_uncertain_below(confidence, np.array([True, True, True])) == 0.0
    assert fit_uncertain_below(confidence, np.array([False, False, False])) == 1.0


def test_the_threshold_lies_between_what_is_doubted_and_what_is_not():
    confidence = np.array([0.2, 0.4, 0.6, 0.8])
    right = np.array([False, False, True, True])
    assert fit_uncertain_below(confidence, right) == pytest.approx(0.5)


def test_too_few_faces_to_calibrate_by_are_refused():
    enough_to_calibrate(LEAST_FACES, "data")
    with pytest.raises(
        InputError, match=f"12 validation faces, and calibration needs {LEAST_FACES}"
    ):
        enough_to_calibrate(12, "data")


@pytest.fixture(scope="module")
def lifted():
    """Logits of a network that was trained as if seven expressions were equally frequent; labels as they are."""
    generator = np.random.default_rng(4)
    shares = np.array([0.1, 0.01, 0.03, 0.3, 0.12, 0.14, 0.3])
    labels = generator.choice(7, 4000, p=shares)
    logits = 2.0 * np.eye(7)[labels] + generator.normal(size=(4000, 7))
    return logits, labels, shares


def test_offsets_are_half_of_those_of_the_smallest_cross_entropy(lifted):
    logits, labels, shares = lifted
    found = fit_calibration(logits, labels, lifts_rare=True)
    assert sum(found.offsets) == pytest.approx(0, abs=1e-9)
    # Bayes: what equal shares leave out is the logarithm of the real ones.
    expected = np.log(shares) - np.log(shares).mean()
    assert np.allclose(found.offsets, OFFSET_SHARE * expected, atol=0.25)
    wrong_before = (logits.argmax(axis=1) != labels).mean()
    wrong_after = (found(logits).argmax(axis=1) != labels).mean()
    assert wrong_after < wrong_before - 0.02


def test_offsets_are_scipy_s_by_another_way(lifted):
    """Found again without slopes, without a pull and over the probabilities themselves."""
    logits, labels, _ = lifted

    def loss(scale_and_offsets):
        scaled = scale_and_offsets[0] * logits + np.append(scale_and_offsets[1:], 0)
        return -log_softmax(scaled, axis=1)[np.arange(len(labels)), labels].mean()

    best = np.append(minimize(loss, np.append(1.0, np.zeros(6))).x[1:], 0)
    found = fit_calibration(logits, labels, lifts_rare=True)
    assert np.allclose(found.offsets, OFFSET_SHARE * (best - best.mean()), atol=0.05)  # of the pull


def test_without_lifted_expressions_or_with_few_faces_of_one_there_are_no_offsets(lifted):
    logits, labels, _ = lifted
    plain = fit_calibration(logits, labels)
    assert plain == Calibration(fit_temperature(logits, labels))
    assert np.allclose(plain(logits), softmax(logits, plain.temperature))
    common = labels != 1
    assert fit_calibration(logits[common], labels[common], lifts_rare=True).offsets == ()
