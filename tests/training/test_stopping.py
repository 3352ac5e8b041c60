"""Signals that ask to stop: noted by every open block, and by those that open afterwards."""

from __future__ import annotations

import signal
import threading

import pytest

from mien.training.stopping import StopRequest, signals_noted


def test_a_signal_reaches_blocks_around_it_and_blocks_that_open_after_it():
    before = signal.getsignal(signal.SIGTERM)
    outer, inner, later = StopRequest(), StopRequest(), StopRequest()
    with signals_noted(outer):
        with signals_noted(inner):
            signal.raise_signal(signal.SIGTERM)
        assert outer.signal == inner.signal == signal.SIGTERM
        with signals_noted(later), pytest.raises(KeyboardInterrupt):
            assert later.signal == signal.SIGTERM
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_nothing_is_noted_afterwards_or_by_other_threads():
    ended, other = StopRequest(), StopRequest()
    with signals_noted(ended):
        pass
    seen = []

    def work():
        with signals_noted(other):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
    assert ended.signal is other.signal is None
