"""The entry to data: `load` reads a source once into a store in the cache, and opens that store afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.data import synthetic
from mien.data.build import DamagedStoreError, Size, open_store, write_store
from mien.data.reading import Request, Source, reading
from mien.data.sources import open_source
from mien.data.store import FaceStore
from mien.data.tree import walk
from mien.decoding import is_image
from mien.errors import InputError
from mien.expressions import Expressions
from mien.files import atomic_folder, cache_folder, from_home

#: Increase it when a reader or the store's format changes: older stores are then built again.
READER_VERSION = 10
DEFAULT_SIZE: Size = (48, 48)
#: A `.part` folder without a write for this many seconds was left by a process that died.
_ABANDONED = 3600
#: The most images of a folder whose size and time are read to find out whether the folder changed.
_LOOKED_AT = 2048


def load(
    path: str | Path,
    *,
    labels: Expressions | None = None,
    size: Size | None = None,
    skip_damaged: bool = False,
) -> FaceStore:
    """Load the faces of a source; a source that was read before comes from the cache. A terminal shows a progress bar.

    Args:
        path: a CSV, parquet, archive or folder (recognised by content), or `synthetic[:N]` for
            drawn faces, N of them in the training split.
        labels: the label set; default: the challenge's seven.
        size: (height, width) in pixels for a source with mixed sizes; default 48 x 48. A source
            with one size keeps it. Images that are not square are made so, see `mien.resize.squared`.
        skip_damaged: leave out pictures that cannot be decoded; they are counted and listed in the
            store (`damaged.csv`). By default they are an error that names them.

    Returns:
        The store, its pixels memory-mapped read-only.

    Raises:
        InputError: the source has a fault, named in one sentence; nothing is left on disk.

    >>> store = load("synthetic:7")
    >>> len(store), store.pixels.shape[1:], store.expressions[3]
    (9, (1, 48, 48), 'happy')
    """
    size = size or DEFAULT_SIZE
    if min(size) < 1:
        raise InputError(f"size {size[0]}x{size[1]}: both have to be 1 or more")
    name = str(path)
    origin, stamp = _origin(name)
    # The name too: of a link, it tells the split.
    options = _hash([READER_VERSION, origin, Path(name).name, labels, size, skip_damaged])
    folder = cache_folder() / "stores" / f"{options}-{stamp}"
    try:
        return open_store(folder)
    except FileNotFoundError:
        pass
    except DamagedStoreError:
        shutil.rmtree(folder, ignore_errors=True)
    request = Request(labels)
    with atomic_folder(folder, shared=True) as part, _source(name, request) as (layout, source):
        write_store(
            source,
            part,
            origin=origin,
            size=size,
            layout=layout,
            notes=request.notes,
            skip_damaged=skip_damaged,
        )
    _sweep(folder, options)  # only now, when the new store is complete
    return open_store(folder)


def _origin(name: str) -> tuple[str, str]:
    """The absolute path of a source, and a hash that changes when the source does."""
    if not name:
        raise InputError("the data path is empty; give a file, a folder or 'synthetic'")
    if synthetic.is_named(name):
        return name, synthetic.stamp()
    path = from_home(name).resolve()
    with reading(name):
        return str(path), _stamp(path)


@contextmanager
def _source(name: str, request: Request) -> Iterator[tuple[str, Source]]:
    if synthetic.is_named(name):
        yield "drawn faces", synthetic.SyntheticSource(name, request.labels)
    else:
        with open_source(from_home(name), request) as found:
            yield found


def _stamp(path: Path) -> str:
    """Hash the state of a source, so that a changed source is read again.

    The hash covers the name of every file, the time of every folder, and the size and time of every
    file. Of more than `_LOOKED_AT` images only an evenly spread sample has its size and time read,
    because reading all 35,887 of FER-2013 takes 100 to 400 ms at each opening, listing their names
    15 to 60 ms. Added, removed, renamed or replaced files are still noticed (their folder's time
    changes), and so is a change to many images. Not noticed: a few images overwritten in place.
    """
    if not path.is_dir():
        return _hash(_changed(path.stat()))
    listing = walk(path)
    images: list[os.DirEntry[str]] = []
    others: list[os.DirEntry[str]] = []
    for name, entry in listing.files:
        (images if is_image(name) else others).append(entry)
    step = len(images) // _LOOKED_AT + 1
    return _hash(
        [
            "\0".join(name for name, _ in listing.files),
            [_changed(folder.stat()) for folder in listing.folders],
            [_changed(entry.stat()) for entry in others + images[::step]],
        ]
    )


def _changed(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _hash(content: object) -> str:
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()


def _sweep(folder: Path, options: str) -> None:
    """Remove stores of earlier states of the source, and unfinished folders of dead processes."""
    for other in folder.parent.iterdir():
        old = other.name.startswith(options) and other.name != folder.name
        if old or (other.suffix == ".part" and _is_abandoned(other)):
            shutil.rmtree(other, ignore_errors=True)


def _is_abandoned(part: Path) -> bool:
    try:
        newest = max(file.stat().st_mtime for file in (part, *part.iterdir()))
    except OSError:  # another process removed it meanwhile
        return False
    return time.time() - newest > _ABANDONED
