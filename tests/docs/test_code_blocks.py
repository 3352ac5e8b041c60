"""Every code block of README.md and docs/ does what it says, or says why it is not run: see blocks.py."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import world
from blocks import PAGES, ROOT, Block, blocks_of, words
from typer.exceptions import TyperException

import mien.cli

#: Pages whose commands are a record of what was measured, and why they are not run.
RECORDS = {
    "docs/results.md": "a record: FER-2013 and hours of training for each figure",
    "docs/reliability.md": "a record: benchmarks that kill trainings for minutes; tests/training does so in little",
    "docs/scale.md": "clusters, buckets, eight GPUs; tests/predict_on_ray and tests/studies run the same in little",
    "docs/serving.md": "clients of a service that runs; tests/serving asks it the same",
    "docs/why-it-overfits.md": "a record: FER-2013 and five hours",
}
#: Pages that train, look through films or build every network, which takes longer than a few seconds.
SLOW = {
    "README.md",
    "docs/data-audit.md",
    "docs/gallery.md",
    "docs/how-to/add-a-detector.md",
    "docs/how-to/add-a-network.md",
    "docs/how-to/add-a-reader.md",
    "docs/how-to/add-a-recipe.md",
    "docs/how-to/add-a-tracker.md",
    "docs/how-to/add-an-augmentation.md",
    "docs/index.md",
    "docs/reference-systems.md",
    "docs/tour.md",
    "docs/tutorials/first-network.md",
    "docs/tutorials/to-a-phone-or-a-browser.md",
    "docs/tutorials/your-own-data.md",
}
#: Runs that a page speaks of and does not make.
RUNS = {"docs/tour.md": ("mine", "one", "two", "three")}
#: What no page has to explain.
TEXT = {"text", "html", "css", "http"}

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RUN = [page for page in PAGES if page not in RECORDS and any(b.is_run for b in blocks_of(page))]


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    world.make(folder)
    return folder


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * (page in SLOW)) for page in RUN]
)
def test_a_page_can_be_followed(page, given, tmp_path, monkeypatch):
    here = tmp_path / "here"
    shutil.copytree(given, here)
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(here)
    for number, name in enumerate(RUNS.get(page, ())):
        mine = ["epochs=1", f"seed={number}"]
        mien.train("basic-cnn", "PATH", here / "runs" / name, overrides=mine, device="cpu")
        mien.evaluate(here / "runs" / name, split="test", device="cpu")
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks_of(page):
        if block.title is not None:
            (here / block.title).write_text(block.source, encoding="utf-8")
        elif block.is_run and block.language == "python":
            _run_python(block, namespace)
        elif block.is_run and block.language == "sh":
            for command in block.commands:
                if not block.left_out(command):
                    _run_command(command, f"{block}: {command}")


def _run_python(block: Block, namespace: dict[str, object]) -> None:
    source = "\n" * block.line + block.source  # errors then name the page's line
    exec(compile(source, str(PAGES[block.page]), "exec"), namespace)  # noqa: S102


def _run_command(command: str, where: str) -> None:
    program, *arguments = words(command)
    if program == "mien":
        assert mien.cli.run(arguments) == 0, where
    elif program == "python":
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, f"{where}\n{done.stderr}"
    elif program == "pip":
        assert arguments[0] == "install", where
        for name in arguments[1:]:
            _check_extras(name, where)
    elif program == "make":
        targets = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert f"\n{arguments[0]}:" in targets, where
    else:
        pytest.fail(f"{where}: say how to run {program}, or why it is not run")


def _check_extras(name: str, where: str) -> None:
    """Of `.[train,serve]`: the project has these extras."""
    asked = name.partition("[")[2].rstrip("]")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = project["optional-dependencies"]
    assert name.startswith((".", "mien[", "-")) or not asked, where
    assert set(filter(None, asked.split(","))) <= known.keys(), where


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.page not in RECORDS and b.reason], ids=str
)
def test_what_is_not_run_says_why(block):
    """Listed at the end of each test run, as skipped."""
    assert len(block.reason.split()) >= 3, f"{block}: {block.reason!r} is no reason"
    for start in block.but:
        assert any(line.startswith(start) for line in block.commands), f"{block}: no line {start!r}"
    pytest.skip(f"{block}: {block.reason}")


@pytest.mark.parametrize("page", RECORDS)
def test_a_page_of_records_is_there(page):
    assert page in PAGES
    pytest.skip(f"{page}: {RECORDS[page]}")


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_known_kind(page):
    for block in blocks_of(page):
        if block.language == "json":
            json.loads(block.source)
        elif block.language == "toml":
            tomllib.loads(block.source)
        elif block.language == "python":
            compile(block.source, str(block), "exec")
        elif block.language not in {"sh", *TEXT}:
            # Without a language nobody knows whether it is to be run.
            assert page in RECORDS, f"{block}: say what it is: sh, python, text ..."


@pytest.fixture(scope="module")
def root() -> Any:
    """The command line, as Typer makes it: made once, it takes a while."""
    return typer.main.get_command(mien.cli.app)


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist_with_their_options(page, root):
    """Also those that are not run: parsed by the command line itself, and no further."""
    for block in blocks_of(page):
        if block.language in {"", "sh"}:
            for command in block.commands:
                if command.split()[0] == "mien" and "..." not in command:
                    _parse(root, words(command)[1:], f"{block}: {command}")


def _parse(command: Any, arguments: list[str], where: str) -> None:
    try:
        while hasattr(command, "commands"):
            assert arguments, where
            name, *arguments = arguments
            assert name in command.commands, f"{where}: there is no such command"
            command = command.commands[name]
        command.make_context("mien", list(arguments))
    except TyperException as error:
        pytest.fail(f"{where}: {error}")


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/how-to/")])
def test_a_how_to_is_one_short_file(page):
    (file,) = [block for block in blocks_of(page) if block.title is not None]
    assert len(file.source.splitlines()) < 60, f"{file}: not under 60 lines"
