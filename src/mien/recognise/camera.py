"""Frames of a local camera through OpenCV, each with its time of arrival."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.recognise.media import Frame, Movie, SourceError


class Camera(Movie):
    """The frames of a camera of this computer: a `Movie` without an end.

    Args:
        number: the camera's number in the operating system, from 0.
        capture: opens a camera by its number; by default `cv2.VideoCapture`, without its log messages.
        clock: gives the current time in seconds; it has to be monotonic.

    Raises:
        InputError: there is no such camera, or another program uses it.
    """

    live = True
    rate = Fraction(25)  # nominal: the true rate depends on the camera and the light
    time_base = Fraction(1, 1000)

    def __init__(
        self,
        number: int,
        *,
        capture: Callable[[int], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = f"camera {number}"
        self._clock = clock
        self._capture = (capture or _quiet_capture)(number)
        if not self._capture.isOpened():
            self._capture.release()
            raise InputError(
                f"{self.name}: there is none, or another program has it; give the number of a camera, "
                "from 0"
            )

    def close(self) -> None:
        """Release the camera for other programs."""
        self._capture.release()

    def __iter__(self) -> Generator[Frame]:
        """Yield frames as they arrive, until the camera gives no more.

        Raises:
            SourceError: it gives not even one.
        """
        started, last, index = None, -1.0, 0
        while True:
            there, bgr = self._capture.read()
            if not there:
                break
            now = self._clock()
            started = now if started is None else started
            # Times have to grow, even if the clock is coarse.
            last = max(now - started, last + 1e-3)
            yield Frame(index, last, partial(_rgb, bgr))
            index += 1
        if index == 0:
            raise SourceError(f"{self.name}: gives no picture; check that no other program has it")
        self.problem = f"{self.name}: gave no more pictures after {last:.1f} s; check its cable"


def _rgb(bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(bgr[..., ::-1])


def _quiet_capture(number: int) -> Any:
    """Open a camera with OpenCV's log silenced: our InputError reports a failure."""
    import cv2

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(number)
    finally:
        cv2.utils.logging.setLogLevel(level)
