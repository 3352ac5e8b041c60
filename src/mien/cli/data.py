"""mien data: inspect faces, audit them, read them into the cache, download FER-2013."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Group
from rich.table import Table

from mien import api
from mien.cli import options
from mien.cli.output import show
from mien.data.ferplus import CHOICES, EIGHT, VoteCounts, count_votes, read_votes
from mien.data.inspect import Inspection, contact_sheet
from mien.data.inspect import inspect as count
from mien.data.majority import write_majority
from mien.data.store import FaceStore
from mien.errors import InputError, quantity
from mien.terminal import counting, facts, note, progress_bar, table

app = typer.Typer(
    help="Inspect data, audit them, prepare them for training, download FER-2013.",
    no_args_is_help=True,
)
Source = Annotated[str, typer.Argument(metavar="PATH", help="As --data of `mien train`.")]


def _load(
    path: str, labels: str | None, *, skip_damaged: bool = False, size: int = 48
) -> FaceStore:
    store = api.load(path, labels=labels, size=(size, size), skip_damaged=skip_damaged)
    for sentence in store.notes:
        note(f"note: {sentence}")
    return store


@app.command()
def inspect(
    path: Source,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Also write a picture of samples.")
    ] = None,
    votes: options.Votes = None,
    labels: options.Labels = None,
    skip_damaged: options.SkipDamaged = False,
    as_json: options.Json = False,
) -> None:
    """Count faces by split and expression, find exact copies, draw samples."""
    given = read_votes(votes) if votes is not None else None
    store = _load(path, labels, skip_damaged=skip_damaged)
    found = count(store)
    content, tables = asdict(found), [_counts(found), _facts(found)]
    if given is not None:
        said = count_votes(given.join(store))
        content["votes"] = {split: asdict(counts) for split, counts in said.items()}
        tables += [_votes(said), _named(said)]
    show(content, Group(*tables), as_json=as_json)
    if out is not None:
        contact_sheet(store, out)
        note(f"samples: {out}")


Crop = Annotated[
    Literal["faces"] | None,
    typer.Option(
        metavar="faces",
        help="PATH has photos in class folders: crop their faces into --out, as recognition does.",
    ),
]
Made = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH", help="The new folder of --crop or file of --votes, to use as --data."
    ),
]
Side = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help=(
            "With --crop: side of all faces. With the side of the network's input (48 for "
            "most), training gets the same pixels as recognition. By default each face keeps its "
            "own, 224 at most."
        ),
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="With --crop: size at which faces are searched, as for mien predict.",
    ),
]
Several = Annotated[
    Literal["skip", "largest"] | None,
    typer.Option(
        metavar="skip|largest",
        help="With --crop: skip photos with several faces (the default), or take the largest.",
    ),
]
MajorityVotes = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help=(
            "FER+'s fer2013new.csv, if PATH is FER-2013: write its faces with the majority labels "
            "of the annotators, including contempt, into --out FILE.parquet."
        ),
    ),
]


@app.command()
def prepare(
    path: Source,
    crop: Crop = None,
    out: Made = None,
    side: Side = None,
    size: Size = None,
    several: Several = None,
    votes: MajorityVotes = None,
    labels: options.Labels = None,
    skip_damaged: options.SkipDamaged = False,
    as_json: options.Json = False,
) -> None:
    """Read a source into the cache; or crop faces from photos; or relabel FER-2013 with FER+."""
    if crop is not None and votes is not None:
        raise InputError(
            "--crop is for photos, --votes for the labels of FER-2013: give one of them"
        )
    if crop is not None:
        _crop(path, out, side, size, several or "skip", labels, as_json=as_json)
        return
    for name, given in (("--side", side), ("--size", size), ("--several", several)):
        if given is not None:
            raise InputError(f"{name} is an option of cropping: add --crop faces")
    if votes is not None:
        _relabel(path, votes, out, labels, skip_damaged, as_json=as_json)
        return
    if out is not None:
        raise InputError("--out is for cropped or relabelled faces: add --crop faces or --votes")
    found = count(_load(path, labels, skip_damaged=skip_damaged))
    show(asdict(found), _counts(found), as_json=as_json)
    if found.cache is not None:
        note(f"ready in {found.cache}")


@app.command()
def download(
    _name: Annotated[
        Literal["fer2013"], typer.Argument(metavar="fer2013", help="The dataset's name.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Target folder; by default kagglehub's cache."),
    ] = None,
) -> None:
    """Download FER-2013 from Kaggle with your own API key (extra 'data')."""
    from mien.data.download import download_fer2013

    folder = download_fer2013(out, note)
    note(f"next: mien data inspect {shlex.quote(str(folder))}")


def _crop(
    photos: str,
    out: Path | None,
    side: int | None,
    size: int | None,
    several: Literal["skip", "largest"],
    labels: str | None,
    *,
    as_json: bool,
) -> None:
    """Crop faces from photos; list the skipped photos, and exit with 1 if some could not be read."""
    from mien.cropping import SKIPPED, crop_faces

    if out is None:
        raise InputError("--crop needs --out: the folder to write to")
    with counting("cropping") as progress:
        cropped = crop_faces(
            Path(photos),
            out,
            side=side,
            size=size,
            several=several,
            labels=labels,
            progress=progress,
        )
    counts = table("photos", "number")
    counts.add_row("with a face", f"{cropped.faces:,}")
    for kind, number in cropped.counts.items():
        counts.add_row(kind, f"{number:,}")
    content = {"out": str(out), "faces": cropped.faces}
    show(content | {"skipped": [asdict(one) for one in cropped.skipped]}, counts, as_json=as_json)
    if cropped.skipped:
        note(f"skipped, also in {out / SKIPPED}:")
        for one in cropped.skipped:
            note(f"  {one.reason}" if one.kind == "unreadable" else f"  {one.file}: {one.reason}")
    note(f"next: mien train RECIPE --data {shlex.quote(str(out))}{_with(labels)}")
    if cropped.counts["unreadable"]:
        raise typer.Exit(1)


def _relabel(
    path: str,
    votes: Path,
    out: Path | None,
    labels: str | None,
    skip_damaged: bool,
    *,
    as_json: bool,
) -> None:
    """Write FER-2013 with FER+'s majority labels."""
    if out is None:
        raise InputError("--votes needs --out: the file to write, such as ferplus.parquet")
    said = read_votes(votes)
    written = write_majority(_load(path, labels, skip_damaged=skip_damaged), said, out)
    sums = {split: sum(by.values()) for split, by in written.counts.items()}
    counts = table("majority", *sums, title=quantity(sum(sums.values()), "face"))
    for name in EIGHT:
        counts.add_row(name, *(f"{by[name]:,}" for by in written.counts.values()))
    counts.add_row("all", *(f"{number:,}" for number in sums.values()))
    show({"out": str(out), **asdict(written)}, counts, as_json=as_json)
    note(f"left out: {written.unknown:,} without a majority, {written.no_face:,} that are no face")
    note(f"next: mien train RECIPE --data {shlex.quote(str(out))} --labels {','.join(EIGHT)}")


