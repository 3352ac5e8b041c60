"""Search a set of faces for faults that spoil a training or a score; without torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.auditing.findings import (
    Finding,
    count_by_split,
    of_copies,
    of_pictures,
    of_votes,
)
from mien.auditing.tones import faceless, measure_tones
from mien.callbacks import Progress
from mien.data.copies import Copies, count_copies
from mien.data.ferplus import read_votes
from mien.data.inspect import Inspection, inspect
from mien.data.near import near_pairs
from mien.data.store import FaceStore

#: Called from time to time with (name of the search, faces done, faces in all).
LookProgress = Callable[[str, int, int], None]
#: A slow search of a store; returns its findings.
Look = Callable[[FaceStore, LookProgress], list[Finding]]


@dataclass
class Audit:
    """The results of an audit.

    Attributes:
        store: the faces.
        inspection: counts of the store, and its exact copies.
        copies: counts of exact and near copies together.
        findings: one for each kind of fault, possibly empty.
        seconds: name of a search -> its duration.
    """

    store: FaceStore
    inspection: Inspection
    copies: Copies
    findings: list[Finding]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def excluded(self) -> int:
        """Number of faces on the list of exclusions."""
        return len({f for one in self.findings for f in one.faces[one.excludes].tolist()})

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for audit.json: the findings with all their rows."""
        rows = self.store.rows
        said = self.inspection
        return {
            "data": {"source": said.source, "fingerprint": said.fingerprint, "faces": said.images},
            "counts": said.counts,
            "exact_copies": vars(said.copies),
            "copies": vars(self.copies),
            "findings": {
                one.name: {
                    "faces": len(one),
                    "excluded": int(one.excludes.sum()),
                    "splits": count_by_split(self.store, one),
                    "rows": dict(zip(rows[one.faces].tolist(), one.notes, strict=True)),
                }
                for one in self.findings
            },
            "excluded": self.excluded,
            "seconds": {name: round(seconds, 1) for name, seconds in self.seconds.items()},
        }


def audit(
    store: FaceStore,
    *,
    votes: str | Path | None = None,
    looks: tuple[Look, ...] = (),
    progress: LookProgress = lambda *_: None,
) -> Audit:
    """Search a store for copies, unusable pictures and rejected labels.

    Args:
        store: the faces.
        votes: path of FER+'s fer2013new.csv, to find labels that annotators reject.
        looks: further searches, such as `CrossValidation`.
        progress: called from time to time.

    Raises:
        InputError: the votes do not match the data, or a search in `looks` raises it.
    """
    joined = read_votes(votes).join(store) if votes is not None else None
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[Progress]:
        started = time.monotonic()
        yield lambda done, total: progress(name, done, total)
        seconds[name] = time.monotonic() - started

    with timed("copies") as told:
        pairs = near_pairs(store, progress=told)
    with timed("pictures") as told:
        findings = of_pictures(measure_tones(store), faceless(store, told))
    findings += of_copies(store, pairs)
    if joined is not None:
        findings += of_votes(joined)
    for look in looks:
        with timed("labels"):
            findings += look(store, progress)
    return Audit(store, inspect(store), count_copies(store, pairs), findings, seconds)
