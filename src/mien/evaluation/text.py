"""Figures in words: how every table and page writes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

#: The headlines that are no share of 1: nats, and a squared distance.
IN_NATS, BRIER = "cross-entropy", "Brier score"


def figure_text(name: str, value: float | None) -> str:
    """A headline figure for people: shares in percent, others as they are, a dash for undefined.

    >>> figure_text("accuracy", 0.63333)
    '63.33 %'
    """
    if value is None:
        return "-"
    return f"{value:.4f}" if name in (IN_NATS, BRIER) else percent(value, 2)


def percent(share: float, digits: int = 1) -> str:
    """A share as tables and pages write it.

    >>> percent(0.42519), percent(0.3, 0)
    ('42.5 %', '30 %')
    """
    return f"{100 * share:.{digits}f} %"


def interval_text(interval: tuple[float, float]) -> str:
    """A 95% interval of a share, in percent.

    >>> interval_text((0.6171, 0.6488))
    '61.71 to 64.88'
    """
    return f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f}"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(42.3), duration(754), duration(7322)
    ('42 s', '12 min 34 s', '2 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested plain values as ("outer.inner", text) rows for people.

    >>> flatten({"optimizer": {"lr": 0.001}, "ema": None, "expressions": ["sad", "happy"]})
    [('optimizer.lr', '0.001'), ('ema', 'none'), ('expressions', 'sad, happy')]
    """
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", _plain(value)))
    return rows


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(item) for item in value)
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)


def moment(started: Any) -> str | None:
    """A time of environment.json with its date, hour and minute; a time of another form as it is.

    >>> moment("2026-11-30T01:02:39+0000")
    '2026-11-30 01:02'
    """
    try:
        return f"{datetime.fromisoformat(started):%Y-%m-%d %H:%M}"
    except (TypeError, ValueError):
        return None if started is None else str(started)
