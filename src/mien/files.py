"""Writing files so that they are either whole or not there, and folders so that each holds one piece of work."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, Any

from mien.errors import InputError, writing_to

_IS_WINDOWS = os.name == "nt"
_PART = ".part"
#: Bytes of a file's name that every usual file system takes; characters of its end that stay.
_LONGEST_NAME, _KEPT_END = 255, 16
#: Bytes of a name behind which a temporary one has room for a dot, letters and `_PART`.
_LONGEST_PART = 200
#: First letters of a cell that spreadsheets compute.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
#: Bytes of a JSON file of ours: a store's or a sweep's largest have some megabytes.
_MOST_JSON = 100_000_000
#: Seconds between attempts to replace a file that a scanner or a reader holds: 3 in all.
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)
#: Entries that a message names; of more it gives the number.
_NAMED = 6
#: What a folder that cannot be synced says when it is the disk that fails, not the platform.
_DISK_FAILS = (errno.EIO, errno.ENOSPC, errno.EDQUOT)


def cache_folder() -> Path:
    """Where mien keeps what it can make again: `MIEN_CACHE`, else the platform's own place."""
    if chosen := os.environ.get("MIEN_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mien"


def fitting_name(name: str) -> str:
    """A file's name, shortened where it is longer than file systems take: its end and a digest stay.

    >>> fitting_name("happy.jpg")
    'happy.jpg'
    """
    encoded = os.fsencode(name)
    if len(encoded) <= _LONGEST_NAME:
        return name
    end = os.fsdecode(encoded)[-_KEPT_END:]
    mark = f"~{hashlib.blake2b(encoded, digest_size=4).hexdigest()}~"
    room = _LONGEST_NAME - len(os.fsencode(mark + end))
    return encoded[:room].decode("utf-8", "ignore") + mark + end


def spreadsheet_name(name: str) -> str:
    """A file's name for a CSV: the same file, under a name that no spreadsheet takes for a formula.

    >>> spreadsheet_name("=1+1.jpg"), spreadsheet_name("happy/=1+1.jpg")
    ('./=1+1.jpg', 'happy/=1+1.jpg')
    """
    return f"./{name}" if name.startswith(_FORMULA_STARTS) else name


def _part_prefix(path: Path) -> str:
    """What the temporary name of a file begins with; it has room for what comes behind."""
    name = os.fsencode(path.name)
    if len(name) <= _LONGEST_PART:
        return f".{path.name}."
    return f".{hashlib.blake2b(name, digest_size=16).hexdigest()}."


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut, where the platform lets folders be synced.

    Windows cannot open them, and some network file systems refuse: the rename stands all the same.
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
    """Open a file that appears at `path`, complete, when the block ends, or not at all.

    It is on the disk by then, and has the mode of the file that stood there before.

    Args:
        path: where the file comes to be.
        mode: `wb`, or `w` for UTF-8 text.
        keep: where the file that stood at `path` is moved to, by default nowhere: it is replaced.
    """
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle: IO[Any] = tempfile.NamedTemporaryFile(  # noqa: SIM115 (closed below, then renamed)
            mode,
            encoding=None if "b" in mode else "utf-8",
            newline=None if "b" in mode else "",
            dir=path.parent,
            prefix=_part_prefix(path),
            suffix=_PART,
            delete=False,
        )
        try:
            with handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            if path.exists():
                shutil.copymode(path, handle.name)
            else:
                _make_ordinary(Path(handle.name), 0o666)
            if keep is not None and path.exists():
                _replace(path, keep)
            _replace(Path(handle.name), path)
        except BaseException:
            with suppress(OSError):
                Path(handle.name).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def _replace(path: Path, target: Path) -> None:
    """Move a file onto another; on Windows, that waits a little while a process has one of them open."""
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
    """Remove what processes that died left of an `atomic_file(path)`; nobody may be writing it now."""
    for part in path.parent.glob(f"{escape(_part_prefix(path))}*{_PART}"):
        with suppress(OSError):
            part.unlink()


def holds_something(folder: Path) -> bool:
    """Whether a folder is there and has anything in it but what processes that died left of an `atomic_file`."""
    return folder.exists() and any(
        not (entry.name.startswith(".") and entry.name.endswith(_PART))
        for entry in folder.iterdir()
    )


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends without an error.

    Where `path` exists by then (another process was faster), the other one stays and ours is dropped.
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
                shutil.rmtree(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        sync_folder(path.parent)


@contextmanager
def alone(folder: Path, doing: str) -> Iterator[None]:
    """Hold a lock on a folder, or on a file, that exists.

    It is free again when the block or this process ends, however that ends.

    Without effect on Windows, and on file systems that have no locks.

    Args:
        folder: nothing is written into it.
        doing: what another holder does there, for the message: `is training`.

    Raises:
        InputError: another process holds it, or another block of this one.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder}: another process {doing} here; wait for it, or stop it"
            ) from None
        except OSError:  # no locks here
            pass
        yield
    finally:
        os.close(descriptor)


@contextmanager
def together(path: Path, prepare: Callable[[], None]) -> Iterator[None]:
    """Hold a lock on a file that exists, together with all who hold it so, on this machine and on others.

    Whoever finds no other holder calls `prepare`; others wait until it is done. The lock is free again when
    the block or this process ends, however that ends. On Windows, and on file systems that have no locks,
    everybody calls `prepare`: there, only one process may work at a time.
    """
    with path.open("r+b") as file:  # network file systems lock alone what is open for writing
        try:
            import fcntl
        except ImportError:  # Windows
            prepare()
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError:  # no locks here
            prepare()
        else:
            prepare()
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH)
        yield


def _make_ordinary(path: Path, mode: int) -> None:
    """Give what was made as private, for being temporary, the mode that anything new would have."""
    if os.name != "nt":
        umask = os.umask(0)
        os.umask(umask)
        path.chmod(mode & ~umask)


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The object in a JSON file that `write_json` wrote.

    Args:
        path: the file.
        remedy: how messages end: `train again`.

    Raises:
        InputError: it is missing, no file (nobody waits for the other end of a pipe), cannot be read, or holds
            anything else.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: not a file; {remedy}")
        if path.exists() and path.stat().st_size > _MOST_JSON:
            raise InputError(f"{path}: far too large for what belongs there; {remedy}")
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: missing; {remedy}") from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); look after the disk"
        ) from error
    return json_object(content, str(path), remedy)


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON, atomically. NaN and infinity are refused: they are not JSON."""
    with atomic_file(path, "w") as handle:
        json.dump(content, handle, indent=2, allow_nan=False)
        handle.write("\n")


def json_object(content: bytes, where: str, advice: str) -> dict[str, Any]:
    """The JSON object in a file's bytes; InputError for anything else, with `where` it is and the advice."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    try:
        found = json.loads(content, parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # also numbers of more digits than Python reads
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
    """Take a folder for one piece of work, or find that it is this work's already.

    Args:
        path: a JSON file in the folder that says whose it is: written at first, compared later.
        identity: plain values by name that make it this work and no other.
        what: of what kind it is, for the message: `a sweep`.
        notes: asked at first, for more that the file is to say.

    Returns:
        What the file says, identity and notes.

    Raises:
        InputError: the folder holds something else, or such work of another identity: what differs is named.
    """
    folder = path.parent
    if path.exists():
        content = read_json(path, "choose another --out")
        refuse_another(str(folder), content, identity, what)
        return content
    with writing_to(folder):
        if holds_something(folder):
            raise InputError(f"{folder}: holds something else; choose another --out, or a new one")
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
    """InputError that names what differs, unless `where` was begun with this identity; see `claim`."""
    if names := differing(before, identity):
        more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
        said = " and ".join([", ".join(names[:_NAMED]), *more])
        raise InputError(f"{where}: holds {what} with other {said}; {advice}")


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The entries of `now`, plain values, that `before` has not or has otherwise; tuples are as lists.

    >>> differing({"made": 1, "data": "a", "recipe": {"lr": 0.1}}, {"data": "a", "recipe": {"lr": 1}})
    ['recipe.lr']
    """
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
