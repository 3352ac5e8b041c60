"""mien predict: faces and their expressions in photos, folders, videos and cameras."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mien.cli import options
from mien.cli.movies import Movies, render
from mien.cli.output import messages, note, show
from mien.cli.predict_on_ray import recognise_on_cluster, refuse_others
from mien.errors import InputError, OccupiedError, visible
from mien.files import fitting_name
from mien.terminal import Stack, table

if TYPE_CHECKING:
    from mien.decoding import Decoded
    from mien.recognise.media import Frame, Item
    from mien.recognise.recognizer import Faces
    from mien.recognise.stream import Summary

app = typer.Typer()

#: Pictures of which the table tells.
_SHOWN = 100
#: Letters that a line of the table has beside the picture's name.
_FIGURES = 45
#: Copies keep these formats; others become PNG.
_WRITTEN = (".jpg", ".jpeg", ".png", ".webp")


@app.command()
def predict(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...",
            help="Photos, videos, folders (with all below), patterns ('trip/**/*.jpg'), addresses "
            "(rtsp://...), a camera's number (0), whose rows go to standard output until Ctrl-C.",
        ),
    ] = None,
    camera: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, hidden=True, help="The older way to name a camera."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A model file, a run folder, a name (`mien models --packaged`), or an address "
            "https://...#sha256=...; by default the model inside the package.",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Write copies with the faces marked; with --engine ray, the results.",
        ),
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(
            "--csv", metavar="FILE", help="Write a row a face as they come; or .parquet, .jsonl."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a --csv that was stopped.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Into --out, too: which pixels of each face mattered.")
    ] = False,
    every: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Of videos: look at each N-th frame; by default ten a second."
        ),
    ] = None,
    timeline: Annotated[
        bool,
        typer.Option("--timeline", help="Into --out, too: each video's expressions over time."),
    ] = False,
    faces: Annotated[
        str,
        typer.Option(
            "--faces", metavar="yunet|none", help="How faces are found; none: each photo is one."
        ),
    ] = "yunet",
    size: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="At which faces are looked for: more finds smaller ones. By default 640 for the "
            "longer side, and 1600 for photos of more than 2.1 megapixels.",
        ),
    ] = None,
    device: options.Device = "cpu",
    threads: Annotated[int | None, typer.Option(metavar="N", help="By default one a core.")] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="local|ray",
            help="ray: one folder, parquet file or bucket of pictures, on a cluster (RAY_ADDRESS) "
            "or on this machine's cores; the same command goes on.",
        ),
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Of --engine ray: so many at a time.")
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of --engine ray: where parquet files hold pictures."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Recognise the expressions of all faces. A photo with no face is an answer, not an error."""
    if engine != "local":
        others = {"--camera": camera, "--csv": rows, "--resume": resume, "--explain": explain}
        others |= {"--every": every, "--timeline": timeline, "--threads": threads}
        given = [name for name, value in others.items() if value is not None and value is not False]
        refuse_others(engine, given)
        recognise_on_cluster(
            inputs or [],
            where,
            model=model,
            faces=faces,
            size=size,
            device=device,
            workers=workers,
            column=column,
            as_json=as_json,
        )
        return
    from mien.recognise.media import SourceError, is_camera
    from mien.recognise.pictures import read_photo
    from mien.recognise.recognizer import Recognizer
    from mien.recognise.rows import RowFile, row

    out = Path(where) if where is not None else None
    if workers is not None or column is not None:
        raise InputError("--workers and --column belong to --engine ray")
    if not inputs and camera is None:
        raise InputError(
            "give photos, videos or folders, or the number of a camera: mien predict 0"
        )
    for name, wanted in (("--explain", explain), ("--timeline", timeline)):
        if wanted and out is None:
            raise InputError(f"{name} needs --out: the folder to write to")
    live = camera is not None or any(map(is_camera, inputs or []))
    if live and rows is None and not as_json:
        rows = Path("-")
    if resume and rows is None:
        raise InputError("--resume needs --csv: the file to go on with")
    if as_json and str(rows) == "-":
        raise InputError("--json and --csv - both write to standard output; choose one")
    recognizer = Recognizer(model, device=device, threads=threads, detector=faces, size=size)
    settings = {"model": recognizer.card.digest, "faces": faces, "size": size, "every": every}
    movies = Movies(recognizer, every=every, out=out, timeline=timeline)
    told = _Told(everything=as_json)
    with ExitStack() as stack:
        sink = None
        if rows is not None:
            expressions = recognizer.card.expressions
            sink = stack.enter_context(RowFile(rows, expressions, settings=settings, resume=resume))
        bar = stack.enter_context(_Bar())
        for item in bar.each(inputs or [], camera, out, told):
            if sink is not None and item.shown in sink:
                told.done_before += 1
                continue
            if item.kind != "photo":
                try:
                    told.add_movie(item, movies.recognise(item, sink, bar.frame))
                except SourceError as error:
                    told.fail(item, error)
                    continue
                if sink is not None:
                    sink.finished(item.shown)
                continue
            try:
                picture = read_photo(item.where)
            except InputError as error:
                told.fail(item, error)
                continue
            answer = recognizer.recognize(picture)
            told.add(item, answer)
            if out is not None:
                try:
                    write_copy(item, picture, answer, out)
                    if explain:
                        write_reasons(item, recognizer.explain(picture), out)
                except OccupiedError as error:  # of this picture alone
                    if not out.is_dir():
                        raise
                    told.failed.append({"file": item.shown, "error": str(error)})
            if sink is not None:
                sink.write(row(item.shown, 0, None, face) for face in answer)
                sink.finished(item.shown)
    content = {
        "model": {"name": recognizer.card.name, "digest": recognizer.card.digest},
        "pictures": [{"file": item.shown, **answer.to_dict()} for item, answer in told.answers],
        "videos": [{"file": item.shown, **done.to_dict()} for item, done in told.movies],
        "failed": told.failed,
    }
    if str(rows) != "-":
        show(content, Stack(*told.tables()), as_json=as_json)
    for place in (rows, out):
        if place is not None and str(place) != "-":
            note(f"written: {place}")
    if told.failed:
        whole = " as a whole" if told.movies else ""
        note(f"could not be read{whole}, {len(told.failed):,} of {told.looked_at:,}:")
        for one in told.failed:
            note(f"  {one['error']}")
        raise typer.Exit(1)


