"""Stop on Ctrl-C or termination: the signal is noted at once and obeyed between two steps."""

from __future__ import annotations

import signal
import threading
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


#: The requests of the blocks of `signals_noted` that are open, the outermost first.
_OPEN: list[StopRequest] = []


@contextmanager
def signals_noted(request: StopRequest, *, patient: bool = False) -> Iterator[None]:
    """In this block, write SIGINT or SIGTERM (on Windows also SIGBREAK) into `request` instead of ending the process.

    Blocks may be nested: a signal is written into the requests of all of them, also of those that open after it.
    A second signal raises KeyboardInterrupt at once, unless `patient`: torchrun repeats a Ctrl-C that the
    terminal has already sent to every process. Only the main thread can set handlers; in other threads
    this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, _frame: FrameType | None) -> None:
        if request.signal is not None and not patient:
            raise KeyboardInterrupt
        for one in _OPEN:
            one.signal = number

    if _OPEN:
        request.signal = _OPEN[-1].signal
    _OPEN.append(request)
    previous = {number: signal.signal(number, note) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _OPEN.pop()
