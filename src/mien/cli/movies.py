"""mien predict for videos, streams and cameras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from mien.errors import InputError
from mien.files import fitting_name
from mien.terminal import named, table

if TYPE_CHECKING:
    from mien.recognise.media import Frame, Item
    from mien.recognise.recognizer import Recognizer
    from mien.recognise.rows import Row, RowFile
    from mien.recognise.stream import Summary

#: Most faces of a video in the table: those that are seen longest.
_SHOWN = 10


@dataclass(frozen=True)
class Movies:
    """Settings for recognising videos and cameras.

    every: search faces in every N-th frame; None is ten frames a second.
    out: folder for annotated copies, or None; timeline: also write a plot beside each copy.
    """

    recognizer: Recognizer
    every: int | None = None
    out: Path | None = None
    timeline: bool = False

    def recognise(
        self, item: Item, rows: RowFile | None, on_frame: Callable[[Frame, int | None], None]
    ) -> Summary:
        """Recognise one video, stream or camera.

        Args:
            item: the source.
            rows: the table for its rows, or None.
            on_frame: called after each frame with the frame and the estimated number of frames, or None.

        Raises:
            SourceError: the source cannot be read.
            InputError: any other: a result cannot be written.
        """
        from mien.recognise.film import recognise_film

        takers: list[Callable[[list[Row]], object]] = [] if rows is None else [rows.write]
        timeline = None
        if self.timeline:
            from mien.pages.timeline import Timeline

            timeline = Timeline()
            takers.append(timeline.add)
        done = recognise_film(
            item,
            self.recognizer,
            every=self.every,
            rows=takers,
            copy=None if self.out is None else _copy(item, self.out),
            on_frame=on_frame,
        )
        if timeline is not None and self.out is not None:
            timeline.save(_timeline_path(item, self.out))
        return done


def _timeline_path(item: Item, out: Path) -> Path:
    path = out / f"{item.name}.timeline.png"
    return path.with_name(fitting_name(path.name))


def _copy(item: Item, out: Path) -> Path:
    from mien.recognise.video_writer import copy_name

    target = out / copy_name(item.name)
    target = target.with_name(fitting_name(target.name))
    if target.resolve() == Path(item.where).resolve():
        raise InputError(f"--out {out}: the copy would replace {item.where}; choose another folder")
    return target


def render(done: list[tuple[Item, Summary]]) -> Table:
    """A table with a line for each face; only the first line of a video has its name."""
    lines = table("video", "face", "expression", "mean", "next", "seen, s", words=(0, 2, 4))
    for item, summary in done:
        longest = sorted(summary.faces.values(), key=lambda face: -face.frames)[:_SHOWN]
        if not longest:
            lines.add_row(named(item.name), "", "no face", "", "", "")
        for number, face in enumerate(sorted(longest, key=lambda face: face.track_id)):
            (name, mean), (other, less) = sorted(
                face.probabilities.items(), key=lambda pair: -pair[1]
            )[:2]
            lines.add_row(
                named("" if number else item.name),
                str(face.track_id),
                Text(name),
                f"{mean:.0%}",
                Text(f"{other} {less:.0%}"),
                f"{face.first_s:.1f} to {face.last_s:.1f}",
            )
    said = []
    for _, summary in done:
        more = len(summary.faces) - _SHOWN
        said.append(
            f"{summary.frames:,} frames, looked at {summary.looked_at:,}"
            + (f"; {more:,} more faces, seen more briefly" if more > 0 else "")
        )
    lines.caption = "\n".join(said)
    return lines