class _Told:
    """What is said in the end: everything for machines, the first faces for people."""

    def __init__(self, *, everything: bool) -> None:
        self._everything = everything
        self.answers: list[tuple[Item, Faces]] = []
        self.failed: list[dict[str, str]] = []
        self.movies: list[tuple[Item, Summary]] = []
        self.pictures = self.faces = self.done_before = self.looked_at = 0

    def add(self, item: Item, answer: Faces) -> None:
        """The faces of a picture."""
        self.looked_at += 1
        self.pictures += 1
        self.faces += len(answer)
        if self._everything or len(self.answers) < _SHOWN:
            self.answers.append((item, answer))

    def add_movie(self, item: Item, done: Summary) -> None:
        """What came of a video or a camera."""
        self.looked_at += 1
        self.movies.append((item, done))
        if done.problem is not None:
            self.failed.append({"file": item.shown, "error": done.problem})

    def fail(self, item: Item, error: InputError) -> None:
        """Nothing came of this one."""
        self.looked_at += 1
        self.failed.append({"file": item.shown, "error": str(error)})

    def unlisted(self, error: InputError) -> None:
        """A folder that could not be looked into."""
        self.looked_at += 1
        self.failed.append({"file": str(error).partition(":")[0], "error": str(error)})

    def tables(self) -> list[Table]:
        """Those of which there is something to tell; pictures' where there is nothing at all."""
        some = [render(self.movies)] if self.movies else []
        return [self._pictures(), *some] if self.pictures or not some else some

    def _pictures(self) -> Table:
        """A line a face; the picture is named once."""
        from mien.recognise.doubt import IN_WORDS
        from mien.recognise.draw import surely

        lines = table("picture", "expression", "probability", "next")
        lines.columns[1].justify = lines.columns[3].justify = "left"
        room = max(20, Console().width - _FIGURES)
        for item, answer in self.answers:
            if not answer:
                lines.add_row(Text(_shortened(item.name, room)), "no face", "", "")
            for number, face in enumerate(answer):
                _, (other, less) = face.top(2)
                lines.add_row(
                    Text("" if number else _shortened(item.name, room)),
                    Text(face.expression + (" ?" if face.uncertain else "")),
                    surely(face),
                    Text(f"{other} {100 * less:.0f} %"),
                )
        said = [f"faces: {self.faces:,}, pictures: {self.pictures:,}"]
        if self.pictures > len(self.answers):
            said.append(f"the first {len(self.answers)} pictures are shown, --csv writes all")
        said += _looked([answer for _, answer in self.answers])
        if self.done_before:
            said.append(f"{self.done_before:,} were done before")
        reasons = {face.why_uncertain for _, answer in self.answers for face in answer}
        if why := ", ".join(words for reason, words in IN_WORDS.items() if reason in reasons):
            said.append(f"?: uncertain ({why})")
        lines.caption, lines.caption_justify = "; ".join(said), "left"
        return lines


