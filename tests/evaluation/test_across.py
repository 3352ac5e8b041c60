"""Scores on data that a network never saw: shared expressions, its own answers, what is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.card import CropRule, ModelCard
from mien.data.build import fingerprint
from mien.errors import InputError
from mien.evaluation import Evaluation, Subject, ensemble
from mien.evaluation.across import name_of
from mien.evaluation.metrics import compute_scores
from mien.expressions import SEVEN
from mien.input_spec import InputSpec
from mien.pages import render_table, write_report

CLASSES = ("bored", "grin", "happy", "mad", "sad")
MAPPING = {"grin": "happy", "mad": "angry", "bored": None}


@pytest.fixture
def others(make_store):
    """60 faces in no split of five classes, one of them shared by name, two by mapping."""
    return make_store(
        [0] * 60, expressions=CLASSES, fingerprint="e" * 64, source="/photos/My Faces"
    )


def card(trained_on="f" * 64):
    return ModelCard(
        name="made-up",
        expressions=SEVEN,
        input=InputSpec(),
        crop=CropRule(),
        digest="0" * 64,
        provenance={
            "recipe": {"split": {"holdout": None, "seed": 0}},
            "data": {"fingerprint": trained_on},
        },
    )


def subject(predict, store, split=None, mapping=None, **of_card):
    return Subject.of_model(card(**of_card), predict, store, split, "model.onnx", mapping)


def test_scores_are_over_the_shared_expressions(others, predict):
    found = subject(predict, others, mapping=MAPPING).evaluated("flip")
    # By hand: the labels of our names, the three columns, made to sum to 1.
    names = np.array(CLASSES)[others.labels]
    kept = names != "bored"
    shared = ("angry", "happy", "sad")
    labels = np.array(
        [shared.index({"grin": "happy", "mad": "angry"}.get(n, n)) for n in names[kept]]
    )
    whole = predict(others.pixels[kept])
    columns = whole[:, [SEVEN.index(name) for name in shared]]
    expected = compute_scores(columns / columns.sum(axis=1, keepdims=True), labels)
    assert found.expressions == shared
    assert found.labels.tolist() == labels.tolist()
    official = found.scores["none"].official
    assert official.accuracy == expected.accuracy
    assert official.confusion == expected.confusion
    assert official.cross_entropy == pytest.approx(expected.cross_entropy)
    across = found.across
    assert across.left_out == {"bored": int((~kept).sum())}
    assert across.split == "all"
    right = whole.argmax(1) == np.array([SEVEN.index(shared[label]) for label in labels])
    own = across.own_answers["none"]
    assert own.accuracy == right.mean()
    assert own.elsewhere == (~np.isin(whole.argmax(1), [SEVEN.index(n) for n in shared])).mean()
    assert official.accuracy >= own.accuracy  # a right answer stays right among fewer


def test_what_is_written_states_the_mapping_and_is_read_again(others, predict, make_run):
    run = make_run()
    found = subject(predict, others, mapping=MAPPING).evaluated()
    found.save(run)
    again = Evaluation.load(run, "across-my-faces")
    assert again.across == found.across
    assert again.scores == found.scores
    assert again.expressions == ("angry", "happy", "sad")
    page = write_report(run).read_text(encoding="utf-8")
    assert "Other data: My Faces" in page
    assert "Read as: grin = happy, mad = angry." in page
    assert "Left out: 12 of bored." in page


def test_the_table_says_both(others, predict, capsys):
    from rich.console import Console

    Console(width=80).print(render_table(subject(predict, others, mapping=MAPPING).evaluated()))
    said = capsys.readouterr().out
    assert "its own answers, of all 7" in said
    assert "Left out: 12 of bored." in said


def test_a_subset_by_name_needs_no_map(make_store, predict):
    store = make_store([0] * 30, labels=np.arange(30) % 3, fingerprint="e" * 64)
    found = subject(predict, store).evaluated()
    assert found.expressions == SEVEN[:3]
    assert found.across.left_out == {}


def test_other_data_with_splits_and_every_class_are_scored_as_ever(make_store, predict):
    store = make_store([0] * 14 + [1] * 14 + [2] * 14, fingerprint="e" * 64)
    found = subject(predict, store).evaluated()
    assert (found.across, found.split, len(found)) == (None, "validation", 14)
    assert len(subject(predict, store, "test").evaluated()) == 14
    every = subject(predict, store, "all").evaluated()
    assert len(every) == 42
    own = every.across.own_answers["none"]
    assert own.accuracy == every.scores["none"].official.accuracy
    assert own.elsewhere == 0


def test_a_class_without_a_face_needs_no_map(make_store, predict):
    store = make_store(
        [0] * 30,
        labels=np.arange(30) % 2,
        expressions=("happy", "sad", "odd"),
        fingerprint="e" * 64,
    )
    assert subject(predict, store).evaluated().expressions == ("happy", "sad")


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        (None, '--map "bored=,grin=,mad="'),
        ({"grin": "happy", "mad": "happy", "sad": None, "bored": None}, "fewer than two"),
    ],
)
def test_what_cannot_be_scored_is_refused(others, predict, mapping, words):
    with pytest.raises(InputError, match=words):
        subject(predict, others, mapping=mapping)


def test_all_of_the_training_s_data_is_no_test(make_store, predict):
    store = make_store([0] * 14 + [2] * 14)
    with pytest.raises(InputError, match="no fair test"):
        subject(predict, store, "all")


def test_training_faces_may_be_read_by_a_map_too(make_store, predict):
    """Of the data it was trained on, copies are still looked for."""
    store = make_store([0] * 28 + [1] * 14 + [2] * 14)
    found = subject(predict, store, "test", {"disgust": None}).evaluated()
    assert (len(found), found.training_faces, found.across.split) == (12, 28, "test")
    assert "disgust" not in found.expressions


#: The seven with the labels that class folders give, which are in alphabetical order, and by numbers.
OTHERWISE = {
    "by name": (tuple(sorted(SEVEN)), {"disgust": None}, "test"),
    "by name, without a map": (tuple(sorted(SEVEN)), None, None),
    "by number": (tuple("0123456"), dict(zip("0123456", SEVEN, strict=True)), None),
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_training_faces_are_known_under_other_names_and_in_another_order(case, make_store, predict):
    names, mapping, across = OTHERWISE[case]
    trained = make_store([0] * 28 + [1] * 14 + [2] * 14)
    own = fingerprint(trained.labels, trained.splits, trained.digests, SEVEN)
    meant = [(mapping or {}).get(name) or name for name in names]
    labels = [meant.index(SEVEN[label]) for label in trained.labels]
    store = replace(trained, labels=np.array(labels), expressions=names, fingerprint="e" * 64)

    found = subject(predict, store, "test", mapping, trained_on=own).evaluated()

    assert (found.training_faces, found.fingerprint) == (28, own)
    assert (found.across.split if found.across else None) == across
    assert not any("other data" in note for note in found.notes)
    assert len(subject(predict, store, None, mapping, trained_on=own).faces) in (12, 14)
    with pytest.raises(InputError, match="no fair test"):
        subject(predict, store, "all", mapping, trained_on=own)


def test_nothing_for_any_shared_expression_is_nothing_to_choose_by(make_store):
    store = make_store([0] * 20, labels=np.arange(20) % 2, fingerprint="e" * 64)

    def elsewhere(faces):
        return np.eye(7, dtype=np.float32)[np.full(len(faces), 6)]

    found = subject(elsewhere, store).evaluated()
    assert (found.probabilities["none"] == 0.5).all()
    assert found.across.own_answers["none"].elsewhere == 1


def test_ensembles_are_of_all_that_networks_know(others, predict):
    found = subject(predict, others, mapping=MAPPING).evaluated()
    with pytest.raises(InputError, match="leave --ensemble out"):
        ensemble([found, replace(found)])


@pytest.mark.parametrize(
    ("source", "name"), [("/a/My Faces.zip", "across-my-faces.zip"), ("/", "across-data")]
)
def test_the_name_of_an_evaluation_is_one_of_a_file(source, name):
    assert name_of(source) == name
