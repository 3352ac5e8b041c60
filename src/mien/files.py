"""Atomic writing of files and folders, and locks and identities of folders of results."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from glob import escape
from pathlib import Path
from threading import Lock
from typing import IO, Any

from mien.errors import InputError, writing_to

_IS_WINDOWS = os.name == "nt"
_PART = ".part"
#: Longest file name in bytes on common file systems; number of last bytes that a shortened name keeps.
_LONGEST_NAME, _KEPT_END = 255, 16
#: Longest name in bytes that leaves room for the additions of a temporary name.
_LONGEST_PART = 200
#: First characters that make spreadsheets compute a cell as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
#: Largest JSON file that is read, in bytes: the largest of a store or a sweep have some megabytes.
_MOST_JSON = 100_000_000
#: Seconds between attempts to replace a file that another program has open: 3 s in total.
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)
#: Most entries that a message lists; it gives only the number of the others.
_NAMED = 6
#: Errors of syncing a folder that mean a failing disk, not a platform without this feature.
_DISK_FAILS = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
#: Held while the umask is read, because it can only be read by setting it, for all threads.
_UMASK = Lock()


def from_home(path: str | os.PathLike[str]) -> Path:
    """Replace a leading `~` by the home folder; where that is not known (`~nobody/faces`), the path stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path.expanduser raises RuntimeError)


def cache_folder() -> Path:
    """The folder of mien's cache: `MIEN_CACHE`, else the platform's folder for caches. mien can make it again.

    Raises:
        InputError: neither is known, as in a container whose user has no home folder.
    """
    if chosen := os.environ.get("MIEN_CACHE"):
        return from_home(chosen)
    if sys.platform == "win32":
        base, below = os.environ.get("LOCALAPPDATA"), "AppData/Local"
    elif sys.platform == "darwin":
        base, below = None, "Library/Caches"
    else:
        base, below = os.environ.get("XDG_CACHE_HOME"), ".cache"
    if not base:
        try:
            base = str(Path.home() / below)
        except RuntimeError:
            raise InputError(
                "the cache: this user has no home folder; set MIEN_CACHE to a folder for it"
            ) from None
    return Path(base) / "mien"


