"""Runs side by side: figures, tests of difference, files, refusals."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from mien.errors import InputError
from mien.evaluation import compare, score
from mien.evaluation.compare import mcnemar, paired_interval
from mien.pages import render_comparison, write_comparison


@pytest.fixture
def store(make_store):
    return make_store([0] * 10 + [2] * 60)


@pytest.fixture
def evaluated(make_run, store):
    """evaluated("name", share=0.7, ...) -> a run whose saved test accuracy is about that share."""

    def make(name, share, seed=0, store=store, rows=None, **options):
        run = make_run(name, seed=seed, **options)
        generator = np.random.default_rng(seed)
        faces = store.faces(np.arange(10, 70) if rows is None else rows)
        probabilities = np.full((len(faces), 7), 0.05, dtype=np.float32)
        right = generator.random(len(faces)) < share
        probabilities[np.arange(len(faces)), (faces.labels + ~right) % 7] = 0.7
        answers = iter([probabilities])
        score(lambda _: next(answers), faces, store.digests[:10], ("none",), split="test").save(run)
        return run

    return make


def test_mcnemar_is_the_exact_binomial_test():
    first = np.array([True] * 9 + [False] * 2 + [True] * 50 + [False] * 5)
    second = np.array([False] * 9 + [True] * 2 + [True] * 50 + [False] * 5)
    # Two of eleven: 2 * (C(11,0) + C(11,1) + C(11,2)) / 2^11.
    assert mcnemar(first, second) == pytest.approx(2 * (1 + 11 + 55) / 2**11)
    assert mcnemar(second, first) == mcnemar(first, second)
    assert mcnemar(first, first) == 1.0


def test_paired_interval_is_that_of_resampled_faces():
    generator = np.random.default_rng(0)
    difference = generator.choice([-1.0, 0.0, 1.0], size=2000, p=[0.1, 0.75, 0.15])
    low, high = paired_interval(difference)
    assert low < difference.mean() < high
    reference = stats.bootstrap(
        (difference,), np.mean, n_resamples=2000, method="percentile", rng=generator
    ).confidence_interval
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=3e-3)


def test_runs_are_compared_on_the_figures_of_their_evaluations(evaluated):
    good, bad = evaluated("good", 0.9), evaluated("bad", 0.3, seed=1)
    comparison = compare([good, bad.path], "test")
    assert comparison.faces == 60
    (pair,) = comparison.pairs
    accuracies = [
        run.evaluation("test")["views"]["none"]["official"]["accuracy"] for run in (good, bad)
    ]
    assert pair.difference == pytest.approx(accuracies[0] - accuracies[1])
    assert pair.only_first - pair.only_second == round(60 * pair.difference)
    assert pair.interval[0] > 0
    assert pair.p_value < 0.001
    assert comparison.contenders[0].seconds.mean == 12.5


def test_epochs_that_were_not_validated_count_as_training(evaluated):
    run = evaluated("run", 0.6)
    head, *rows = run.history_path.read_text().splitlines()
    seen = [
        head.split(",").index(name) for name in ("validation_loss", "validation_accuracy", "gap")
    ]
    cells = [row.split(",") for row in rows]
    for place in seen:
        cells[0][place] = ""
    run.history_path.write_text("\n".join([head, *map(",".join, cells)]) + "\n")
    (contender,) = compare([run], "test").contenders
    assert (contender.epochs.mean, contender.seconds.mean) == (5, 12.5)
    assert len(contender.histories[0]) == 4


def test_a_run_against_an_equal_one_differs_by_nothing(evaluated):
    comparison = compare([evaluated("one", 0.6), evaluated("two", 0.6)], "test")
    assert comparison.pairs[0].difference == 0
    assert comparison.pairs[0].interval == (0, 0)
    assert comparison.pairs[0].p_value == 1


def test_seeds_count_as_one_contender_with_mean_and_sd(evaluated):
    seeds = [evaluated(f"many/seed-{seed}", 0.6, seed=seed) for seed in range(3)]
    comparison = compare([seeds[0].path.parent, evaluated("single", 0.4, seed=9)], "test")
    summary = comparison.contenders[0].figures["accuracy"]
    values = [run.evaluation("test")["views"]["none"]["official"]["accuracy"] for run in seeds]
    assert summary.n == 3
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.sd == pytest.approx(np.std(values, ddof=1))
    assert comparison.pairs[0].p_value is None
    assert comparison.pairs[0].difference > 0


def test_written_comparison_holds_the_figures_and_loads_nothing(evaluated, tmp_path):
    comparison = compare([evaluated("a", 0.8), evaluated("b", 0.5, seed=2)], "test")
    page = write_comparison(comparison, tmp_path / "out").read_text()
    content = json.loads((tmp_path / "out" / "compare.json").read_text())
    for run in content["runs"]:
        assert f"{100 * run['figures']['accuracy']['mean']:.2f} %" in page
    assert f"{100 * content['pairs'][0]['difference']:+.2f}" in page
    assert "http" not in page
    assert "<script" not in page
    assert (tmp_path / "out" / "compare-curves.png").read_bytes().startswith(b"\x89PNG")


def test_terminal_table(evaluated):
    text = io.StringIO()
    comparison = compare([evaluated("a", 0.8), evaluated("b", 0.5, seed=2)], "test")
    Console(width=200, file=text).print(render_comparison(comparison))
    assert "test: 60 faces" in text.getvalue()
    assert f"{comparison.pairs[0].p_value:.2g}" in text.getvalue()


def test_a_run_without_history_is_compared_all_the_same(evaluated, tmp_path):
    run = evaluated("a", 0.8)
    run.history_path.unlink()
    comparison = compare([run], "test")
    assert comparison.pairs == ()
    assert "svg" not in write_comparison(comparison, tmp_path).read_text().split("<main>")[1]


def test_refuses_a_run_that_was_not_evaluated(evaluated, make_run):
    with pytest.raises(InputError, match=r"fresh.*run  mien evaluate .*fresh.* --split test"):
        compare([evaluated("a", 0.8), make_run("fresh")], "test")


def test_refuses_other_faces(evaluated):
    other = evaluated("b", 0.8, rows=np.arange(11, 70))
    with pytest.raises(InputError, match="different test faces"):
        compare([evaluated("a", 0.8), other], "test")


def test_refuses_other_labels_of_the_same_faces(evaluated, make_store, store):
    relabelled = make_store(store.splits, labels=np.roll(store.labels, 1), pixels=store.pixels)
    with pytest.raises(InputError, match="different test faces"):
        compare([evaluated("a", 0.8), evaluated("b", 0.8, store=relabelled)], "test")


def test_refuses_the_same_run_twice_and_nothing_at_all(evaluated):
    run = evaluated("a", 0.8)
    with pytest.raises(InputError, match="twice"):
        compare([run, run.path / "."], "test")
    with pytest.raises(InputError, match="give the run folders"):
        compare([], "test")