def _counts(found: Inspection) -> Table:
    counts = table("split", *found.expressions, "all", title=quantity(found.images, "face"))
    for split, by_expression in found.counts.items():
        numbers = [*by_expression.values(), sum(by_expression.values())]
        counts.add_row(split, *(f"{number:,}" for number in numbers))
    return counts


_VOTES = (
    "differs: share of the faces with a majority whose majority is not the label; rejected: share "
    "of all faces whose majority is not the label, that show no face, or whose label has at most "
    "one vote; agree: how often one annotator agrees with the majority of the others"
)


def _votes(said: dict[str, VoteCounts]) -> Table:
    """A table of the annotators' votes for each split."""
    counts = table(
        "split", "no face", "unknown", "contempt", "differs", "rejected", "agree",
        title="FER+: the votes of ten annotators",
        caption=_VOTES,
    )  # fmt: skip
    for split, by in said.items():
        agreement = by.annotator_agreement
        counts.add_row(
            split,
            *(f"{number:,}" for number in (by.no_face, by.unknown, by.contempt)),
            f"{by.differs / max(by.decided, 1):.1%}",
            f"{by.rejected / by.faces:.1%}",
            "" if agreement is None else f"{agreement:.1%}",
        )
    return counts


def _named(said: dict[str, VoteCounts]) -> Table:
    """A table of the majority's labels for the faces of each label, over all splits."""
    sums: dict[str, Counter[str]] = {}
    for by in said.values():
        for label, named in by.confusion.items():
            sums.setdefault(label, Counter()).update(named)
    shares = table("majority", *sums, title="Its share among the faces of each label")
    for name in CHOICES:
        shares.add_row(name, *(f"{named[name] / named.total():.0%}" for named in sums.values()))
    return shares