def _shortened(name: str, room: int) -> str:
    """A name's end, which tells it from its neighbours, where the whole has no room."""
    name = visible(name)
    return name if len(name) <= room else f"…{name[1 - room :]}"


def _looked(answers: Sequence[Faces]) -> list[str]:
    """At which sizes pictures were looked at, and the smallest face that this finds, in a sentence or two."""
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


class _Bar:
    """How far it is, on a terminal: items where there are several, and a video's frames."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=messages,
            transient=True,
            disable=not messages.is_terminal,
        )
        self._frames: TaskID | None = None
        self._began = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def each(
        self, inputs: list[str], camera: int | None, out: Path | None, told: _Told
    ) -> Iterator[Item]:
        """What there is to look at.

        It is gone through twice: what is not there is said before anything is done, and nothing of
        a million files is kept in memory.
        """
        from mien.recognise.media import Item, find

        cameras = [] if camera is None else [Item.camera(camera)]
        found = find(inputs, leave_out=out, on_error=lambda _: None)
        total = len(cameras) + sum(1 for _ in found)
        task = self._bar.add_task(f"0 of {total:,}", total=total, speed="", visible=total > 1)
        started = time.monotonic()
        items = itertools.chain(find(inputs, leave_out=out, on_error=told.unlisted), cameras)
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
        """One more frame of a video, of so many if that is known."""
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


def _copy_target(item: Item, out: Path) -> Path:
    """Where the marked copy of a photo goes: unlike that of any photo beside it, and no longer than names may be."""
    target, photo = out / item.name, Path(item.where)
    if target.suffix.lower() not in _WRITTEN:
        end, number = ".png", 1
        # x.bmp.png beside x.bmp. A name that is too long is nobody's: os.path says so, Path raises.
        while os.path.exists(f"{photo}{end}"):  # noqa: PTH110
            number += 1
            end = f".{number}.png"
        target = target.with_name(target.name + end)
    fitting = target.with_name(fitting_name(target.name))
    if fitting != target:
        note(f"{item.shown}: too long a name for its copy, which is called {fitting.name}")
    return fitting


def write_copy(item: Item, photo: Decoded, faces: Faces, out: Path) -> None:
    """Write a picture with its faces marked below `out`, under the item's own name, as large as it was read."""
    from mien.recognise.draw import marked, write_picture

    target = _copy_target(item, out)
    if target.resolve() == Path(item.where).resolve():
        raise InputError(f"--out {out}: the copy would replace {item.where}; choose another folder")
    write_picture(target, marked(photo, faces))


def write_reasons(
    item: Item, reasons: Sequence[tuple[NDArray[np.uint8], NDArray[np.float32]]], out: Path
) -> None:
    """Write what the network was shown of each face, coloured by what mattered."""
    from mien.recognise.draw import write_picture
    from mien.recognise.explain import painted

    for number, (face, mattered) in enumerate(reasons, 1):
        name = Path(item.name)
        write_picture(
            out / name.with_name(fitting_name(f"{name.name}.face-{number}.png")),
            painted(face, mattered),
        )
