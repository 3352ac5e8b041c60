"""Writing files so that they are either whole or not there."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from mien.errors import writing_to


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut, where the platform lets folders be synced.

    Windows cannot open them, and some network file systems refuse: the rename stands all the same.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def atomic_file(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file that appears at `path`, complete, when the block ends, or not at all."""
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle: IO[Any] = tempfile.NamedTemporaryFile(  # noqa: SIM115 (closed below, then renamed)
            mode,
            encoding=None if "b" in mode else "utf-8",
            newline=None if "b" in mode else "",
            dir=path.parent,
            prefix=f".{path.name}.",
            suffix=".part",
            delete=False,
        )
        try:
            with handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            _make_ordinary(Path(handle.name), 0o666)
            Path(handle.name).replace(path)
        except BaseException:
            Path(handle.name).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends without an error.

    Where `path` exists by then (another process was faster), the other one stays and ours is dropped.
    """
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
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


def _make_ordinary(path: Path, mode: int) -> None:
    """Give what was made as private, for being temporary, the mode that anything new would have."""
    if os.name != "nt":
        umask = os.umask(0)
        os.umask(umask)
        path.chmod(mode & ~umask)


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON, atomically. NaN and infinity are refused: they are not JSON."""
    with atomic_file(path, "w") as handle:
        json.dump(content, handle, indent=2, allow_nan=False)
        handle.write("\n")
