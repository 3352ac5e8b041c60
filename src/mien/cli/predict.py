"""mien predict: faces and their expressions in photos and folders."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mien.cli import options
from mien.cli.output import messages, note, show
from mien.errors import InputError
from mien.tables import table

if TYPE_CHECKING:
    from mien.recognise.media import Item
    from mien.recognise.recognizer import Faces

app = typer.Typer()

#: Pictures of which the table tells.
_SHOWN = 100
#: Copies keep these formats; others become PNG.
_WRITTEN = (".jpg", ".jpeg", ".png", ".webp")


@app.command()
def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", help="Photos, folders (with all below), patterns ('trip/**/*.jpg')."
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(metavar="FILE.onnx", help="By default the model inside the package."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write copies with the faces marked.")
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write a row a face as they come; or .parquet."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a --csv that was stopped.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Into --out, too: which pixels of each face mattered.")
    ] = False,
    faces: Annotated[
        str,
        typer.Option(
            "--faces", metavar="yunet|none", help="How faces are found; none: each photo is one."
        ),
    ] = "yunet",
    size: Annotated[
        int,
        typer.Option(
            metavar="PIXELS", help="Photos are shrunk to this on the longer side to find faces."
        ),
    ] = 640,
    device: options.Device = "cpu",
    threads: Annotated[int | None, typer.Option(metavar="N", help="By default one a core.")] = None,
    as_json: options.Json = False,
) -> None:
    """Recognise the expressions of all faces. A photo with no face is an answer, not an error."""
    from mien.recognise.faces import YuNet
    from mien.recognise.recognizer import Recognizer
    from mien.recognise.rows import RowFile, row

    if explain and out is None:
        raise InputError("--explain needs --out: the folder to write to")
    if resume and rows is None:
        raise InputError("--resume needs --csv: the file to go on with")
    if as_json and str(rows) == "-":
        raise InputError("--json and --csv - both write to standard output; choose one")
    detector = YuNet(size=size) if faces == "yunet" else faces
    recognizer = Recognizer(model, device=device, threads=threads, detector=detector)
    settings = {"model": recognizer.card.digest, "faces": faces, "size": size}
    told = _Told(everything=as_json)
    with ExitStack() as stack:
        sink = None
        if rows is not None:
            expressions = recognizer.card.expressions
            sink = stack.enter_context(RowFile(rows, expressions, settings=settings, resume=resume))
        for item in _each(inputs, out, told):
            if sink is not None and item.shown in sink:
                told.done_before += 1
                continue
            try:
                picture = _read(item)
            except InputError as error:
                told.failed.append({"file": item.shown, "error": str(error)})
                continue
            answer = recognizer.recognize(picture)
            told.add(item, answer)
            if out is not None:
                write_copy(item, picture, answer, out)
                if explain:
                    write_reasons(item, recognizer.explain(picture), out)
            if sink is not None:
                sink.write(row(item.shown, 0, None, face) for face in answer)
                sink.finished(item.shown)
    content = {
        "model": {"name": recognizer.card.name, "digest": recognizer.card.digest},
        "pictures": [{"file": item.shown, **answer.to_dict()} for item, answer in told.answers],
        "failed": told.failed,
    }
    if str(rows) != "-":
        show(content, told.table(), as_json=as_json)
    for place in (rows, out):
        if place is not None and str(place) != "-":
            note(f"written: {place}")
    if told.failed:
        note(f"could not be read, {len(told.failed):,} of {told.pictures + len(told.failed):,}:")
        for one in told.failed:
            note(f"  {one['error']}")
        raise typer.Exit(1)


class _Told:
    """What is said in the end: everything for machines, the first faces for people."""

    def __init__(self, *, everything: bool) -> None:
        self._everything = everything
        self.answers: list[tuple[Item, Faces]] = []
        self.failed: list[dict[str, str]] = []
        self.pictures = self.faces = self.done_before = 0

    def add(self, item: Item, answer: Faces) -> None:
        """The faces of a picture."""
        self.pictures += 1
        self.faces += len(answer)
        if self._everything or len(self.answers) < _SHOWN:
            self.answers.append((item, answer))

    def unlisted(self, error: InputError) -> None:
        """A folder that could not be looked into."""
        self.failed.append({"file": str(error).partition(":")[0], "error": str(error)})

    def table(self) -> Table:
        """A line a face; the picture is named once."""
        lines = table("picture", "expression", "probability", "next", "box")
        lines.columns[1].justify = lines.columns[3].justify = "left"
        lines.columns[0].overflow = "fold"
        lines.columns[4].no_wrap = True
        for item, answer in self.answers:
            if not answer:
                lines.add_row(Text(item.name), "no face", "", "", "")
            for number, face in enumerate(answer):
                x, y, width, height = (round(side) for side in face.box)
                (_, probability), (other, less) = face.top(2)
                lines.add_row(
                    Text("" if number else item.name),
                    Text(face.expression + (" ?" if face.uncertain else "")),
                    f"{probability:.0%}",
                    Text(f"{other} {less:.0%}"),
                    f"{width} x {height} at {x}, {y}",
                )
        said = [f"faces: {self.faces:,}, pictures: {self.pictures:,}"]
        if self.pictures > len(self.answers):
            said.append(f"the first {len(self.answers)} pictures are shown, --csv writes all")
        if self.done_before:
            said.append(f"{self.done_before:,} were done before")
        if any(face.uncertain for _, answer in self.answers for face in answer):
            said.append("?: uncertain")
        lines.caption, lines.caption_justify = "; ".join(said), "left"
        return lines


def _each(inputs: list[str], out: Path | None, told: _Told) -> Iterator[Item]:
    """What there is to look at, with a bar on a terminal.

    It is gone through twice: what is not there is said before anything is done, and nothing of a
    million files is kept in memory.
    """
    from mien.recognise.media import find

    total = sum(1 for _ in find(inputs, leave_out=out, on_error=lambda _: None))
    columns = (
        TextColumn("{task.completed:,} of {task.total:,}"),
        BarColumn(),
        TextColumn("{task.fields[speed]:.1f} pictures/s  time left"),
        TimeRemainingColumn(),
    )
    quiet = total < 2 or not messages.is_terminal
    with Progress(*columns, console=messages, transient=True, disable=quiet) as bar:
        task = bar.add_task("", total=total, speed=0.0)
        started = time.monotonic()
        for number, item in enumerate(find(inputs, leave_out=out, on_error=told.unlisted), 1):
            yield item
            speed = number / (time.monotonic() - started)
            bar.update(task, completed=number, total=max(total, number), speed=speed)


def _read(item: Item) -> NDArray[np.uint8]:
    """The picture of a photo. Here videos and cameras will come in."""
    from mien.recognise.pictures import read_picture

    if item.kind != "photo":
        raise InputError(f"{item.shown}: a {item.kind}; only photos are recognised so far")
    return read_picture(item.where)


def write_copy(item: Item, picture: NDArray[np.uint8], faces: Faces, out: Path) -> None:
    """Write a picture with its faces marked below `out`, under the item's own name."""
    from mien.recognise.draw import annotated, write_picture

    target = out / item.name
    if target.suffix.lower() not in _WRITTEN:
        target = target.with_name(f"{target.name}.png")
    if target.resolve() == Path(item.where).resolve():
        raise InputError(f"--out {out}: the copy would replace {item.where}; choose another folder")
    write_picture(target, annotated(picture, faces))


def write_reasons(
    item: Item, reasons: Sequence[tuple[NDArray[np.uint8], NDArray[np.float32]]], out: Path
) -> None:
    """Write what the network was shown of each face, coloured by what mattered."""
    from mien.recognise.draw import write_picture
    from mien.recognise.explain import painted

    for number, (face, mattered) in enumerate(reasons, 1):
        name = Path(item.name)
        write_picture(
            out / name.with_name(f"{name.name}.face-{number}.png"), painted(face, mattered)
        )
