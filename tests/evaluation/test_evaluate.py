"""The evaluation loop: scores with and without copies, files, label orders, refusals."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mien import api
from mien.errors import InputError
from mien.evaluation import (
    Evaluation,
    Subject,
    check_request,
    faces_to_score,
    find_copies,
    score,
)
from mien.evaluation.metrics import compute_scores
from mien.expressions import SEVEN
from mien.recipe import to_dict

NO_DIGESTS = np.empty((0, 2), dtype=np.uint64)


@pytest.fixture
def store(make_store):
    """40 training, 20 validation and 20 test faces; the first five test faces are copies."""
    store = make_store([0] * 40 + [1] * 20 + [2] * 20)
    pixels = store.pixels.copy()
    pixels[60:65] = pixels[0:5]
    return make_store(store.splits, pixels=pixels)


@pytest.fixture
def classifier(monkeypatch, predict):
    """Stands where torch would: mien.models.load_classifier gives the made-up predictor."""

    class Classifier:
        expressions = SEVEN

        def __call__(self, faces):
            return predict(faces)

    models = ModuleType("mien.models")
    models.load_classifier = lambda run, device: Classifier()
    monkeypatch.setitem(sys.modules, "mien.models", models)
    return Classifier


def evaluate_run(run, store, split, tta="none", command=None):
    """What `api.evaluate` does to a run, but for its report."""
    check_request(split, tta)
    evaluation = Subject.of_run(run, store, split).evaluated(tta, command=command)
    evaluation.save(run)
    return evaluation


def test_deduplicated_scores_leave_out_exactly_the_copies(store, predict):
    faces = store.faces(np.arange(60, 80))
    evaluation = score(predict, faces, store.digests[:40], split="test")
    assert evaluation.copies.tolist() == [True] * 5 + [False] * 15
    both = evaluation.scores["none"]
    assert both.official == compute_scores(predict(faces.pixels()), faces.labels)
    rest = store.faces(np.arange(65, 80))
    assert both.deduplicated == compute_scores(predict(rest.pixels()), rest.labels)


def test_without_training_faces_there_is_no_deduplicated_score(store, predict):
    evaluation = score(predict, store.faces(np.arange(60, 80)), NO_DIGESTS)
    assert evaluation.scores["none"].deduplicated is None


def test_copies_of_everything_leave_no_deduplicated_score(store, predict):
    faces = store.faces(np.arange(10))
    assert score(predict, faces, store.digests).scores["flip"].deduplicated is None


def test_a_digest_counts_only_as_a_whole():
    mine = np.array([[1, 2], [1, 3], [2, 2]], dtype=np.uint64)
    assert find_copies(mine, np.array([[1, 2], [2, 9]], dtype=np.uint64)).tolist() == [
        True,
        False,
        False,
    ]


def test_the_scores_do_not_depend_on_the_batch_size(store, predict):
    faces = store.faces(np.arange(60, 80))
    done = []
    small = score(predict, faces, NO_DIGESTS, batch_size=7, progress=lambda *at: done.append(at))
    assert done == [(7, 20), (14, 20), (20, 20)]
    large = score(predict, faces, NO_DIGESTS, batch_size=100)
    assert small.scores["flip"].official.confusion == large.scores["flip"].official.confusion
    assert np.allclose(small.probabilities["flip"], large.probabilities["flip"], atol=1e-6)


def test_files_give_the_evaluation_back_exactly(store, predict, make_run):
    run = make_run()
    evaluation = score(
        predict, store.faces(np.arange(60, 80)), store.digests[:40], ("none", "ten"), split="test"
    )
    evaluation.save(run)
    back = Evaluation.load(run, "test")
    assert back.scores == evaluation.scores
    assert back.to_dict() == evaluation.to_dict()
    for view in ("none", "ten"):
        assert np.array_equal(back.probabilities[view], evaluation.probabilities[view])
        assert back.probabilities[view].dtype == np.float32
    assert back.rows.tolist() == evaluation.rows.tolist()
    assert np.array_equal(back.labels, evaluation.labels)
    assert np.array_equal(back.copies, evaluation.copies)


def test_odd_row_names_and_extreme_probabilities_survive_the_file(make_store, make_run):
    store = make_store([2, 2, 2])
    store.rows[:] = ['a,"b"', "ü\n", "c d"]
    extremes = np.zeros((3, 7), dtype=np.float32)
    extremes[:, 0] = 1
    extremes[0, 1:4] = np.array([1e-45, 1 / 3 * 1e-7, 1.1754944e-38], dtype=np.float32)
    evaluation = score(lambda faces: extremes, store.faces(np.arange(3)), NO_DIGESTS, ("none",))
    evaluation.save(make_run())
    run = make_run("other")
    evaluation.save(run)
    back = Evaluation.load(run, "faces")
    assert np.array_equal(back.probabilities["none"], extremes)
    assert back.rows.tolist() == store.rows.tolist()


def test_json_says_what_was_scored(store, make_run, classifier):
    run = make_run()
    evaluate_run(run, store, "test", "flip", command="mien evaluate run --split test")
    content = json.loads(run.evaluation_path("test").read_text())
    assert content["data"] == {"source": "made up", "fingerprint": "f" * 64}
    assert content["command"] == "mien evaluate run --split test"
    assert content["counts"]["faces"] == 20
    assert content["counts"]["copies_in_training"] == 5
    assert sum(content["counts"]["per_expression"].values()) == 20
    assert list(content["views"]) == ["none", "flip"]
    official = content["views"]["none"]["official"]
    assert np.trace(official["confusion"]) / 20 == official["accuracy"]
    assert len(official["bins"]) == 15


def test_evaluate_run_follows_the_split_rule_of_the_recipe(store, make_run, classifier):
    official = make_run("official")
    assert len(evaluate_run(official, store, "validation")) == 20
    held = make_run("held", split={"holdout": 0.25, "seed": 1})
    validation = evaluate_run(held, store, "validation")
    assert validation.rows.tolist() != [f"row {i}" for i in range(40, 60)]
    assert validation.training_faces == 40 - len(validation)
    assert len(evaluate_run(held, store, "official-validation")) == 20


def test_training_faces_are_scored_as_they_are_and_not_as_copies(store, make_run, classifier):
    held = make_run("held", split={"holdout": 0.25, "seed": 1})
    evaluation = evaluate_run(held, store, "train")
    validation, trained = faces_to_score(held, store, "validation")
    assert evaluation.rows.tolist() == trained.rows.tolist()
    assert not set(evaluation.rows) & set(validation.rows)
    assert evaluation.scores["none"].deduplicated is None
    assert not evaluation.copies.any()


def test_copies_of_faces_that_were_held_out_are_no_copies(store, make_run):
    run = make_run(split={"holdout": 0.25, "seed": 1})
    validation, trained = faces_to_score(run, store, "validation")
    assert not set(validation.indices) & set(trained.indices)
    test, _ = faces_to_score(run, store, "test")
    expected = [i - 60 in set(trained.indices) for i in range(60, 65)] + [False] * 15
    assert find_copies(test.digests, trained.digests).tolist() == expected


def test_a_store_in_another_label_order_gets_the_same_scores(
    store, make_store, make_run, classifier
):
    alphabetical = tuple(sorted(SEVEN))
    labels = [alphabetical.index(SEVEN[label]) for label in store.labels]
    other = make_store(store.splits, labels, alphabetical, store.pixels)
    run = make_run()
    ours = evaluate_run(run, store, "test", "flip")
    theirs = evaluate_run(run, other, "test", "flip")
    assert theirs.expressions == SEVEN
    assert theirs.scores == ours.scores


def test_refuses_other_expressions(make_store, make_run, classifier):
    three = make_store([2] * 6, expressions=("happy", "sad", "bored"))
    with pytest.raises(InputError, match=r"bored.*trained on angry.*same set"):
        evaluate_run(make_run(), three, "test")


def test_refuses_an_empty_split_and_writes_nothing(make_store, make_run, classifier):
    run = make_run()
    with pytest.raises(InputError, match=r"made up: the test split is empty"):
        evaluate_run(run, make_store([0] * 10 + [1] * 5), "test")
    assert not list(run.path.glob("*test*"))


@pytest.mark.parametrize(("split", "tta"), [("tests", "none"), ("test", "fllip")])
def test_refuses_unknown_names(store, make_run, classifier, split, tta):
    with pytest.raises(InputError, match="did you mean"):
        evaluate_run(make_run(), store, split, tta)


def test_a_drawn_validation_split_is_refused_on_other_data(store, make_store, make_run, classifier):
    run = make_run(split={"holdout": 0.25, "seed": 1})
    other = make_store(store.splits, fingerprint="e" * 64)
    with pytest.raises(InputError, match="drew its validation faces from other data"):
        evaluate_run(run, other, "validation")
    scored = evaluate_run(run, other, "test")
    assert len(scored) == 20
    (told,) = (note for note in scored.notes if "other data" in note)
    assert "than the network was trained on, or these have changed since" in told
    assert not any("other data" in note for note in evaluate_run(run, store, "test").notes)


def test_refuses_a_predictor_that_does_not_fit(store):
    with pytest.raises(InputError, match=r"array of shape \(20, 3\)"):
        score(lambda faces: np.full((len(faces), 3), 1 / 3), store.faces(np.arange(20)), NO_DIGESTS)


def test_load_says_what_to_run_when_there_is_no_evaluation(make_run):
    with pytest.raises(InputError, match=r"mien evaluate .* --split test"):
        Evaluation.load(make_run(), "test")


def test_load_refuses_probabilities_that_are_not_the_evaluation_s(store, predict, make_run):
    run = make_run()
    score(predict, store.faces(np.arange(60, 80)), NO_DIGESTS, split="test").save(run)
    path = run.probabilities_path("test")
    path.write_text(path.read_text().replace("row 60", "row 61"))
    with pytest.raises(InputError, match="run `mien evaluate` again"):
        Evaluation.load(run, "test")
    path.unlink()
    with pytest.raises(InputError, match="missing"):
        Evaluation.load(run, "test")


def test_refuses_weights_of_another_label_set(store, make_run, classifier):
    classifier.expressions = ("happy", "sad")
    with pytest.raises(InputError, match=r"the weights know happy, sad"):
        evaluate_run(make_run(), store, "test")


def test_without_torch_the_message_says_what_to_install(store, make_run, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("mien.models")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"pip install 'mien\[train\]'"):
        evaluate_run(make_run(), store, "test")


@pytest.mark.parametrize("rule", [{}, {"holdout": "much", "seed": 0}, None])
def test_refuses_a_recipe_without_a_split_rule(store, make_run, rule):
    run = make_run()
    recipe = to_dict(run.recipe()) | {"split": rule}
    run.recipe_path.write_text(json.dumps(recipe))
    with pytest.raises(InputError, match=r"recipe\.json: .*split"):
        faces_to_score(run, store, "test")


def test_an_evaluation_reads_each_file_of_its_run_once(store, make_run, classifier, monkeypatch):
    run = make_run()
    run.best_weights.parent.mkdir()
    run.best_weights.write_bytes(b"weights")
    for name in ("pick_device", "import_own", "refuse_unknown"):
        monkeypatch.setattr(sys.modules["mien.models"], name, str, raising=False)
    read = Counter()
    plain_open = Path.open

    def counted(path, mode="r", *arguments, **options):
        read[path.name] += "r" in mode
        return plain_open(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", counted)
    evaluation = api.evaluate(run.path, store, "test")
    assert evaluation.weights == hashlib.sha256(b"weights").hexdigest()
    assert (run.path / "report.html").is_file()
    names = ["recipe.json", "environment.json", "history.csv", "weights.safetensors"]
    assert [read[name] for name in (*names, "evaluation-test.json")] == [1] * 5


def test_nothing_here_imports_torch():
    code = (
        "import sys, mien.evaluation, mien.pages.report, mien.evaluation.compare; "
        "heavy = {'torch', 'sklearn', 'matplotlib', 'jinja2', 'scipy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
