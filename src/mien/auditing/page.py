"""The files of an audit; audit.html shows it with pictures, for the person whose data they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from mien.auditing.audit import Audit
from mien.auditing.findings import Finding, count_by_split
from mien.data.copies import Copies
from mien.data.exclusions import write_exclusions
from mien.data.store import SPLITS, FaceStore
from mien.evaluation.pages import write_page
from mien.evaluation.report import picture
from mien.evaluation.text import duration
from mien.files import write_json
from mien.terminal import table

#: Faces pictured of each finding.
PICTURED = 48

_COPIES_HEAD = ("", "exact", "exact and near")


def write_audit(audit: Audit, out: Path) -> Path:
    """Write audit.html, audit.json and exclusions.csv, each whole or not at all; the page."""
    write_exclusions(
        out / "exclusions.csv",
        audit.store,
        (
            (one.faces[one.excludes], [f"{one.name}: {note}" for note in _of(one)])
            for one in audit.findings
        ),
    )
    write_json(out / "audit.json", audit.to_dict())
    return _write_page(audit, out / "audit.html")


def _write_page(audit: Audit, path: Path) -> Path:
    """Write the page; the path of it."""
    said, store = audit.inspection, audit.store
    return write_page(
        path,
        "audit.html.j2",
        title=f"{Path(said.source).name}: audit",
        subtitle=f"{said.images:,} faces, {said.width} x {said.height} · {said.source} · "
        f"fingerprint {said.fingerprint[:12]}",
        excluded=f"{audit.excluded:,}",
        share=f"{audit.excluded / said.images:.1%} of {said.images:,} faces",
        balance_head=["split", *said.expressions, "all"],
        balance=_balance(audit),
        copies_head=_COPIES_HEAD,
        copies=_copies(audit),
        head=["finding", *SPLITS, "all", "on the list"],
        rows=_rows(audit),
        findings=[_section(store, one) for one in audit.findings if len(one)],
        times=[(name, duration(seconds)) for name, seconds in audit.seconds.items()],
    )


def render_audit(audit: Audit) -> Group:
    """An audit for the terminal."""
    copies = table(*_COPIES_HEAD, title="copies")
    for row in _copies(audit):
        copies.add_row(*row)
    found: Table = table("finding", *SPLITS, "all", "on the list", title="findings")
    for row in _rows(audit):
        found.add_row(*row)
    return Group(copies, found)


def _balance(audit: Audit) -> list[list[str]]:
    rows = []
    for split, counts in audit.inspection.counts.items():
        total = sum(counts.values())
        shares = [f"{n:,} ({n / total:.1%})" if total else "0" for n in counts.values()]
        rows.append([split, *shares, f"{total:,}"])
    return rows


def _copies(audit: Audit) -> list[list[str]]:
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
    return [[name, *(f"{n:,}" for n in counts)] for name, counts in rows]


def _rows(audit: Audit) -> list[list[str]]:
    return [
        [
            one.name,
            *(f"{n:,}" for n in count_by_split(audit.store, one).values()),
            f"{len(one):,}",
            f"{int(one.excludes.sum()):,}",
        ]
        for one in audit.findings
    ]


def _section(store: FaceStore, finding: Finding) -> dict[str, Any]:
    shown = finding.faces[:PICTURED].tolist()
    return {
        "title": f"{finding.title}: {len(finding):,}",
        "explanation": finding.explanation,
        "more": f"The first {len(shown)} of {len(finding):,}; audit.json has them all."
        if len(shown) < len(finding)
        else "",
        "faces": [
            {
                "picture": picture(store.pixels[face]),
                "row": str(store.rows[face]),
                "label": store.expressions[store.labels[face]],
                "split": SPLITS[store.splits[face]],
                "note": note,
            }
            for face, note in zip(shown, finding.notes[: len(shown)], strict=True)
        ],
    }


def _of(finding: Finding) -> list[str]:
    """The notes of what is excluded."""
    return [note for note, out in zip(finding.notes, finding.excludes, strict=True) if out]
