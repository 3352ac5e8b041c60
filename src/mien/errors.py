"""Errors with messages for users: the fault, its place and the remedy.

Every mistake of a user becomes a `MienError`, whose message is one sentence. The command line prints it
without a traceback, and exits with `exit_code`.
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

#: Control characters of terminals, characters that change a line's direction or break it, and bytes of file names
#: that are not UTF-8.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)

#: Longer messages are shortened in the middle to so many characters of each end: longer than any path of a system.
_LONGEST, _KEPT = 8_000, 300


def visible(text: str, *, keep: str = "") -> str:
    r"""Replace invisible characters by escapes, except those in `keep`, so that a text can be printed.

    Names of files, folders, labels and cards come from others: one may have a line break, or control
    characters that erase text on a terminal.

    >>> print(visible("holiday\x1b[2J\n.jpg"))
    holiday\x1b[2J\n.jpg
    """
    return _HIDDEN.sub(
        lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode(),
        text,
    )


class MienError(Exception):
    """Base of mien's errors: the message is one sentence with the fault, its place and the remedy.

    >>> print(InputError("faces.csv: no such file; check the path"))
    faces.csv: no such file; check the path
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        message = visible(message)
        if len(message) > _LONGEST:  # it names a whole file's content, given in place of a path
            message = f"{message[:_KEPT]} ... {message[-_KEPT:]}"
        super().__init__(message)


class InputError(MienError):
    """An input of the user is wrong: a path, a file's content, a name or a value."""

    exit_code = 2


class OccupiedError(InputError):
    """One file cannot be written, because its path is occupied; other files are not affected."""


class MissingExtraError(InputError):
    """A part of mien needs packages that are not installed; the message has the command to install them."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the '{extra}' extra: run  {install_command(extra)}")
        self.extra = extra


def install_command(extra: str) -> str:
    """The command that installs an extra, as a user types it.

    >>> install_command("serve")
    "pip install 'mien[serve]'  (in a clone: '.[serve]')"
    """
    return f"pip install 'mien[{extra}]'  (in a clone: '.[{extra}]')"


def near_names(name: str, known: Iterable[str]) -> str:
    """A hint with the most similar known names; if none is similar, with all of them, or five of very many.

    >>> near_names("basic-cn", ["basic-cnn", "four-block-cnn"])
    'did you mean basic-cnn?'
    >>> near_names("val", ["all", "validation"])
    'did you mean validation?'
    >>> near_names("zebra", ["basic-cnn", "four-block-cnn"])
    'known: basic-cnn, four-block-cnn'
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    begun = [one for one in names if len(name) >= 3 and one.startswith(name)]
    if near := (begun or near)[:3]:
        return f"did you mean {', '.join(near)}?"
    shown = names if len(names) <= 50 else [*names[:5], f"and {len(names) - 5:,} more"]
    return f"known: {', '.join(shown)}"


def quantity(number: int, one: str, several: str = "") -> str:
    """A number and what it counts, for messages; `several` is the plural if it is not `one` with an s.

    >>> quantity(1, "face"), quantity(2000, "face"), quantity(2, "copy", "copies")
    ('1 face', '2,000 faces', '2 copies')
    """
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def first_names(names: Sequence[str]) -> str:
    """The first five names, for messages that count all of them.

    >>> first_names("abc"), first_names("abcdefg")
    ('a, b, c', 'a, b, c, d, e, ...')
    """
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


@contextmanager
def extra_required(extra: str, purpose: str) -> Iterator[None]:
    """Turn the ImportError of an optional package into a message with the command to install it.

    Raises:
        MissingExtraError: a package is missing; `purpose` is the subject of its sentence.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "mien":  # a fault of mien, not of the installation
            raise
        raise MissingExtraError(extra, purpose) from error


def one_line(error: Exception) -> str:
    """A library's error message on one line without final punctuation, for use in a sentence."""
    return " ".join(str(error).split()).rstrip(".:;") or type(error).__name__


@contextmanager
def reading_from(where: str) -> Iterator[None]:
    """Turn the operating system's errors when reading `where` into messages for users.

    Raises:
        InputError: for each OSError, and for a name with a NUL.
    """
    try:
        yield
    except PermissionError as error:
        raise InputError(f"{where}: no permission to read; change its mode or owner") from error
    except FileNotFoundError as error:
        raise InputError(f"{where}: no such file or folder; check the path") from error
    except IsADirectoryError as error:
        raise InputError(f"{where}: a folder, not a file; give the file") from error
    except OSError as error:
        raise InputError(
            f"{where}: cannot be read ({error.strerror or one_line(error)}); download or copy it again"
        ) from error
    except ValueError as error:  # Python's, for such names alone
        if "\0" not in where:
            raise
        raise InputError(f"{where}: no name has a NUL; check the path") from error


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn the operating system's errors when writing at or below `path` into messages for users.

    Raises:
        OccupiedError: a file is in the place of a folder, or a folder in the place of a file.
        InputError: for each other OSError except BrokenPipeError.
    """
    try:
        yield
    except BrokenPipeError:  # whoever reads standard output has enough: `mien ... | head`
        raise
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
