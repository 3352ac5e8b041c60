"""The model card: the same after a way through JSON; one sentence for anything malformed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from mien.card import CropRule, Limits, ModelCard
from mien.errors import InputError
from mien.input_spec import InputSpec

CARD = ModelCard(
    name="größer",
    expressions=("calm", "tense", "laughing"),
    input=InputSpec(3, 40, 56, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3)),
    crop=CropRule(margin=0.15, shift_y=-0.05, align=True),
    digest="0123456789abcdef" * 4,
    temperature=1.7722901105880737,
    uncertain_below=0.4541679322719574,
    uncertain_beyond=Limits(
        size=14, spread=5.5, detail=0.06, noise=3.5, turn=40, detection_score=0.75
    ),
    licence="CC0",
    provenance={"recipe": {"seed": 3}, "data": None},
    scores={"validation": {"accuracy": 0.61}},
    parity={"float32": {"logits": 1e-5}},
)


def test_a_card_is_the_same_after_a_way_through_json():
    assert ModelCard.from_json(CARD.to_json(), "x") == CARD
    assert ModelCard.from_json(CARD.to_json().encode(), "x") == CARD


def test_a_card_of_an_earlier_version_has_no_limits():
    content = asdict(CARD)
    del content["uncertain_beyond"]
    assert ModelCard.from_json(json.dumps(content), "x") == replace(CARD, uncertain_beyond=Limits())


@pytest.mark.parametrize("limits", [{"size": -1}, {"turn": 181}, {"spread": "dark"}, {"other": 1}])
def test_limits_that_cannot_be_are_refused(limits):
    assert "uncertain_beyond." in refused(json.dumps(asdict(CARD) | {"uncertain_beyond": limits}))


def test_the_text_does_not_depend_on_the_order_in_which_facts_were_gathered():
    turned = replace(CARD, provenance=dict(reversed(CARD.provenance.items())))
    assert turned.to_json() == CARD.to_json()


def test_a_card_that_json_cannot_hold_is_not_written():
    with pytest.raises(ValueError, match="JSON"):
        replace(CARD, scores={"accuracy": float("nan")}).to_json()


def refused(text):
    with pytest.raises(InputError) as caught:
        ModelCard.from_json(text, "face.onnx")
    message = str(caught.value)
    assert message.startswith("face.onnx: its model card cannot be used (")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["name", "expressions", "input", "crop", "digest"])
def test_a_missing_field_is_named(name):
    content = asdict(CARD)
    del content[name]
    assert f"{name}: " in refused(json.dumps(content))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "", "name"),
        ("expressions", ["calm"], "two or more different names"),
        ("expressions", ["calm", "calm"], "two or more different names"),
        ("expressions", ["calm", " "], "two or more different names"),
        ("expressions", "calm,tense", "expressions"),
        ("temperature", 0, "temperature"),
        ("temperature", "warm", "temperature"),
        ("uncertain_below", 1.01, "uncertain_below"),
        ("digest", "0123456789ABCDEF" * 4, "digest"),
        ("digest", "0123456789abcdef" * 4 + "\n", "digest"),
        ("format", 2, "format 2, this version of mien reads 1"),
        ("input", {**asdict(CARD.input), "channels": 2}, "1 or 3 channels"),
        ("input", {**asdict(CARD.input), "std": [0.2, 0.0, 0.2]}, "std above 0"),
        ("input", {**asdict(CARD.input), "mean": []}, "3 values"),
        ("input", {**asdict(CARD.input), "height": 0}, "at least 1 pixel"),
        ("input", {**asdict(CARD.input), "width": 100_000}, "1024 pixels"),
        ("crop", {**asdict(CARD.crop), "margin": -0.5}, "crop.margin"),
        ("crop", {**asdict(CARD.crop), "turn": True}, "crop.turn"),
        ("provenance", [], "provenance"),
        ("colour", "red", "colour"),
    ],
)
def test_a_malformed_field_is_named(field, value, said):
    assert said in refused(json.dumps({**asdict(CARD), field: value}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        b"\xff\xfe",
        "[" * 100_000,
        CARD.to_json().replace("1.7722901105880737", "NaN"),
        CARD.to_json().replace("1.7722901105880737", "1e999"),
        CARD.to_json().replace("0.15", "Infinity"),
    ],
    ids=["empty", "null", "list", "cut", "not UTF-8", "deep", "NaN", "overflow", "infinite"],
)
def test_what_is_no_card_at_all_is_refused(text):
    refused(text)
