"""Read and write files on local disks and in buckets in the same way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.fs

from mien.errors import InputError, one_line
from mien.files import atomic_file, from_home


@dataclass(frozen=True)
class Place:
    """A folder or file: a path, or an address that pyarrow supports (`s3://bucket/photos?region=...`).

    Each worker opens it itself, with the credentials in its own environment.

    >>> Place.of("s3://bucket/photos").where
    's3://bucket/photos'
    """

    where: str

    @classmethod
    def of(cls, where: str | Path) -> Place:
        """Make a place from a path or address; paths become absolute, because workers have other directories."""
        text = str(where)
        return cls(text if "://" in text else str(from_home(text).resolve()))

    @cached_property
    def _resolved(self) -> tuple[Any, str]:
        if "://" not in self.where:
            return pyarrow.fs.LocalFileSystem(), self.where
        try:
            filesystem, path = pyarrow.fs.FileSystem.from_uri(self.where)
        except (pyarrow.ArrowException, ValueError, ImportError, OSError) as error:
            raise InputError(
                f"{self.where}: not an address that pyarrow reads ({one_line(error)}); "
                "give a path, file://, s3://, gs:// or hdfs://"
            ) from error
        return filesystem, path

    @property
    def filesystem(self) -> Any:
        """The pyarrow filesystem of this place.

        Raises:
            InputError: pyarrow does not support the address.
        """
        return self._resolved[0]

    @property
    def path(self) -> str:
        """The path within the filesystem."""
        return self._resolved[1]

    @property
    def is_local(self) -> bool:
        """Whether this is on the local disks."""
        return isinstance(self.filesystem, pyarrow.fs.LocalFileSystem)

    def shown(self, path: str) -> str:
        """The name of a file of this filesystem in rows and messages."""
        scheme, separator, _ = self.where.partition("://")
        return f"{scheme}://{path}" if separator else path

    def below(self, name: str) -> str:
        """The path of `name` inside this folder."""
        return f"{self.path.rstrip('/')}/{name}"

    def files(self) -> list[str]:
        """List the paths of all files here and below, sorted, without hidden ones; only itself if it is a file.

        Raises:
            InputError: it does not exist, or cannot be reached.
        """
        with self._asking():
            here = self.filesystem.get_file_info(self.path)
            if here.type == pyarrow.fs.FileType.NotFound:
                raise InputError(f"{self.where}: no such file or folder; check the path")
            if here.type == pyarrow.fs.FileType.File:
                return [self.path]
            selector = pyarrow.fs.FileSelector(self.path, recursive=True)
            found = self.filesystem.get_file_info(selector)
        start = len(self.path.rstrip("/")) + 1
        return sorted(
            entry.path
            for entry in found
            if entry.type == pyarrow.fs.FileType.File and "/." not in f"/{entry.path[start:]}"
        )

    def names(self, folder: str) -> set[str]:
        """The names of the files in a folder inside this one; empty if there is no such folder."""
        selector = pyarrow.fs.FileSelector(self.below(folder), allow_not_found=True)
        with self._asking():
            return {entry.base_name for entry in self.filesystem.get_file_info(selector)}

    def read(self, name: str) -> bytes | None:
        """The content of a file inside this folder; None if there is no such file."""
        try:
            with (
                self._asking(),
                self.filesystem.open_input_stream(self.below(name), compression=None) as stream,
            ):
                content: bytes = stream.read()
                return content
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file inside this folder, completely or not at all; buckets show only complete files."""
        path = self.below(name)
        if self.is_local:
            with atomic_file(Path(path)) as handle:
                handle.write(content)
            return
        with self._asking(), self.filesystem.open_output_stream(path, compression=None) as stream:
            stream.write(content)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn errors of the filesystem into one sentence; FileNotFoundError passes, because callers handle it.

        Raises:
            InputError: the block raised any other OSError.
        """
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise InputError(
                f"{self.where}: cannot be reached ({one_line(error)}); check the address, the "
                "credentials and the permissions"
            ) from error
