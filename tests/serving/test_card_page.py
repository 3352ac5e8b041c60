"""The model's card for people: served, exported with the site, that of the model which recognises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mien.cli import run
from mien.errors import InputError
from mien.recognise.naming import Packaged, packaged
from mien.serving.card_page import read_card_page

PAGE = b"<!doctype html><title>Model card: mine</title><style>p { color: red }</style>"


def test_a_card_is_served_with_its_own_style_and_nothing_else(serve: Any) -> None:
    service = serve(card=PAGE)
    assert service.client.get("/v1/model").json()["card_page"] == "card.html"
    answer = service.client.get("/card.html")
    assert answer.content == PAGE
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "style-src 'unsafe-inline'" in policy
    assert "script" not in policy


def test_a_model_without_a_card_page_has_none(service: Any) -> None:
    assert service.client.get("/v1/model").json()["card_page"] is None
    assert service.client.get("/card.html").status_code == 404


@pytest.mark.parametrize("one", packaged(), ids=lambda one: one.name)
def test_a_card_in_the_package_is_that_of_its_model(one: Packaged) -> None:
    content = read_card_page(None, bundled=one.stem)
    assert content is not None
    page = content.decode()
    card = one.card
    assert f"<title>Model card: {card.name}</title>" in page
    accuracy = card.scores["test_of_the_run"]["official_accuracy"]
    assert f"{100 * accuracy:.2f} %" in page
    assert read_card_page(None, bundled=None) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"# Model card: mine", "not an HTML page"),
        (b"<!doctype html>" + bytes(5_000_000), "larger than any card"),
    ],
)
@pytest.mark.parametrize("command", [["serve"], ["export-web", "--out", "site"]])
def test_what_is_no_card_is_refused(
    tmp_path: Path, capsys: Any, command: list[str], content: bytes | None, words: str
) -> None:
    file = tmp_path / "card.html"
    if content is not None:
        file.write_bytes(content)
    assert run([*command, "--card", str(file)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    with pytest.raises(InputError, match=r"card\.html"):
        read_card_page(file, bundled="default")
