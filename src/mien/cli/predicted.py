"""mien predict: the final table of results, and the progress bar."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import RenderableType
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mien.cli.movies import render
from mien.errors import InputError
from mien.terminal import progress_bar, shortened, table

if TYPE_CHECKING:
    from mien.recognise.media import Frame, Item
    from mien.recognise.recognizer import Faces
    from mien.recognise.stream import Summary

#: Most pictures in the table.
_SHOWN = 100
#: Width of the table's columns after the picture's name, in characters.
_FIGURES = 45


class Told:
    """Collects results for the end: all of them for JSON, the first pictures for the table.

    copies: folders of marked copies, which were not searched; longer: files of which only the first picture was read.
    """

    def __init__(self, *, everything: bool) -> None:
        self._everything = everything
        self.answers: list[tuple[Item, Faces]] = []
        self.failed: list[dict[str, str]] = []
        self.movies: list[tuple[Item, Summary]] = []
        self.copies: list[Path] = []
        self.longer: list[str] = []
        self.pictures = self.faces = self.done_before = self.looked_at = 0

    def add(self, item: Item, answer: Faces) -> None:
        """Add a picture's faces."""
        self.looked_at += 1
        self.pictures += 1
        self.faces += len(answer)
        if self._everything or len(self.answers) < _SHOWN:
            self.answers.append((item, answer))

    def add_movie(self, item: Item, done: Summary) -> None:
        """Add the summary of a video or camera."""
        self.looked_at += 1
        self.movies.append((item, done))
        if done.problem is not None:
            self.failed.append({"file": item.shown, "error": done.problem})

    def fail(self, item: Item, error: InputError) -> None:
        """Add an item that failed."""
        self.looked_at += 1
        self.failed.append({"file": item.shown, "error": str(error)})

    def unlisted(self, error: InputError) -> None:
        """Add a folder that could not be listed."""
        self.looked_at += 1
        self.failed.append({"file": str(error).partition(":")[0], "error": str(error)})

    def tables(self) -> list[RenderableType]:
        """The tables that have lines; a sentence if all pictures were done before."""
        made: list[RenderableType] = []
        if self.answers:
            made.append(self._pictures())
        elif self.done_before:
            made.append(Text(f"all pictures were done before: {self.done_before:,}"))
        if self.movies:
            made.append(render(self.movies))
        return made

    def _pictures(self) -> Table:
        """A table with a line for each face; only the first line of a picture has its name."""
        from mien.recognise.doubt import IN_WORDS
        from mien.recognise.track import surely

        lines = table("picture", "expression", "probability", "next", words=(0, 1, 3))
        for item, answer in self.answers:
            if not answer:
                lines.add_row(shortened(item.shown, _FIGURES), "no face", "", "")
            for number, face in enumerate(answer):
                _, (other, less) = face.top(2)
                lines.add_row(
                    shortened("" if number else item.shown, _FIGURES),
                    Text(face.expression + (" ?" if face.uncertain else "")),
                    surely(face),
                    Text(f"{other} {100 * less:.0f} %"),
                )
        said = [f"faces: {self.faces:,}, pictures: {self.pictures:,}"]
        if self.pictures > len(self.answers):
            said.append(f"the first {len(self.answers)} pictures are shown, --csv writes all")
        said += _looked([answer for _, answer in self.answers])
        if self.done_before:
            said.append(f"done before: {self.done_before:,}")
        reasons = {face.why_uncertain for _, answer in self.answers for face in answer}
        if why := ", ".join(words for reason, words in IN_WORDS.items() if reason in reasons):
            said.append(f"?: uncertain ({why})")
        lines.caption = "; ".join(said)
        return lines


def _looked(answers: Sequence[Faces]) -> list[str]:
    """Sentences on the sizes at which pictures were searched, and the smallest faces that this finds."""
    looked = [answer.looked for answer in answers if answer.looked is not None]
    if not looked:
        return []
    sizes, faces = ([getattr(one, name) for one in looked] for name in ("size", "smallest_face"))
    said = [f"searched at {_range(sizes)} pixels for faces of {_range(faces)} pixels and more"]
    if any(
        not answer and answer.looked is not None and answer.looked.size < max(answer.size)
        for answer in answers
    ):
        said.append("a larger --size finds smaller faces")
    return said


def _range(numbers: Sequence[int]) -> str:
    least, most = min(numbers), max(numbers)
    return f"{least}" if least == most else f"{least} to {most}"


class Bar:
    """A progress bar on a terminal: of items if there are several, and of a video's frames."""

    def __init__(self) -> None:
        self._bar = progress_bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
        )
        self._frames: TaskID | None = None
        self._began = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def each(self, inputs: list[str], out: Path | None, told: Told) -> Iterator[Item]:
        """Iterate over all items, and advance the bar.

        The inputs are listed twice: first to count them and to report missing paths before any work,
        then to process them; so a million files need no memory.
        """
        from mien.recognise.media import find

        total = sum(1 for _ in find(inputs, leave_out=out, on_error=lambda _: None))
        task = self._bar.add_task(f"0 of {total:,}", total=total, speed="", visible=total > 1)
        started = time.monotonic()
        items = find(inputs, leave_out=out, on_error=told.unlisted, on_copies=told.copies.append)
        for number, item in enumerate(items, 1):
            yield item
            speed = f"{number / (time.monotonic() - started):.1f} files/s"
            self._bar.update(
                task, completed=number, description=f"{number:,} of {total:,}", speed=speed
            )
            if self._frames is not None:
                self._bar.remove_task(self._frames)
                self._frames = None

    def frame(self, frame: Frame, total: int | None) -> None:
        """Advance by a frame; `total` is the number of frames, None if unknown."""
        if self._frames is None:
            self._frames = self._bar.add_task("", total=total, speed="")
            self._began = time.monotonic()
        count = frame.index + 1
        self._bar.update(
            self._frames,
            completed=count,
            description=f"frame {count:,}"
            + ("" if total is None else f" of {max(total, count):,}"),
            speed=f"{count / max(time.monotonic() - self._began, 1e-3):.0f} frames/s",
        )