def _facts(found: Inspection) -> Table:
    copies = found.copies
    in_train = ", ".join(f"{n:,} {split}" for split, n in copies.with_copy_in_train.items())
    groups = (
        f"{quantity(copies.groups, 'group')} of {quantity(copies.images, 'image')}; across splits: "
        f"{copies.groups_across_splits:,}, with different labels: {copies.groups_with_different_labels:,}"
    )
    return facts(
        ("read as", found.layout or "a store"),
        ("size", f"{found.width} x {found.height}, {quantity(found.channels, 'channel')}"),
        ("fingerprint", found.fingerprint),
        ("exact copies", groups),
        ("copies in training", f"of {in_train} images"),
    )


@app.command()
def audit(
    path: Source,
    votes: options.Votes = None,
    cross_validate: Annotated[
        bool,
        typer.Option(
            "--cross-validate", help="Train networks in folds, and list labels that they reject."
        ),
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(metavar="MINUTES", help="Training time of --cross-validate; by default 30."),
    ] = None,
    size: Annotated[
        int,
        typer.Option(
            metavar="PIXELS",
            min=8,
            help=(
                "Size at which pictures of mixed sizes are read: that of the input of the recipe "
                "that --exclude is for."
            ),
        ),
    ] = 48,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for page, JSON and list of exclusions.")
    ] = Path("audit"),
    skip_damaged: options.SkipDamaged = False,
    device: options.Device = "auto",
    labels: options.Labels = None,
    as_json: options.Json = False,
) -> None:
    """Find copies, wrong labels and bad pictures; write a page, and a list for --exclude.

    Finds exact and near copies within and across splits, copies with conflicting labels, blank
    pictures, drawings, pictures without a face, extreme light, labels that FER+'s annotators or
    networks reject, and reports the class balance.
    """
    from mien.auditing.audit import Look
    from mien.auditing.audit import audit as look_through
    from mien.auditing.page import refuse_edited, render_audit, write_audit

    if budget is not None and not cross_validate:
        raise InputError("--budget is the time for training in folds: add --cross-validate")
    looks: tuple[Look, ...] = ()
    if cross_validate:
        from mien.auditing.cross_validation import CrossValidation

        looks = (CrossValidation(30 if budget is None else budget, device),)
    refuse_edited(out)
    store = _load(path, labels, skip_damaged=skip_damaged, size=size)
    with progress_bar() as bar:
        tasks: dict[str, int] = {}

        def progress(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name)
            bar.update(tasks[name], completed=done, total=total)  # type: ignore[arg-type]

        found = look_through(store, votes=votes, looks=looks, progress=progress)
    write_audit(found, out)
    show(found.to_dict(), render_audit(found), as_json=as_json)
    note(f"page: {out / 'audit.html'}")
    note(f"next: read {out / 'exclusions.csv'}, delete rows that you do not agree with, then")
    excluded = shlex.quote(str(out / "exclusions.csv"))
    note(f"      mien train RECIPE --data {shlex.quote(path)} --exclude {excluded}{_with(labels)}")


def _with(labels: str | None) -> str:
    """The label set as it goes on in the next command."""
    return "" if labels is None else f" --labels {shlex.quote(labels)}"
