"""The files of an audit; audit.html shows the faces, for the owner of the data only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from mien.auditing.audit import Audit
from mien.auditing.findings import Finding, count_by_split
from mien.data.copies import Copies
from mien.data.exclusions import write_exclusions
from mien.data.store import SPLITS, FaceStore
from mien.errors import InputError, quantity
from mien.evaluation.text import duration
from mien.files import read_json, write_json
from mien.pages import blocks
from mien.pages.render import as_terminal, write
from mien.pages.report import picture
from mien.terminal import Stack

#: In audit.json: the SHA-256 of the list of exclusions as it was written.
_DIGEST = "exclusions_sha256"

#: Number of faces shown for each finding.
PICTURED = 48

_LIST = (
    "`exclusions.csv` lists them, with reasons: delete the lines that you do not agree with, then give it to "
    "`--exclude` of `mien train` or `mien evaluate`."
)
_OWN = "The pictures on this page are from your own data, for your own eyes: mind their licence before you pass it on."
_COPIES = (
    "Exact: the same to the pixel. Near: the same photograph, cut, sized, lit, saved or mirrored differently. "
    "A score on images that have a copy in Training says less than it seems."
)


def write_audit(audit: Audit, out: Path) -> Path:
    """Write audit.html, audit.json and exclusions.csv into a folder, each atomically.

    Returns:
        The path of audit.html.

    Raises:
        InputError: see `refuse_edited`; or a file cannot be written.
    """
    refuse_edited(out)
    listed = out / "exclusions.csv"
    write_exclusions(
        listed,
        audit.store,
        (
            (one.faces[one.excludes], [f"{one.name}: {note}" for note in _of(one)])
            for one in audit.findings
        ),
    )
    write_json(out / "audit.json", audit.to_dict() | {_DIGEST: _digest(listed)})
    return _write_page(audit, out / "audit.html")


def refuse_edited(out: Path) -> None:
    """Refuse to replace a list of exclusions that was changed after an audit wrote it.

    Raises:
        InputError: the folder has such a list, or one that no audit wrote.
    """
    listed, about = out / "exclusions.csv", out / "audit.json"
    if listed.is_file():
        written = read_json(about, "choose another --out") if about.exists() else {}
        if written.get(_DIGEST) != _digest(listed):
            raise InputError(
                f"{listed}: was edited, and would be replaced; choose another --out, or move it away"
            )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_page(audit: Audit, path: Path) -> Path:
    """Write the page and return its path."""
    said, store = audit.inspection, audit.store
    title = f"{Path(said.source).name}: audit"
    about = (
        f"{quantity(said.images, 'face')}, {said.width} x {said.height} · {said.source} · "
        f"fingerprint {said.fingerprint[:12]}"
    )
    share = f"{audit.excluded / said.images:.1%} of {quantity(said.images, 'face')}"
    balance = blocks.Table(["split", *said.expressions, "all"], _balance(audit))
    times = [(name, duration(seconds)) for name, seconds in audit.seconds.items()]
    parts = [
        blocks.Headline(
            f"{audit.excluded:,}",
            "faces on the list of exclusions",
            [blocks.Text(share, "quiet"), blocks.Text(_LIST, "quiet", marked=True)],
        ),
        blocks.Text(_OWN, "note"),
        *blocks.section("Findings", _found(audit)),
        *blocks.section("Copies", _copies(audit), said=_COPIES),
        *blocks.section("Balance", balance),
    ]
    for one in audit.findings:
        parts += _section(store, one)
    parts += blocks.section("How long it took", blocks.Facts(times))
    return write(blocks.Page(title, parts, about), path)


def render_audit(audit: Audit) -> Stack:
    """Render the counts of an audit for the terminal."""
    return as_terminal(_copies(audit), _found(audit))


def _balance(audit: Audit) -> list[list[str]]:
    rows = []
    for split, counts in audit.inspection.counts.items():
        total = sum(counts.values())
        shares = [f"{n:,} ({n / total:.1%})" if total else "0" for n in counts.values()]
        rows.append([split, *shares, f"{total:,}"])
    return rows


def _copies(audit: Audit) -> blocks.Table:
    both: Sequence[Copies] = (audit.inspection.copies, audit.copies)
    rows = [
        ("groups", [one.groups for one in both]),
        ("images in them", [one.images for one in both]),
        ("groups across splits", [one.groups_across_splits for one in both]),
        ("groups with different labels", [one.groups_with_different_labels for one in both]),
    ]
    rows += [
        (f"{split} images with a copy in train", [one.with_copy_in_train[split] for one in both])
        for split in both[0].with_copy_in_train
    ]
    cells = [[name, *(f"{n:,}" for n in counts)] for name, counts in rows]
    return blocks.Table(["", "exact", "exact and near"], cells, title="copies")


def _found(audit: Audit) -> blocks.Table:
    rows = [
        [
            one.name,
            *(f"{n:,}" for n in count_by_split(audit.store, one).values()),
            f"{len(one):,}",
            f"{int(one.excludes.sum()):,}",
        ]
        for one in audit.findings
    ]
    return blocks.Table(["finding", *SPLITS, "all", "on the list"], rows, title="findings")


def _section(store: FaceStore, finding: Finding) -> list[blocks.Block]:
    shown = finding.faces[:PICTURED].tolist()
    said = finding.explanation
    if len(shown) < len(finding):
        said += f" The first {len(shown)} of {len(finding):,}; audit.json has them all."
    faces = [
        blocks.Pictured(
            picture=picture(store.pixels[face]),
            row=str(store.rows[face]),
            label=store.expressions[store.labels[face]],
            name=store.expressions[store.labels[face]],
            beside=SPLITS[store.splits[face]],
            below=[f"row {store.rows[face]}", *([note] if note else [])],
        )
        for face, note in zip(shown, finding.notes[: len(shown)], strict=True)
    ]
    return blocks.section(f"{finding.title}: {len(finding):,}", blocks.Gallery(faces), said=said)


def _of(finding: Finding) -> list[str]:
    """The notes of the excluded faces."""
    return [note for note, out in zip(finding.notes, finding.excludes, strict=True) if out]
