"""Ctrl-C and termination: noted when they come, acted on between two steps, never inside one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from mien.errors import MienError

#: What asks to stop. A process on Windows cannot be sent SIGTERM by another, but CTRL_BREAK.
STOPS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)


class StoppedError(MienError):
    """A signal ended the training between two steps; all that was learnt is saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


@dataclass
class StopRequest:
    """The signal that asked to stop, or None."""

    signal: int | None = None


@contextmanager
def signals_noted(request: StopRequest, *, patient: bool = False) -> Iterator[None]:
    """Write SIGINT or SIGTERM (on Windows SIGBREAK too) into `request` instead of letting it end the process.

    A second one interrupts at once, unless `patient`: torchrun passes on a Ctrl-C that the terminal
    has sent to every process already. Only the main thread may set handlers; elsewhere signals keep
    their meaning.
    """

    def note(number: int, _frame: FrameType | None) -> None:
        if request.signal is not None and not patient:
            raise KeyboardInterrupt
        request.signal = number

    previous = {}
    try:
        for number in STOPS:
            previous[number] = signal.signal(number, note)
    except ValueError:  # not the main thread
        pass
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
