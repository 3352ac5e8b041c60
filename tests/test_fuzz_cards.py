"""Cards by chance: whatever is read can be written, and is read the same again; all else is one sentence."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mien.card import ModelCard
from mien.errors import InputError
from test_card import CARD

PLAIN = asdict(CARD)
PLACES = [(name,) for name in PLAIN] + [
    (name, inner) for name in ("input", "crop", "scores", "provenance") for inner in PLAIN[name]
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def check_refusal(error: InputError) -> None:
    """One sentence."""
    assert str(error).startswith("a file: its model card cannot be used (")
    assert "\n" not in str(error)


@settings(max_examples=int(os.environ.get("MIEN_EXAMPLES", "100")), deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), max_size=3))
@example([(("scores",), {"accuracy": float("nan")})])  # `serve` once ended in a traceback
@example([(("temperature",), float("inf"))])
@example([(("uncertain_below",), float("nan"))])
@example([(("expressions",), ["\ud800", "b"])])  # cannot be written as UTF-8
@example([(("input", "height"), 10**9)])
def test_what_is_read_can_be_written_and_read_again(changes):
    content = json.loads(json.dumps(PLAIN))
    for place, value in changes:
        inside = content
        for name in place[:-1]:
            inside = inside[name] if isinstance(inside, dict) and name in inside else {}
        if isinstance(inside, dict):
            inside[place[-1]] = value
    text = json.dumps(content)
    try:
        card = ModelCard.from_json(text, "a file")
    except InputError as error:
        check_refusal(error)
        return
    again = card.to_json()
    assert ModelCard.from_json(again.encode(), "a file").to_json() == again


@settings(max_examples=int(os.environ.get("MIEN_EXAMPLES", "100")), deadline=None)
@given(st.integers(0, len(CARD.to_json())), st.binary(max_size=4), st.integers(0, 6))
def test_bytes_in_a_card_are_read_or_refused(place, other, cut):
    text = CARD.to_json().encode()
    try:
        ModelCard.from_json(text[:place] + other + text[place + cut :], "a file")
    except InputError as error:
        check_refusal(error)
