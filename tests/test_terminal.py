"""Names are a stranger's: a terminal shows them, and acts on nothing that they hold."""

import io
import pickle

import pytest
from rich.text import Text

from mien.errors import InputError, visible
from mien.pages.render import filled
from mien.terminal import Terminal, named, table

#: Erases the screen; turns the direction; a line of its own; a byte that is no text.
EVIL = "a\x1b[2J\u202e\nerror: all is lost\udc80.jpg"
SHOWN = r"a\x1b[2J\u202e\nerror: all is lost\udc80.jpg"


@pytest.fixture
def screen():
    return io.StringIO()


@pytest.fixture
def terminal(screen):
    return Terminal(file=screen, force_terminal=True, color_system="standard", width=200)


def test_letters_that_cannot_be_seen_are_written_as_numbers_and_no_others():
    assert visible(EVIL) == SHOWN
    for ordinary in ("Zoë & 笑 \U0001f468\u200d\U0001f469.jpg", r"C:\new\x.jpg", SHOWN):
        assert visible(ordinary) == ordinary
    assert visible("one\ntwo\x07", keep="\n") == "one\ntwo\\x07"


def test_an_error_is_one_visible_sentence_in_another_process_too():
    error = InputError(f"{EVIL}: no picture")
    assert str(error) == f"{SHOWN}: no picture"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 (just made here)


def test_a_cell_and_a_line_show_what_a_name_holds(terminal, screen):
    rows = table("picture", "expression")
    rows.add_row(named(EVIL), "happy")
    rows.add_row(Text("b\x1b[2J.jpg"), "[red]sad")
    terminal.print(rows)
    terminal.print("\x1b[2Jtold", style="red")
    said = screen.getvalue()
    assert "\x1b[2J" not in said
    assert SHOWN in said
    assert r"b\x1b[2J.jpg" in said
    assert "\x1b[31m" in said  # its own colours still work


def test_a_page_shows_what_a_name_holds(tmp_path, monkeypatch):
    jinja2 = pytest.importorskip("jinja2")
    monkeypatch.setattr(
        jinja2, "PackageLoader", lambda _: jinja2.DictLoader({"page": "{{ name }}, {{ count }}"})
    )
    assert filled("page", name="<b>\x1b\u202e", count=3) == r"&lt;b&gt;\x1b\u202e, 3"
