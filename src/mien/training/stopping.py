"""Stop on Ctrl-C or termination: the signal is noted at once and obeyed between two steps."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from mien.errors import MienError

#: The signals that ask to stop. On Windows other processes cannot send SIGTERM, only CTRL_BREAK.
STOPS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)


class StoppedError(MienError):
    """A signal ended the training between two steps; its state is saved. The exit code is 128 + signal."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


@dataclass
class StopRequest:
    """The signal that asked to stop, or None."""

    signal: int | None = None


@contextmanager
def signals_noted(request: StopRequest, *, patient: bool = False) -> Iterator[None]:
    """In this block, write SIGINT or SIGTERM (on Windows also SIGBREAK) into `request` instead of ending the process.

    A second signal raises KeyboardInterrupt at once, unless `patient`: torchrun repeats a Ctrl-C that the
    terminal has already sent to every process. Only the main thread can set handlers; in other threads
    this does nothing.
    """

    def note(number: int, _frame: FrameType | None) -> None:
        if request.signal is not None and not patient:
            raise KeyboardInterrupt
        request.signal = number

    previous = {}
    try:
        for number in STOPS:
            previous[number] = signal.signal(number, note)
    except ValueError:  # not in the main thread
        pass
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
