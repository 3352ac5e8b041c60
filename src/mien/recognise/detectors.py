"""Detectors by name: what finds the faces of a picture."""

from __future__ import annotations

from collections.abc import Callable

from mien.errors import InputError
from mien.recognise.detect import Detector, whole_picture
from mien.recognise.yunet import YuNet
from mien.registry import Registry

#: The detector that is used where none is named, and the one for faces that are cut out already.
USUAL, READY = "yunet", "none"


def _ready(*, size: int | None, threads: int | None) -> Detector:
    if size is not None:
        raise InputError(f"size {size}: the detector {READY} looks for no faces; leave it out")
    return whole_picture


#: Each makes a detector: size as `YuNet` says, threads that compute.
DETECTORS = Registry[Callable[..., Detector]]("detector")
DETECTORS.add(USUAL, YuNet)
DETECTORS.add(READY, _ready)


def open_detector(
    detector: str | Detector, *, size: int | None = None, threads: int | None = None
) -> Detector:
    """The detector of a name, or the one given; InputError for an unknown name, or a size it does not take."""
    if isinstance(detector, str):
        return DETECTORS[detector](size=size, threads=threads)
    return detector if size is None else with_size(detector, size)


def with_size(detector: Detector, size: int) -> Detector:
    """The same detector, looking at pictures at another size."""
    if isinstance(detector, YuNet):
        return detector.with_size(size)
    raise InputError(f"size {size}: this detector takes none; leave it out")


def for_films(detector: Detector) -> Detector:
    """The same detector, as quick as films need it."""
    return detector.for_films() if isinstance(detector, YuNet) else detector
