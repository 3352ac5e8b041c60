"""Seeds of a training: every random number is a function of the recipe's seed and a place in time."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What random numbers are for. Streams of one seed know nothing of each other."""

    WEIGHTS = 0
    #: The order of the faces, by epoch.
    ORDER = 1
    #: Dropout and mixing, by step.
    STEP = 2
    #: What augmentation does to each face, by epoch.
    VIEWS = 3
    #: The faces that BatchNorm statistics are computed from.
    NORM = 4


def stream_seed(seed: int, stream: Stream, number: int = 0) -> int:
    """A well-mixed 63-bit seed for the `number`-th use of a stream."""
    mixed = np.random.SeedSequence([seed, stream, number]).generate_state(1, np.uint64)[0]
    return int(mixed >> np.uint64(1))
