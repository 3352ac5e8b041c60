"""mien predict for videos, streams and cameras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from mien.errors import InputError, quantity, visible
from mien.files import fitting, same_file
from mien.terminal import shortened, table

if TYPE_CHECKING:
    from mien.recognise.media import Frame, Item
    from mien.recognise.recognizer import Recognizer
    from mien.recognise.rows import Row, RowFile
    from mien.recognise.stream import Summary

#: Most faces of a video in the table: those that are seen longest.
_SHOWN = 10
#: Width of the table's columns after the video's name, in characters.
_FIGURES = 60


def recognise_movie(
    item: Item,
    recognizer: Recognizer,
    rows: RowFile | None,
    on_frame: Callable[[Frame, int | None], None],
    *,
    every: int | None,
    out: Path | None,
    timeline: bool,
) -> Summary:
    """Recognise one video, stream or camera.

    Args:
        item: the source.
        recognizer: the recogniser.
        rows: the table for its rows, or None.
        on_frame: called after each frame with the frame and the estimated number of frames, or None.
        every: search faces in every N-th frame; None is ten frames a second.
        out: folder for annotated copies, or None.
        timeline: also write a plot beside the copy.

    Raises:
        SourceError: the source cannot be read.
        InputError: any other: a result cannot be written.
    """
    from mien.recognise.film import recognise_film
    from mien.recognise.rows import row_without_face
    from mien.recognise.video_writer import copy_name

    takers: list[Callable[[list[Row]], object]] = [] if rows is None else [rows.write]
    drawn = None
    if timeline:
        from mien.pages.timeline import Timeline

        drawn = Timeline()
        takers.append(drawn.add)
    copy = None if out is None else target_of(item, out / copy_name(item.name), out)
    done = recognise_film(item, recognizer, every=every, rows=takers, copy=copy, on_frame=on_frame)
    if rows is not None and not done.faces:
        rows.write([row_without_face(item.shown, read=True)])
    if drawn is not None and out is not None:
        drawn.save(fitting(out / f"{item.name}.timeline.png"))
    return done


def target_of(item: Item, path: Path, out: Path) -> Path:
    """The path of an item's copy in `out`, its name shortened if file systems need it.

    Raises:
        InputError: the copy would replace the item.
    """
    target = fitting(path)
    if same_file(target, item.where):
        raise InputError(f"--out {out}: the copy would replace {item.where}; choose another folder")
    return target


def render(done: list[tuple[Item, Summary]]) -> Table:
    """A table with a line for each face; only the first line of a video has its name."""
    lines = table("video", "face", "expression", "mean", "next", "seen, s", words=(0, 2, 4))
    for item, summary in done:
        longest = sorted(summary.faces.values(), key=lambda face: -face.frames)[:_SHOWN]
        if not longest:
            lines.add_row(shortened(item.shown, _FIGURES), "", "no face", "", "", "")
        for number, face in enumerate(sorted(longest, key=lambda face: face.track_id)):
            (name, mean), (other, less) = sorted(
                face.probabilities.items(), key=lambda pair: -pair[1]
            )[:2]
            lines.add_row(
                shortened("" if number else item.shown, _FIGURES),
                str(face.track_id),
                Text(name),
                f"{mean:.0%}",
                Text(f"{other} {less:.0%}"),
                f"{face.first_s:.1f} to {face.last_s:.1f}",
            )
    said = []
    for item, summary in done:
        more = len(summary.faces) - _SHOWN
        said.append(
            (f"{visible(item.shown)}: " if len(done) > 1 else "")
            + f"{quantity(summary.frames, 'frame')}, looked at {summary.looked_at:,}"
            + (f"; {quantity(more, 'more face')}, seen more briefly" if more > 0 else "")
        )
    lines.caption = "\n".join(said)
    return lines
