"""The command line: parse, call a function of `mien.api`, print.

Exit status: 0 done, 1 failed, 2 wrong usage or input, 130 stopped by Ctrl-C, 129 and 143 by SIGHUP or SIGTERM.
"""

from __future__ import annotations

import io
import itertools
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from mien.cli import (
    data,
    doctor,
    evaluate,
    export,
    predict,
    serve,
    studies,
    sweep,
    train,
)
from mien.errors import InputError, MienError
from mien.terminal import note
from mien.version import __version__

app = typer.Typer(
    name="mien",
    help="Facial expression recognition that you can train, trust and take anywhere.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(predict.app)
app.add_typer(train.app)
app.add_typer(evaluate.app)
app.add_typer(export.app)
app.add_typer(serve.app)
app.add_typer(studies.app)
app.add_typer(sweep.app)
app.add_typer(data.app, name="data")
app.add_typer(doctor.app)

#: The exit status after Ctrl-C; and the other signals that stop a command, as far as the system has them.
_INTERRUPTED = 130
_STOPS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mien {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line, then exit with its status.

    Args:
        arguments: without the program's name; by default those of this process.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Characters that the terminal's encoding lacks are printed as escapes, not as a traceback.
            stream.reconfigure(errors="backslashreplace")
    with _stopped_like_ctrl_c() as came:
        status = run(sys.argv[1:] if arguments is None else arguments)
    if came and status == _INTERRUPTED:
        sys.stdout.flush()
        signal.raise_signal(came[0])  # who started this process sees which signal ended it
    sys.exit(status)


@contextmanager
def _stopped_like_ctrl_c() -> Iterator[list[int]]:
    """In this block, SIGTERM and SIGHUP end a command as Ctrl-C does, so that nothing half-written stays.

    Signals that are ignored (nohup) or handled already stay so.

    Yields:
        The numbers of the signals that came.
    """
    came: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    ours = [number for number in _STOPS if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield came
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def run(arguments: Sequence[str]) -> int:
    """Run a command line, and return its exit status. A user's mistake prints one sentence, never a traceback."""
    try:
        _refuse_empty(arguments)
        app(list(arguments), prog_name="mien")
    except MienError as error:
        if str(error):  # empty in a distributed training if another process prints the message
            note(f"error: {error}")
        return error.exit_code
    # Typer raises it at the end, also for wrong usage (2) and Ctrl-C (130).
    except SystemExit as leaving:
        if leaving.code == InputError.exit_code and list(arguments[:1]) == ["train"]:
            note(
                "any field of a recipe can be changed: --set FIELD=VALUE; see mien recipes RECIPE"
                if any(argument.startswith("-") for argument in arguments[1:])
                else "give one recipe: `mien recipes` lists them"
            )
        return leaving.code if isinstance(leaving.code, int) else 1
    return 0


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse an empty argument, which as a path would be the current folder: `--out "$UNSET"`.

    Raises:
        InputError: there is one.
    """
    for before, argument in itertools.pairwise(["mien", *arguments]):
        named = argument or f"{before} ''"
        if not argument or re.fullmatch("--[a-z0-9-]+=", argument):
            raise InputError(f"{named}: an empty value; give one, or set the variable in its place")
