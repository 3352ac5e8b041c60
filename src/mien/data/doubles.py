"""Remove folders and files that a source holds twice, because otherwise each of their faces would count twice."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mien.data.tree import Entry

#: With more roots than this, folders are most likely one for each person, not copies of one tree.
_MAX_ROOTS = 16
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Named:
    """An image in a class folder.

    Attributes:
        entry: the file.
        name: the name of its class folder.
        split: index into `SPLITS`; None if no folder tells it.
        root: the path above the folders of class and split.
    """

    entry: Entry
    name: str
    split: int | None
    root: str


def without_doubled_trees(images: Sequence[Named], notes: list[str]) -> list[Named]:
    """Leave out each root whose images are all in another root as well, byte for byte.

    The images must have the same class there, and the same split if the smaller root tells splits.

    Args:
        images: the images of all roots.
        notes: gets a sentence for each root that is left out.
    """
    roots: dict[str, list[Named]] = defaultdict(list)
    for image in images:
        roots[image.root].append(image)
    if not 1 < len(roots) <= _MAX_ROOTS:
        return list(images)
    digests: dict[Entry, bytes] = {}
    left = dict(roots)
    # Small and deep roots first, so that a copy is left out and not the original.
    for root in sorted(roots, key=lambda root: (len(roots[root]), -root.count("/"), -len(root))):
        for other in left:
            if other != root and _within(roots[root], roots[other], digests):
                del left[root]
                notes.append(
                    f"{root or 'the top folder'}: the same {len(roots[root]):,} images lie in "
                    f"{other or 'the folders beside it'}; they are read once"
                )
                break
    return [image for image in images if image.root in left]


def without_same_files(entries: Sequence[Entry], notes: list[str]) -> list[Entry]:
    """Leave out files with the same content as an earlier file; `notes` gets a sentence for each."""
    sizes = Counter(entry.size for entry in entries)
    seen: dict[bytes, Entry] = {}
    kept = []
    for entry in entries:
        if sizes[entry.size] > 1:
            first = seen.setdefault(_digest(entry), entry)
            if first is not entry:
                notes.append(f"{entry.name}: the same file as {first.name}; it is read once")
                continue
        kept.append(entry)
    return kept


def _within(few: Sequence[Named], many: Sequence[Named], digests: dict[Entry, bytes]) -> bool:
    """Whether all of `few` are among `many`. File contents are compared only if the sizes match."""
    splits = any(image.split is not None for image in few)

    def counted(images: Sequence[Named], of: Callable[[Entry], Any]) -> Counter[Any]:
        return Counter((one.name, one.split if splits else None, of(one.entry)) for one in images)

    def digest(entry: Entry) -> bytes:
        if entry not in digests:
            digests[entry] = _digest(entry)
        return digests[entry]

    sizes = counted(few, lambda entry: entry.size) <= counted(many, lambda entry: entry.size)
    return sizes and counted(few, digest) <= counted(many, digest)


def _digest(entry: Entry) -> bytes:
    content = hashlib.blake2b(digest_size=16)
    with entry.open() as stream:
        while chunk := stream.read(_CHUNK):
            content.update(chunk)
    return content.digest()
