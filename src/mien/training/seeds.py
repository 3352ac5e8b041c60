"""The seeds of a training: every random number depends only on the recipe's seed, its purpose and the time."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """The purposes of random numbers; streams of one seed are independent of each other."""

    #: Initial weights.
    WEIGHTS = 0
    #: Order of the faces, by epoch.
    ORDER = 1
    #: Dropout and mixing, by step.
    STEP = 2
    #: Augmentation of each face, by epoch.
    VIEWS = 3
    #: Choice of the faces for BatchNorm statistics.
    NORM = 4


def stream_seed(seed: int, stream: Stream, number: int = 0) -> int:
    """A well-mixed 63-bit seed for use number `number` (an epoch or step) of a stream."""
    mixed = np.random.SeedSequence([seed, stream, number]).generate_state(1, np.uint64)[0]
    return int(mixed >> np.uint64(1))
