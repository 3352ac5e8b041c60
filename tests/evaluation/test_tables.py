"""Tables for the terminal and the summary of several seeds."""

from __future__ import annotations

import io
import statistics
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from mien.errors import InputError
from mien.evaluation import score, summarise
from mien.pages import render_summary, render_table


@pytest.fixture
def evaluations(make_store, predict):
    """Three 'seeds': the same faces under labels of their own, so that the scores differ."""
    splits = [0] * 10 + [2] * 40
    stores = [
        make_store(splits, np.random.default_rng(seed).integers(0, 7, 50)) for seed in range(3)
    ]
    return [
        score(predict, store.faces(np.arange(10, 50)), store.digests[:10], split="test")
        for store in stores
    ]


def printed(renderable):
    text = io.StringIO()
    Console(width=160, file=text).print(renderable)
    return text.getvalue()


def test_table_names_split_counts_views_and_figures(evaluations):
    text = printed(render_table(evaluations[0]))
    official = evaluations[0].scores["none"].official
    assert "test: 40 faces, 40 without a copy in training" in text
    assert "flip" in text
    assert f"{100 * official.accuracy:.2f} %" in text
    assert f"{official.cross_entropy:.4f}" in text
    assert "surprise" in text


def test_a_notebook_is_handed_the_table(evaluations):
    accuracy = evaluations[0].scores["none"].official.accuracy
    shown = render_table(evaluations[0])._repr_mimebundle_(include=(), exclude=())
    assert f"{100 * accuracy:.2f} %" in shown["text/html"]
    assert "surprise" in shown["text/html"]


def test_summary_is_mean_and_sample_standard_deviation(evaluations):
    accuracies = [e.scores["flip"].official.accuracy for e in evaluations]
    summary = summarise(evaluations)["flip"]["accuracy"]
    assert summary.mean == pytest.approx(statistics.mean(accuracies))
    assert summary.sd == pytest.approx(statistics.stdev(accuracies))
    assert summary.n == 3
    assert f"{100 * summary.mean:.2f} ± {100 * summary.sd:.2f} %" in printed(
        render_summary(evaluations)
    )


def test_one_seed_has_no_standard_deviation(evaluations):
    assert summarise(evaluations[:1])["none"]["accuracy"].sd is None


def test_refuses_to_summarise_different_splits(evaluations):
    with pytest.raises(InputError, match="test and validation"):
        summarise([evaluations[0], replace(evaluations[1], split="validation")])
