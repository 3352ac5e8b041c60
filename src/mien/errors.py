"""What went wrong, where, and what to do about it.

Every mistake a user can make ends as a `MienError`: one sentence, no traceback.
The command line prints it and leaves with `exit_code`.
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: What a terminal acts on, what turns the direction of a line or breaks it, and bytes of names that are no text.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def visible(text: str, *, keep: str = "") -> str:
    r"""A text fit to be printed: what cannot be seen is written as its number, but for the letters in `keep`.

    Files, folders, labels and cards are named by whoever made them: a name may hold a line's end, or
    letters at which a terminal erases what it has shown.

    >>> print(visible("holiday\x1b[2J\n.jpg"))
    holiday\x1b[2J\n.jpg
    """
    return _HIDDEN.sub(
        lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode(),
        text,
    )


class MienError(Exception):
    """A failure whose message is one clear sentence: what, where, what to do."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(visible(message))


class InputError(MienError):
    """Something the user gave is wrong: a path, a file's content, a name, a value."""

    exit_code = 2


class OccupiedError(InputError):
    """One file cannot be written, for something else stands in its place; others can."""


class MissingExtraError(InputError):
    """A part of mien needs packages that were not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the '{extra}' extra: run  pip install 'mien[{extra}]'")
        self.extra = extra


def near_names(name: str, known: Iterable[str]) -> str:
    """A hint that lists the nearest known names, or all of them (a few of very many) where none is near.

    >>> near_names("basic-cn", ["basic-cnn", "four-block-cnn"])
    'did you mean basic-cnn?'
    >>> near_names("zebra", ["basic-cnn", "four-block-cnn"])
    'known: basic-cnn, four-block-cnn'
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {', '.join(near)}?"
    shown = names if len(names) <= 50 else [*names[:5], f"and {len(names) - 5:,} more"]
    return f"known: {', '.join(shown)}"


@contextmanager
def extra_required(extra: str, purpose: str) -> Iterator[None]:
    """Turn the ImportError of an optional package into one sentence with the install command."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "mien":
            raise
        raise MissingExtraError(extra, purpose) from error


def one_line(error: Exception) -> str:
    """A library's message, fit for a place in a sentence."""
    return " ".join(str(error).split()).rstrip(".:;") or type(error).__name__


@contextmanager
def reading_from(where: str) -> Iterator[None]:
    """Turn the operating system's refusals to read `where` into one sentence each."""
    try:
        yield
    except PermissionError as error:
        raise InputError(f"{where}: no permission to read; change its mode or owner") from error
    except FileNotFoundError as error:
        raise InputError(f"{where}: no such file or folder; check the path") from error
    except OSError as error:
        raise InputError(
            f"{where}: cannot be read ({error.strerror or one_line(error)}); download or copy it again"
        ) from error


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write below `path` into one sentence each."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"{path}: the disk is full; free some space or choose another folder"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise InputError(
                f"{path}: no permission to write; choose another folder or change its owner"
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise OccupiedError(f"{path}: a file stands where a folder is needed") from error
        if error.errno == errno.EISDIR:
            raise OccupiedError(f"{path}: a folder stands where a file is needed") from error
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); choose another place"
        ) from error
