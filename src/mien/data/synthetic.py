"""Synthetic faces: mien's own data, drawn from random parameters, for trials and tests without FER-2013.

As a source they are named `synthetic` or `synthetic:N`; they need no file and are the same on every machine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data.drawing import draw_face
from mien.data.face_parameters import random_parameters
from mien.data.reading import Sample
from mien.data.store import SPLITS
from mien.errors import InputError
from mien.expressions import SEVEN, Expressions, label_of

_DEFAULT_COUNT = 4000
#: The seed of each split, so that no face of one split is in another.
_SEEDS = {"train": 2013, "validation": 2014, "test": 2015}


def synthetic_faces(
    count: int, seed: int, size: int = 48
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield `count` pairs: a label, index into `SEVEN`, and a gray face, uint8 (size, size).

    Face i depends only on `seed` (0 or more) and i, not on `count`. Faces come in blocks of seven that
    show each of the seven expressions once, in random order.
    """
    for index in range(count):
        block, position = divmod(index, len(SEVEN))
        if position == 0:
            order = np.random.default_rng((seed, 0, block)).permutation(len(SEVEN))
        label = int(order[position])
        rng = np.random.default_rng((seed, 1, index))
        yield label, draw_face(random_parameters(SEVEN[label], rng), size)


class SyntheticSource:
    """A `Source` of N training faces, N // 5 validation faces and N // 5 test faces.

    Raises:
        InputError: the name has no valid N, or the label set lacks one of the seven expressions
            (raised by `samples`).
    """

    def __init__(self, name: str, labels: Expressions | None = None) -> None:
        count = _count(name)
        self._counts = {"train": count, "validation": count // 5, "test": count // 5}
        self.expressions = labels or SEVEN
        self.total = sum(self._counts.values())

    def samples(self) -> Iterator[Sample]:
        labels = [label_of(name, self.expressions, "synthetic") for name in SEVEN]
        for split, name in enumerate(SPLITS):
            faces = synthetic_faces(self._counts[name], _SEEDS[name])
            for number, (label, image) in enumerate(faces):
                yield Sample(f"{name}:{number}", labels[label], split, image)


def is_named(path: str) -> bool:
    """Whether a data path asks for synthetic faces."""
    return path == "synthetic" or path.startswith("synthetic:")


def stamp() -> str:
    """Hash the source of the modules that draw, so that faces are drawn again after a change of them."""
    here = Path(__file__)
    modules = (here, here.with_name("drawing.py"), here.with_name("face_parameters.py"))
    code = b"".join(module.read_bytes() for module in modules)
    return hashlib.blake2b(code, digest_size=8).hexdigest()


def _count(name: str) -> int:
    number = name.partition(":")[2]
    if name == "synthetic":
        return _DEFAULT_COUNT
    if not re.fullmatch(r"[0-9]{1,9}", number) or int(number) < 5:
        raise InputError(f"{name}: give 5 or more training faces, such as synthetic:4000")
    return int(number)
