"""Trees and files that lie in a source twice: one of them is read, else every face would count double."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mien.data.tree import Entry

#: More roots are people's own folders, or the like: nobody copies a tree so often.
_MAX_ROOTS = 16
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Named:
    """An image in a class folder.

    Attributes:
        name: its class folder.
        split: index into `SPLITS`; None where no folder tells it.
        root: the path above the folders of class and split.
    """

    entry: Entry
    name: str
    split: int | None
    root: str


def without_doubled_trees(images: Sequence[Named], notes: list[str]) -> list[Named]:
    """The images without those of a root that all lie in another root, too, byte for byte.

    They must be of the same class and split there; a root that tells no splits is no match for one that
    does. `notes` gets a sentence for each root that is left out.
    """
    roots: dict[str, list[Named]] = defaultdict(list)
    for image in images:
        roots[image.root].append(image)
    if not 1 < len(roots) <= _MAX_ROOTS:
        return list(images)
    digests: dict[Entry, bytes] = {}
    left = dict(roots)
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
    """The files without those that have the very bytes of one before."""
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
    """Whether all of `few` are among `many`. Content is read only where sizes do not tell."""
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
