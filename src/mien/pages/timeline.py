"""Draw the expressions of a video's faces over time, from the rows of recognition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.colours import colours_of
from mien.errors import InputError
from mien.pages import plots
from mien.recognise.rows import SMOOTHED, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Largest number of panels; the faces with the most frames are shown.
MOST_TRACKS = 8
#: Largest number of time steps. If a video is longer, neighbouring steps are merged in pairs.
_MOST_STEPS = 2000
_FINEST_S = 0.04
#: A gap is drawn if a face is not seen for longer than this, in seconds; rare frames alone make no gap.
_AWAY_S = 0.6
#: Above this many seconds, the axis is in minutes.
_LONG_S = 600


@dataclass
class _Line:
    """A face over time.

    Attributes:
        steps: time step -> float64 (K + 1,): sums of the K probabilities, then the number of frames.
        expressions: expression -> number of frames with this answer.
    """

    steps: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    expressions: Counter[str] = field(default_factory=Counter)


class Timeline:
    """Collects the rows of a video one by one and draws them; memory does not grow with the number of rows.

    >>> timeline = Timeline()
    >>> timeline.add(read_rows(Path("faces.csv")))  # doctest: +SKIP
    >>> timeline.figure()  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._tracks: dict[int, _Line] = {}
        self._names: list[str] = []
        self._step_s = _FINEST_S

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows; rows of photos, which have no time, are left out."""
        for row in rows:
            number, time_s = row.get("track_id"), row.get("time_s")
            if not isinstance(number, int) or not isinstance(time_s, int | float):
                continue
            if not self._names:
                ends = (name for name in row if name.endswith(SMOOTHED))
                self._names = [name.removesuffix(SMOOTHED) for name in ends]
            while time_s >= self._step_s * _MOST_STEPS:
                self._halve()
            track = self._tracks.setdefault(number, _Line())
            figures: list[Any] = [row[f"{name}{SMOOTHED}"] for name in self._names]
            step = int(time_s / self._step_s)
            track.steps[step] = track.steps.get(step, 0) + np.array([*figures, 1.0])
            track.expressions[str(row["expression"])] += 1

    def _halve(self) -> None:
        """Merge pairs of steps: half as many, twice as long."""
        self._step_s *= 2
        for track in self._tracks.values():
            merged: dict[int, NDArray[np.float64]] = {}
            for step, sums in track.steps.items():
                merged[step // 2] = merged.get(step // 2, 0) + sums
            track.steps = merged

    def figure(self) -> Figure:
        """Draw the smoothed probabilities over time, stacked: a panel per face, in order of appearance.

        Raises:
            InputError: no row has a face of a video.
        """
        if not self._tracks:
            raise InputError("no row has a face of a video; there is no timeline to draw")
        longest = sorted(self._tracks, key=lambda n: -self._tracks[n].expressions.total())
        shown = sorted(longest[:MOST_TRACKS])
        end_s = self._step_s * (1 + max(max(self._tracks[number].steps) for number in shown))
        unit_s, unit = (60, "minutes") if end_s > _LONG_S else (1, "seconds")
        figure = plots.blank(7.6, 1.0 + 1.25 * len(shown))
        panels: Any = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for axes, number in zip(panels, shown, strict=True):
            self._panel(axes, number, unit_s)
        panels[-1].set_xlim(0, end_s / unit_s)
        panels[-1].set_xlabel(unit)
        handles, labels = panels[0].get_legend_handles_labels()
        plots.legend(
            figure, handles=handles, labels=labels, loc="outside lower center", ncols=len(labels)
        )
        return figure

    def save(self, path: Path) -> None:
        """Write the figure as PNG; write nothing if no face was added."""
        if self._tracks:
            plots.save_png(self.figure(), path)

    def _panel(self, axes: Axes, number: int, unit_s: int) -> None:
        track = self._tracks[number]
        named = True
        for run in _runs(sorted(track.steps), 1 + int(_AWAY_S / self._step_s)):
            sums = np.array([track.steps[step] for step in run])
            shares_KT = (sums[:, :-1] / sums[:, -1:]).T
            edges = np.repeat([*run, run[-1] + 1], 2)[1:-1] * self._step_s / unit_s
            axes.stackplot(
                edges,
                np.repeat(shares_KT, 2, axis=1),
                colors=colours_of(self._names),
                labels=[plots.short(name) for name in self._names] if named else (),
                linewidth=0,
            )
            named = False
        (expression, most), frames = track.expressions.most_common(1)[0], track.expressions.total()
        plots.style(axes)
        plots.title(axes, f"Face {number}: {expression} in {most / frames:.0%} of its frames")
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])


def _runs(steps: list[int], apart: int) -> Iterator[list[int]]:
    """Split increasing steps into runs, at gaps of more than `apart` steps."""
    run: list[int] = []
    for step in steps:
        if run and step > run[-1] + apart:
            yield run
            run = []
        run.append(step)
    yield run
