"""Face detectors by name."""

from __future__ import annotations

from collections.abc import Callable

from mien.errors import InputError
from mien.recognise.detect import Detector, whole_picture
from mien.recognise.yunet import YuNet
from mien.registry import Registry

#: The name of the default detector, and of the one for pictures that are face crops already.
USUAL, READY = "yunet", "none"


def _ready(*, size: int | None, threads: int | None) -> Detector:
    if size is not None:
        raise InputError(f"size {size}: the detector {READY} looks for no faces; leave it out")
    return whole_picture


#: Functions that make a detector, with the arguments `size` (see `YuNet`) and `threads`.
DETECTORS = Registry[Callable[..., Detector]]("detector")
DETECTORS.add(USUAL, YuNet)
DETECTORS.add(READY, _ready)


def open_detector(
    detector: str | Detector, *, size: int | None = None, threads: int | None = None
) -> Detector:
    """Make a detector by its name; a detector that is given is returned, with `size` if that is not None.

    Raises:
        InputError: the name is unknown, it is neither a name nor a function, or the detector takes no size.
    """
    if isinstance(detector, str):
        return DETECTORS[detector](size=size, threads=threads)
    if not callable(detector):
        raise InputError(f"a detector is a name or a function, not {type(detector).__name__}")
    return detector if size is None else with_size(detector, size)


def with_size(detector: Detector, size: int) -> Detector:
    """A copy of a detector that searches pictures at another size, in pixels of the longer side.

    Raises:
        InputError: the detector takes no size.
    """
    if isinstance(detector, YuNet):
        return detector.with_size(size)
    raise InputError(f"size {size}: this detector takes none; leave it out")


def for_films(detector: Detector) -> Detector:
    """A faster copy of a detector for videos: see `YuNet.for_films`; other detectors are returned unchanged."""
    return detector.for_films() if isinstance(detector, YuNet) else detector
