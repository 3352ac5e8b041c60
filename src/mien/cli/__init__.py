"""The command line: parse, call a verb, print. Exit status 0, 1 failed, 2 usage or input, 130/143 signals."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import click
import typer

import mien
from mien.cli import data, doctor, train
from mien.cli.output import note
from mien.errors import MienError

app = typer.Typer(
    name="mien",
    help="Facial expression recognition that you can train, trust and take anywhere.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(train.app)
app.add_typer(data.app, name="data")
app.add_typer(doctor.app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mien {mien.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and leave with its exit status."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run a command line; the exit status. What a user did wrong is one sentence, never a traceback."""
    try:
        status = app(list(arguments), prog_name="mien", standalone_mode=False)
    except MienError as error:
        note(f"error: {error}")
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        note("stopped")
        return 130
    except BrokenPipeError:  # the reader of a pipe left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status if isinstance(status, int) else 0
