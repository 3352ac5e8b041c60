"""Corruptions are functions of seed and face, worse by severity; figures are what can be worked out by hand."""

from __future__ import annotations

import io
import itertools
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from rich.console import Console

from mien.card import CropRule, Limits, ModelCard
from mien.data import load
from mien.data.ferplus import CHOICES, Votes
from mien.evaluation import robustness as robustness_of
from mien.evaluation.corruptions import CORRUPTIONS, SEVERITIES
from mien.evaluation.evaluate import Subject
from mien.evaluation.robustness import Figures, Robustness, evaluate_corrupted, reference_for
from mien.input_spec import InputSpec
from mien.pages.robustness import render_robustness, write_robustness_page
from mien.recognise.doubt import sure_of_crops

NAMES = [item.name for item in CORRUPTIONS]


@pytest.fixture(scope="module")
def store():
    return load("synthetic:70")


def distance(one, other):
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=NAMES)
def test_the_same_seed_and_face_give_the_same_picture_and_others_another(corruption, store):
    face, digest = store.pixels[0], store.digests[0]
    first = corruption(face, 3, digest)
    assert (first.shape, first.dtype) == (face.shape, np.uint8)
    assert (first == corruption(face.copy(), 3, digest.copy())).all()
    drawn = {corruption(face, 3, digest, seed).tobytes() for seed in range(6)}
    elsewhere = {corruption(face, 3, other).tobytes() for other in store.digests[:6]}
    fixed = {"blur", "jpeg", "brighter", "darker", "contrast", "low-resolution"}
    assert (len(drawn) == 1, len(elsewhere) == 1) == (corruption.name in fixed,) * 2


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=NAMES)
def test_every_severity_takes_a_face_further_from_what_it_was(corruption, store):
    by_severity = [
        np.mean(
            [
                distance(store.pixels[n], corruption(store.pixels[n], severity, store.digests[n]))
                for n in range(20)
            ]
        )
        for severity in SEVERITIES
    ]
    assert by_severity[0] > 0
    assert all(later > earlier for earlier, later in itertools.pairwise(by_severity))


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=NAMES)
def test_colour_and_other_sizes_are_kept(corruption, store):
    gray = store.pixels[0][0]
    for face in (np.stack([gray, gray // 2, 255 - gray]), gray[None, :30, :41]):
        changed = corruption(np.ascontiguousarray(face), 5, store.digests[0])
        assert changed.shape == face.shape
        assert not (changed == face).all()


def test_figures_are_those_of_scoring_the_worse_faces_by_hand(make_store, predict):
    generator = np.random.default_rng(3)
    pixels = generator.integers(0, 256, (40, 1, 12, 12), dtype=np.uint8)
    store = make_store([1] * 40, pixels=pixels)
    faces = store.faces(np.arange(40))
    chosen = CORRUPTIONS[:2]

    found = evaluate_corrupted(
        Subject(predict, faces, store.faces(faces.indices[:0]), "validation", "w"),
        "net",
        corruptions=chosen,
    )

    assert found.clean.accuracy == (predict(pixels).argmax(axis=1) == store.labels).mean()
    for corruption in chosen:
        for severity in SEVERITIES:
            worse = np.stack(
                [
                    corruption(*both, seed=0)
                    for both in zip(pixels, [severity] * 40, store.digests, strict=True)
                ]
            )
            right = predict(worse).argmax(axis=1) == store.labels
            assert found.corrupted[corruption.name][severity - 1].accuracy == right.mean()


def test_votes_judge_faces_that_have_a_majority_and_sure_answers_are_counted(make_store, predict):
    pixels = np.random.default_rng(3).integers(0, 256, (60, 1, 12, 12), dtype=np.uint8)
    pixels[:20] //= 16
    store = replace(
        make_store([1] * 60, labels=[3] * 40 + [0] * 20, pixels=pixels),
        rows=np.arange(60).astype(str),
    )
    said = np.zeros((60, len(CHOICES)), np.uint8)
    said[:50, 3] = 10
    said[50:, [1, 2]] = 5
    votes = Votes(said, np.arange(60), np.ones(60, np.uint8), np.ones(60, bool), "votes.csv")
    below = float(np.median(predict(pixels[20:50]).max(axis=1)))
    card = ModelCard(
        name="net",
        crop=CropRule(),
        expressions=store.expressions,
        input=InputSpec(),
        digest="0" * 64,
        uncertain_below=below,
        uncertain_beyond=Limits(spread=20.0),
    )
    faces = store.faces(np.arange(60))
    (corruption,) = (one for one in CORRUPTIONS if one.name == "darker")

    found = evaluate_corrupted(
        Subject(
            predict,
            faces,
            store.faces(faces.indices[:0]),
            "validation",
            "w",
            is_sure=partial(sure_of_crops, card),
        ),
        "net",
        votes=votes,
        corruptions=(corruption,),
    )

    assert (found.faces, found.judge, found.file_name) == (
        50,
        "votes",
        "corruptions-validation-votes",
    )
    probabilities = predict(pixels[:50])
    right = probabilities.argmax(axis=1) == 3
    sure = (probabilities.max(axis=1) >= below) & (np.arange(50) >= 20)
    assert 0 < sure.sum() < 30
    assert found.clean.accuracy == right.mean()
    assert found.clean.sure == sure.mean()
    assert found.clean.sure_accuracy == right[sure].mean()
    assert found.corrupted["darker"][-1].sure == 0
    assert found.corrupted["darker"][-1].sure_accuracy is None
    assert Robustness.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert not found.comparable(replace(found, judge="labels"))
    console = Console(file=io.StringIO(), width=140)
    console.print(render_robustness(found))
    assert "Sure answers" in console.file.getvalue()


def made_up(accuracies, clean=0.6, **fields):
    corrupted = {
        "blur": tuple(Figures(a, 0.1) for a in accuracies),
        "jpeg": tuple(Figures(0.5, 0.2) for _ in SEVERITIES),
    }
    content = {
        "name": "net", "split": "validation", "faces": 10, "source": "x", "fingerprint": "f", "seed": 0,
        "clean": Figures(clean, 0.05), "corrupted": corrupted,
    }  # fmt: skip
    return Robustness(**content | fields)


def test_mean_corruption_error_is_that_of_hendrycks_and_dietterich(monkeypatch, tmp_path):
    ours, reference = (
        made_up([0.5, 0.4, 0.3, 0.2, 0.1]),
        made_up([0.4, 0.3, 0.2, 0.1, 0.0], name="reference"),
    )
    # blur: (0.5 + 0.6 + 0.7 + 0.8 + 0.9) / (0.6 + 0.7 + 0.8 + 0.9 + 1.0); jpeg: the same.
    assert ours.corruption_error("blur", reference) == pytest.approx(3.5 / 4)
    assert ours.mean_corruption_error(reference) == pytest.approx((3.5 / 4 + 1) / 2)
    assert reference.mean_corruption_error(reference) == pytest.approx(1)
    assert ours.relative_loss("blur") == pytest.approx(0.5)
    assert ours.mean_calibration_error == pytest.approx(0.15)
    assert Robustness.from_dict(json.loads(json.dumps(ours.to_dict()))) == ours

    monkeypatch.setattr("mien.evaluation.robustness.reference_for", lambda _: reference)
    monkeypatch.setattr("mien.pages.robustness.reference_for", lambda _: reference)
    assert ours.to_dict()["mean_corruption_error"] == pytest.approx((3.5 / 4 + 1) / 2)
    page = write_robustness_page(ours, tmp_path).read_text()
    assert "93.8 %" in page
    assert "88 %" in page
    assert render_robustness(ours).renderables[0].row_count == 2


def test_the_reference_counts_for_the_same_faces_alone(monkeypatch):
    found = reference_for(made_up([0.5] * 5))
    assert found is None
    shipped = robustness_of.shipped_reference()
    assert list(shipped.corrupted) == NAMES
    assert reference_for(shipped) == shipped
