"""mien predict: find faces and their expressions in photos, folders, videos, streams and cameras."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mien.cli import options
from mien.cli.movies import recognise_movie, target_of
from mien.cli.output import show
from mien.cli.predict_on_ray import recognise_on_cluster
from mien.cli.predicted import Bar, Told
from mien.errors import InputError, OccupiedError, quantity
from mien.files import claim, fitting, same_file
from mien.terminal import Stack, note

if TYPE_CHECKING:
    from mien.recognise.media import Item
    from mien.recognise.recognizer import Faces, Recognizer
    from mien.recognise.rows import RowFile

app = typer.Typer()

#: Copies keep these formats; others become PNG.
_WRITTEN = (".jpg", ".jpeg", ".png", ".webp")


Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT",
        help=(
            "Photos, videos, folders (recursively), patterns ('trip/**/*.jpg'), URLs "
            "(rtsp://...), a camera's number (0), whose rows go to standard output until Ctrl-C."
        ),
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help=(
            "A model file, a run folder, a name (`mien models --packaged`), or a URL "
            "https://...#sha256=...; by default the packaged model."
        ),
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help=(
            "Folder for copies with the faces marked, new or empty or used for copies before; with "
            "--engine ray, for the results."
        ),
    ),
]
Csv = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        metavar="FILE",
        help=(
            "Write a row for each face as it is found, and one for each photo or video without a "
            "face; .csv, .parquet or .jsonl."
        ),
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted --csv.")]
Explain = Annotated[
    bool,
    typer.Option("--explain", help="Also write into --out the pixels of each face that mattered."),
]
ShowPage = Annotated[
    bool,
    typer.Option(
        "--show",
        help=(
            "For a camera: open the web page, which shows it live, until Ctrl-C. Needs the extra "
            "serve."
        ),
    ),
]
Every = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="For videos: search faces in every N-th frame; by default ten or more a second.",
    ),
]
Timeline = Annotated[
    bool,
    typer.Option("--timeline", help="Also plot each video's expressions over time, into --out."),
]
Detector = Annotated[
    str,
    typer.Option(
        "--faces",
        metavar="yunet|none",
        help="The face detector; none: each photo is a face that is already cropped.",
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help=(
            "Longer side at which faces are searched: a larger one finds smaller faces. By "
            "default 640, and 1760 for photos of more than 2.1 megapixels."
        ),
    ),
]
Threads = Annotated[int | None, typer.Option(metavar="N", help="By default one for each core.")]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(
        metavar="local|ray",
        help=(
            "ray: process one folder, parquet file or bucket of pictures on a cluster "
            "(RAY_ADDRESS) or on this machine's cores; the same command resumes it."
        ),
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="With --engine ray: number of parallel workers."),
]
Column = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="With --engine ray: the column of pictures in parquet files."
    ),
]


@app.command()
def predict(
    inputs: Inputs,
    model: Model = None,
    where: Out = None,
    rows: Csv = None,
    resume: Resume = False,
    explain: Explain = False,
    show_page: ShowPage = False,
    every: Every = None,
    timeline: Timeline = False,
    faces: Detector = "yunet",
    size: Size = None,
    device: options.Device = "cpu",
    threads: Threads = None,
    engine: Engine = "local",
    workers: Workers = None,
    column: Column = None,
    as_json: options.Json = False,
) -> None:
    """Recognise the expressions of all faces. A photo with no face is an answer, not an error."""
    others: dict[str, object] = {"--csv": rows, "--resume": resume, "--explain": explain}
    others |= {"--every": every, "--timeline": timeline, "--threads": threads}
    if engine == "ray":
        others["--show"] = show_page
        _refuse(others, "--engine ray recognises pictures only")
        recognise_on_cluster(
            inputs,
            where,
            as_json=as_json,
            model=model,
            faces=faces,
            size=size,
            device=device,
            workers=workers,
            column=column,
        )
        return
    if workers is not None or column is not None:
        raise InputError("--workers and --column belong to --engine ray")
    if show_page:
        others |= {"--out": where, "--size": size, "--json": as_json}
        _refuse(others, "--show only opens the page")
        _show_page(inputs, model, device)
        return
    from mien.recognise.media import COPIES, COPIES_FILE
    from mien.recognise.recognizer import Recognizer

    settings = _Settings(
        inputs=inputs,
        rows=_rows(rows, inputs, as_json=as_json),
        out=Path(where) if where is not None else None,
        resume=resume,
        explain=explain,
        every=every,
        timeline=timeline,
        as_json=as_json,
    )
    settings.refuse_misfits()
    recognizer = Recognizer(model, device=device, threads=threads, detector=faces, size=size)
    if settings.out is not None:
        # Cameras number their photos alike: a copy must not replace a photo that is there already.
        claim(settings.out / COPIES_FILE, COPIES, "results")
    told = _recognised(settings, recognizer, {"faces": faces, "size": size, "every": every})
    _tell(settings, recognizer, told)
    if told.failed:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Settings:
    """The inputs and outputs of one command."""

    inputs: list[str]
    rows: Path | None
    out: Path | None
    resume: bool
    explain: bool
    every: int | None
    timeline: bool
    as_json: bool

    def refuse_misfits(self) -> None:
        """Check options that need or exclude each other.

        Raises:
            InputError: they do not fit together.
        """
        for name, wanted in (("--explain", self.explain), ("--timeline", self.timeline)):
            if wanted and self.out is None:
                raise InputError(f"{name} needs --out: the folder to write to")
        if self.resume and self.rows is None:
            raise InputError("--resume needs --csv: the file to continue")
        if self.rows is not None and any(same_file(self.rows, one) for one in self.inputs):
            raise InputError(
                f"--csv {self.rows}: the table would replace an input; choose another name"
            )
        if self.as_json and str(self.rows) == "-":
            raise InputError("--json and --csv - both write to standard output; choose one")


def _refuse(others: dict[str, object], why: str) -> None:
    """Refuse the options (name -> value) that were given."""
    given = [name for name, value in others.items() if value is not None and value is not False]
    if given:
        raise InputError(f"{why}; leave out {', '.join(given)}")


def _rows(rows: Path | None, inputs: list[str], *, as_json: bool) -> Path | None:
    """The file of rows; for a camera by default standard output, as its table would come only at the end."""
    from mien.recognise.media import is_camera

    return Path("-") if rows is None and not as_json and any(map(is_camera, inputs)) else rows


def _recognised(settings: _Settings, recognizer: Recognizer, of_rows: dict[str, Any]) -> Told:
    """Recognise one item after the other; one that cannot be read is noted, and the others go on."""
    from mien.recognise.media import SourceError
    from mien.recognise.rows import RowFile, row_without_face

    unread = []
    kept = {"model": recognizer.card.digest, **of_rows}
    told = Told(everything=settings.as_json)
    with ExitStack() as stack:
        sink = None
        if settings.rows is not None:
            file = RowFile(
                settings.rows, recognizer.card.expressions, settings=kept, resume=settings.resume
            )
            sink = stack.enter_context(file)
        bar = stack.enter_context(Bar())
        for item in bar.each(settings.inputs, settings.out, told):
            if sink is not None and item.shown in sink:
                told.done_before += 1
                continue
            try:
                if item.kind == "photo":
                    _recognise_photo(item, recognizer, settings, sink, told)
                else:
                    done = recognise_movie(
                        item,
                        recognizer,
                        sink,
                        bar.frame,
                        every=settings.every,
                        out=settings.out,
                        timeline=settings.timeline,
                    )
                    told.add_movie(item, done)
            except SourceError as error:
                told.fail(item, error)
                unread.append(item.shown)
                continue
            if sink is not None:
                sink.finished(item.shown)
        if sink is not None:  # at the end: --resume tries these again
            sink.write(row_without_face(source, read=False) for source in unread)
    return told


def _recognise_photo(
    item: Item, recognizer: Recognizer, settings: _Settings, sink: RowFile | None, told: Told
) -> None:
    """Recognise one photo, and write its copy and rows.

    Raises:
        SourceError: the photo cannot be read.
        InputError: any other: a result cannot be written.
    """
    from mien.recognise.media import SourceError
    from mien.recognise.pictures import read_photo
    from mien.recognise.rows import row, row_without_face
    from mien.recognise.showing import Origin

    try:
        photo = read_photo(item.where)
        faces = recognizer.recognize(photo)  # decode once, also for the copies
    except InputError as error:
        raise SourceError(str(error)) from error
    told.add(item, faces)
    if photo.more:
        told.longer.append(item.shown)
    if settings.out is not None:
        try:
            _write_copy(item, faces, settings.out, explain=settings.explain)
        except OccupiedError as error:  # it concerns this picture only
            if not settings.out.is_dir():
                raise
            told.failed.append({"file": item.shown, "error": str(error)})
    # Results are kept for the final table: let them refer to the file instead of keeping the pixels.
    faces.seen_in(Origin(item.where, bgr=False, recognizer=recognizer))
    if sink is not None:
        found = [row(item.shown, 0, None, face) for face in faces]
        sink.write(found or [row_without_face(item.shown, read=True)])


def _tell(settings: _Settings, recognizer: Recognizer, told: Told) -> None:
    """Print the results on standard output, and written files and failures on standard error."""
    content = {
        "model": {"name": recognizer.card.name, "digest": recognizer.card.digest},
        "pictures": [{"file": item.shown, **answer.to_dict()} for item, answer in told.answers],
        "videos": [{"file": item.shown, **done.to_dict()} for item, done in told.movies],
        "failed": told.failed,
    }
    if str(settings.rows) != "-":
        show(content, Stack(*told.tables()), as_json=settings.as_json)
    for place in (settings.rows, settings.out):
        if place is not None and str(place) != "-":
            note(f"written: {place}")
    if told.longer:
        rest = ", ..." if len(told.longer) > 5 else ""
        note(
            f"only the first picture was read of {quantity(len(told.longer), 'file')} (an animation, or pages): "
            f"{', '.join(told.longer[:5])}{rest}"
        )
    for folder in told.copies:
        note(
            f"{folder}: not searched, as mien predict --out wrote its pictures; name it to search it"
        )
    if settings.explain and told.movies:
        note("--explain is for photos: nothing was explained of videos")
    if settings.timeline and told.pictures:
        note("--timeline is for videos: nothing was plotted of photos")
    if told.failed:
        whole = " as a whole" if told.movies else ""
        note(f"could not be read{whole}, {len(told.failed):,} of {told.looked_at:,}:")
        for one in told.failed:
            note(f"  {one['error']}")


def _show_page(inputs: list[str], model: str | None, device: str) -> None:
    """Serve the web page's camera tab to this computer until Ctrl-C."""
    from mien.cli.serve import show_camera
    from mien.recognise.media import is_camera

    if len(inputs) != 1 or not is_camera(inputs[0]):
        raise InputError("--show is for a camera only: mien predict 0 --show; for photos use --out")
    show_camera(model, device)


def _copy_target(item: Item, out: Path) -> Path:
    """The path of a photo's marked copy: unique among the photos beside it, and not too long for file systems."""
    wanted, photo = out / item.name, Path(item.where)
    if wanted.suffix.lower() not in _WRITTEN:
        end, number = ".png", 1
        # A photo x.bmp.png may exist beside x.bmp. os.path.exists, as Path.exists raises for names that are too long.
        while os.path.exists(f"{photo}{end}"):  # noqa: PTH110
            number += 1
            end = f".{number}.png"
        wanted = wanted.with_name(wanted.name + end)
    target = target_of(item, wanted, out)
    if target != wanted:
        note(f"{item.shown}: its name is too long for a copy, which is called {target.name}")
    return target


def _write_copy(item: Item, faces: Faces, out: Path, *, explain: bool) -> None:
    """Write a copy of a photo with its faces marked into `out`, under the item's name.

    With `explain` also write a picture for each face with the pixels that mattered.
    """
    faces.save(_copy_target(item, out))
    for number, face in enumerate(faces if explain else [], 1):
        face.explain().save(fitting(out / f"{item.name}.face-{number}.png"))
