"""mien predict --engine ray: pictures in large numbers, on a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from mien.cli.output import show
from mien.errors import InputError, quantity
from mien.terminal import facts, note, progress_bar

if TYPE_CHECKING:
    from mien.predict_on_ray import Recognised
    from mien.predict_on_ray.work import Counts

#: Most broken pictures that are printed; broken.csv lists all.
_NAMED = 10


def recognise_on_cluster(
    inputs: Sequence[str],
    out: str | None,
    *,
    as_json: bool,
    model: str | None,
    **settings: Any,
) -> None:
    """Recognise a dataset with a progress bar; exits with 1 if a picture or a shard failed.

    Args:
        inputs, out, as_json: as the command line has them.
        model, settings: as for `mien.predict_on_ray.recognise`.
    """
    if len(inputs) != 1 or out is None:
        raise InputError("--engine ray takes one folder, parquet file or URL, and --out DIR")
    from mien.predict_on_ray import recognise
    from mien.recognise.naming import find_model

    find_model(model, fetch=True, say=note)  # download now: the job's workers do not
    bar = progress_bar(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    task = bar.add_task("starting Ray", total=None)

    def told(done: int, shards: int, counts: Counts) -> None:
        said = f"{done:,} of {quantity(shards, 'shard')}, {quantity(counts.pictures, 'picture')}"
        bar.update(task, completed=done, total=shards, description=said)

    with bar:
        found = recognise(inputs[0], out, model=model, progress=told, **settings)
    show(found.to_dict(), _figures(found), as_json=as_json)
    note(f"written: {found.results}")
    broken = found.counts.broken
    if broken:
        note(
            f"could not be read, {len(broken):,} of {found.counts.pictures:,} (broken.csv lists all):"
        )
        for name, why in broken[:_NAMED]:
            note(f"  {name}: {why}")
    if found.failed:
        note("these shards have no results; the same command tries them again:")
        for shard, why in found.failed[:_NAMED]:
            note(f"  {shard}: {why}")
    if broken or found.failed:
        raise typer.Exit(1)


def _figures(found: Recognised) -> Table:
    counts = found.counts
    done = found.shards - len(found.failed)
    return facts(
        ("pictures", f"{counts.pictures:,}"),
        ("faces", f"{counts.faces:,}"),
        ("without a face", f"{counts.without_a_face:,}"),
        ("broken", f"{len(counts.broken):,}"),
        ("shards", f"{done:,} of {found.shards:,}, {found.done_before:,} of them before"),
    )