def same_file(path: Path, other: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to one file, links included; false if one of them does not exist, or is no path."""
    try:
        return path.samefile(other)
    except (OSError, ValueError):
        return False


def fitting(path: Path) -> Path:
    """Shorten the name of a file if it is too long for file systems; its end and a digest are kept.

    >>> fitting(Path("faces/happy.jpg")).name
    'happy.jpg'
    """
    encoded = os.fsencode(path.name)
    if len(encoded) <= _LONGEST_NAME:
        return path
    end = os.fsdecode(encoded)[-_KEPT_END:]
    mark = f"~{hashlib.blake2b(encoded, digest_size=4).hexdigest()}~"
    room = _LONGEST_NAME - len(os.fsencode(mark + end))
    return path.with_name(encoded[:room].decode("utf-8", "ignore") + mark + end)


def spreadsheet_name(name: str) -> str:
    """A file's name for a CSV: `./` is put before names that a spreadsheet would compute as a formula.

    >>> spreadsheet_name("=1+1.jpg"), spreadsheet_name("happy/=1+1.jpg")
    ('./=1+1.jpg', 'happy/=1+1.jpg')
    """
    return f"./{name}" if name.startswith(_FORMULA_STARTS) else name


def write_reasons(path: Path, name: str, rows: Iterable[tuple[str, str]]) -> None:
    """Write a CSV of left out files, each with the reason; `name` heads the first column."""
    # File names that are not UTF-8 are written as their original bytes.
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([name, "reason"])
        writer.writerows([spreadsheet_name(one), reason] for one, reason in rows)


def _part_prefix(path: Path) -> str:
    """The first part of a file's temporary name, short enough for the rest."""
    name = os.fsencode(path.name)
    if len(name) <= _LONGEST_PART:
        return f".{path.name}."
    return f".{hashlib.blake2b(name, digest_size=16).hexdigest()}."


def sync_folder(folder: Path) -> None:
    """Sync a folder to the disk, so that a rename in it survives a power cut.

    No effect on Windows, which cannot open folders, and on some network file systems.

    Raises:
        OSError: the disk fails or is full.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _DISK_FAILS:
            raise


@contextmanager
def atomic_file(path: Path, mode: str = "wb", *, keep: Path | None = None) -> Iterator[IO[Any]]:
    """Open a file for writing that appears at `path` when the block ends, complete or not at all.

    It is then synced to the disk, and has the permissions of the file that it replaces.

    Args:
        path: the file; its folders are created.
        mode: `wb`, or `w` for UTF-8 text.
        keep: path to which an old file is moved; by default it is replaced.

    Yields:
        The open temporary file.

    Raises:
        InputError: it cannot be written.
    """
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{_part_prefix(path)}{secrets.token_hex(4)}{_PART}")
        try:
            # Within the block: a signal that comes as soon as the file exists must not leave it. Private at first,
            # as the file that it replaces may be.
            handle: IO[Any] = open(  # noqa: SIM115 (`Path.open` takes no opener; closed below)
                part,
                mode.replace("w", "x"),
                encoding=None if "b" in mode else "utf-8",
                newline=None if "b" in mode else "",  # no translation of line ends on Windows
                opener=partial(os.open, mode=0o600),
            )
            with handle:
                yield handle
                # Synced before the rename: after a power cut, a file under its final name is complete.
                handle.flush()
                os.fsync(handle.fileno())
            if path.exists():
                shutil.copymode(path, part)
            else:
                _make_ordinary(part, 0o666)
            if keep is not None and path.exists():
                _replace(path, keep)
            _replace(part, path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def _replace(path: Path, target: Path) -> None:
    """Replace a file by another; on Windows this retries for 3 s while another program has one of them open."""
    for pause in _PAUSES:
        try:
            path.replace(target)
        except PermissionError:
            if not _IS_WINDOWS:
                raise
            time.sleep(pause)
        else:
            return
    path.replace(target)


def sweep(path: Path) -> None:
    """Remove temporary files of `atomic_file(path)` from killed processes; no process may be writing it now."""
    for part in path.parent.glob(f"{escape(_part_prefix(path))}*{_PART}"):
        with suppress(OSError):
            part.unlink()


def holds_something(folder: Path) -> bool:
    """Whether a folder exists and has entries, not counting temporary files of `atomic_file`."""
    return folder.exists() and any(
        not (entry.name.startswith(".") and entry.name.endswith(_PART))
        for entry in folder.iterdir()
    )


@contextmanager
def atomic_folder(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Create a temporary folder that becomes `path` when the block ends without an error.

    Args:
        path: the folder.
        shared: whether another process makes the same: if `path` exists by then, it stays.

    Yields:
        The temporary folder.

    Raises:
        InputError: it cannot be written; or another process has made it meanwhile, and it is not shared.
    """
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=_part_prefix(path), suffix=_PART))
        try:
            yield folder
            for file in filter(Path.is_file, folder.rglob("*")):
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
            _make_ordinary(folder, 0o777)
            try:
                folder.rename(path)
            except OSError:
                if not path.is_dir():
                    raise
                if not shared:
                    raise InputError(
                        f"{path}: was made by another process meanwhile; choose another folder"
                    ) from None
                shutil.rmtree(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        sync_folder(path.parent)


@contextmanager
def alone(folder: Path, doing: str) -> Iterator[None]:
    """Hold a lock on an existing folder or file until the block or the process ends.

    No effect on Windows, and on file systems without locks.

    Args:
        folder: the folder or file; nothing is written into it.
        doing: the activity of another holder, for the message: `is training`.

    Raises:
        InputError: another process holds the lock, or another block of this process.
    """
    if _IS_WINDOWS:  # it cannot open folders
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # The last holder may have removed a file after it was opened here: its lock would hold nobody off.
        if not _locked(descriptor) or not _is_at(descriptor, folder):
            raise InputError(f"{folder}: another process {doing} here; wait for it, or stop it")
        yield
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file or folder is the one that is at the path now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def together(path: Path, prepare: Callable[[], None]) -> Iterator[None]:
    """Share a lock on an existing file with other processes, on this machine and on others, until the block ends.

    On Windows, and on file systems without locks, each process calls `prepare`: only one may work at a time.

    Args:
        path: the file; nothing is written into it.
        prepare: called by a process that finds no other holder; the others wait until it has returned.
    """
    with path.open("r+b") as file:  # network file systems lock only files that are open for writing
        if _locked(file.fileno()):
            prepare()
        _locked(file.fileno(), shared=True)
        yield


def _locked(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file or folder until it is closed; true also if the system or its file system has no locks.

    Args:
        descriptor: of the file or folder.
        shared: wait for a lock that others may share; otherwise the lock is exclusive, and False is returned if
            another process, or another block of this one, holds any.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # this file system has no locks
        pass
    return True


def _make_ordinary(path: Path, mode: int) -> None:
    """Give a temporary file or folder, which is private at first, the usual permissions of new ones (umask)."""
    if os.name != "nt":
        with _UMASK:
            umask = os.umask(0)
            os.umask(umask)
        path.chmod(mode & ~umask)


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Read the object in a JSON file that `write_json` wrote.

    Args:
        path: the file.
        remedy: the end of messages: `train again`.

    Raises:
        InputError: it is missing, not a regular file (reading a named pipe would wait forever), too large,
            cannot be read, or is not a JSON object.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: not a file; {remedy}")
        if path.exists() and path.stat().st_size > _MOST_JSON:
            raise InputError(f"{path}: too large for a file of this kind; {remedy}")
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: missing; {remedy}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the disk") from error
    return json_object(content, str(path), remedy)


def write_json(path: Path, content: Any) -> None:
    """Write a value as indented JSON, atomically.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not have.
        InputError: the file cannot be written.
    """
    with atomic_file(path, "w") as handle:
        json.dump(content, handle, indent=2, allow_nan=False)
        handle.write("\n")


def json_object(content: bytes, where: str, advice: str) -> dict[str, Any]:
    """Parse the JSON object in a file's bytes.

    Args:
        content: UTF-8.
        where: the file's name in messages.
        advice: the end of messages.

    Raises:
        InputError: it is not JSON, or not an object.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        found = json.loads(content, parse_constant=refuse)
    # ValueError also for numbers with more digits than Python accepts.
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not readable as JSON ({error}); {advice}") from error
    if not isinstance(found, dict):
        raise InputError(f"{where}: not a JSON object; {advice}")
    return found


def claim(
    path: Path,
    identity: Mapping[str, Any],
    what: str,
    notes: Callable[[], Mapping[str, Any]] = dict,
) -> dict[str, Any]:
    """Claim a folder for one piece of work, or check that it belongs to this work already.

    Args:
        path: a JSON file in the folder with the work's identity: written the first time, compared later.
        identity: plain values by name that identify the work (recipe, data, options).
        what: the kind of work, for messages: `a sweep`.
        notes: called the first time, for more values to store in the file.

    Returns:
        The content of the file: identity and notes.

    Raises:
        InputError: the folder has other content, or work with another identity; the message names the
            differences.
    """
    folder = path.parent
    if path.exists():
        content = read_json(path, "choose another --out")
        refuse_another(str(folder), content, identity, what)
        return content
    with writing_to(folder):
        if holds_something(folder):
            raise InputError(f"{folder}: it holds something else; give --out a new or empty folder")
    content = {**notes(), **identity}
    write_json(path, content)
    return content


def refuse_another(
    where: str,
    before: Mapping[str, Any],
    identity: Mapping[str, Any],
    what: str,
    advice: str = "use the same, or choose another --out",
) -> None:
    """Check that work was begun with this identity; see `claim`.

    Args:
        where: the folder or file, for messages.
        before: the stored identity.
        identity: the identity now.
        what: the kind of work, for messages.
        advice: the end of messages.

    Raises:
        InputError: they differ; the message names the differences.
    """
    if names := differing(before, identity):
        more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
        said = " and ".join([", ".join(names[:_NAMED]), *more])
        raise InputError(f"{where}: holds {what} with other {said}; {advice}")


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The names of entries of `now` that `before` lacks or that have another value; a tuple equals a list.

    >>> differing({"made": 1, "data": "a", "recipe": {"lr": 0.1}}, {"data": "a", "recipe": {"lr": 1}})
    ['recipe.lr']
    """
    # `before` was read from JSON: convert both in the same way, which turns tuples into lists.
    before, now = json.loads(json.dumps([before, now]))
    names: list[str] = []
    for name, value in now.items():
        earlier = before.get(name, ...)
        if isinstance(value, dict) and isinstance(earlier, dict):
            inner = [*differing(earlier, value), *(one for one in earlier if one not in value)]
            names += [f"{name}.{one}" for one in inner]
        elif earlier != value:
            names.append(name)
    return names
