"""The same blocks as HTML, as Markdown and in the terminal."""

from __future__ import annotations

import io

import pytest

from mien.pages import blocks
from mien.pages.render import as_markdown, as_terminal, write
from mien.terminal import Terminal

EVIL = "<script>alert(1)</script>|\x1b[2J"


def every_block(name):
    """A page that has each kind of block, whose every name is `name`."""
    faces = [blocks.Pictured("data:,", name, name, name, name, [name], "data:,")]
    return blocks.Page(
        name,
        [
            blocks.Headline(name, name, [blocks.Text(name), blocks.Facts([(name, name)])]),
            blocks.Tiles([(name, name, name), (name, name, "")]),
            *blocks.section(name, blocks.Table([name, "figure"], [[name, "1"]]), said=name),
            blocks.Grouped(
                [name, "figure", "ours"],
                [blocks.Group(name, name, name, "good", [[name, "2"], [name, "3"]], [name])],
                "ours",
                "3",
            ),
            blocks.Columns([blocks.Card([blocks.Heading(name, 3), blocks.Prose(name)])]),
            blocks.Drawing("", name, name, "wide"),
            blocks.Gallery(faces),
            *blocks.commands([name, None, "", name]),
        ],
        name,
    )


@pytest.fixture
def written(tmp_path):
    return lambda page: write(page, tmp_path / "page.html").read_text(encoding="utf-8")


def test_html_shows_every_name_letter_by_letter(written):
    body = written(every_block(EVIL)).partition("<body>")[2]
    assert "<script" not in body
    assert "\x1b" not in body
    assert body.count("&lt;script&gt;alert(1)&lt;/script&gt;|\\x1b[2J") > 20


def test_html_repeats_no_command_and_leaves_out_those_that_nobody_knows(written):
    assert written(every_block("mien train")).count("<pre>mien train</pre>") == 1


def test_marks_are_those_of_marked_text_alone(written):
    said = "give `a.csv` to **two** of <b>"
    page = written(blocks.Page("t", [blocks.Text(said), blocks.Text(said, marked=True)]))
    assert "<p>give `a.csv` to **two** of &lt;b&gt;</p>" in page
    assert "<p>give <code>a.csv</code> to <b>two</b> of &lt;b&gt;</p>" in page


def test_figures_stand_to_the_right_and_words_to_the_left(written):
    page = written(blocks.Page("t", [blocks.Table(["a", "b", "c"], [["x", "y", "1"]], words=2)]))
    assert '<th scope="row">x</th><td>y</td><td class="number">1</td>' in page
    assert '<th scope="col">b</th><th scope="col" class="number">c</th>' in page


def test_a_group_has_its_name_once_beside_all_of_its_rows(written):
    page = written(every_block("name"))
    assert page.count('<th scope="rowgroup" rowspan="3">name') == 1
    assert '<td colspan="2" class="remark">name</td>' in page
    assert '<td class="number bold">2</td>' in page
    assert '<td class="number bold good">3</td>' in page


def test_a_section_without_anything_in_it_is_left_out():
    empty = [blocks.Table(["a"], []), blocks.Facts([]), blocks.Card([]), blocks.Commands([])]
    assert blocks.section("nothing", *empty, said="told") == []
    heading, said, facts = blocks.section("some", *empty, blocks.Facts([("a", "b")]), said="told")
    assert (heading, said.text) == (blocks.Heading("some"), "told")
    assert facts.rows == [("a", "b")]


def test_markdown_has_the_same_rows():
    assert as_markdown(every_block("a|b")) == (
        "# a|b\n\na|b\n\n**a|b** a|b\n\na|b\n\n- a|b: a|b\n\n- a|b: a|b, a|b\n- a|b: a|b\n\n"
        "## a|b\n\na|b\n\n| a/b | figure |\n|---|---:|\n| a/b | 1 |\n\n"
        "| a/b | figure | ours | how |\n|---|---|---:|---:|\n"
        "| `a/b` (a/b) | a/b | 2 | a/b: a/b |\n|  | a/b | 3 |  |\n\n"
        "### a|b\n\na|b\n\n![a|b](a|b.png)\n\n## How this was made\n\n```text\na|b\n```\n"
    )


def test_a_file_of_that_suffix_is_markdown(tmp_path):
    page = every_block("name")
    text = write(page, tmp_path / "page.md").read_text(encoding="utf-8")
    assert text == as_markdown(page)


def test_the_terminal_shows_tables_facts_and_text():
    screen = io.StringIO()
    rows = [["happy", "yes", "1"], [], ["sad", "no", "12"]]
    table = blocks.Table(["name", "known", "n"], rows, words=2, title="above", caption="below")
    shown = as_terminal(table, blocks.Heading("head"), blocks.Facts([("[red]a", EVIL)]))
    Terminal(file=screen, width=60).print(shown)
    lines = [line.strip() for line in screen.getvalue().splitlines()]
    assert lines[0] == "above"
    assert "happy   yes      1" in lines
    assert lines.index("sad     no      12") == lines.index("happy   yes      1") + 2
    assert "below" in lines
    assert "head" in lines
    assert any(line.startswith("[red]a") and "\\x1b[2J" in line for line in lines)


def test_the_terminal_refuses_what_it_has_no_room_for():
    with pytest.raises(TypeError, match="a Gallery is for pages"):
        as_terminal(blocks.Gallery([]))
