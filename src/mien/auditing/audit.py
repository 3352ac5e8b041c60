"""Looking through a set of faces for what spoils a training or a score. No torch here."""

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

#: Called now and then with (the name of the look, faces done, faces in all).
LookProgress = Callable[[str, int, int], None]
#: A look at a store that takes long: the findings of it.
Look = Callable[[FaceStore, LookProgress], list[Finding]]


@dataclass
class Audit:
    """What an audit found in a store.

    Attributes:
        store: the faces.
        inspection: its counts, and its exact copies.
        copies: exact and near ones together.
        findings: by kind; some of them empty.
        seconds: what each look took.
    """

    store: FaceStore
    inspection: Inspection
    copies: Copies
    findings: list[Finding]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def excluded(self) -> int:
        """How many faces are on the list of exclusions."""
        return len({f for one in self.findings for f in one.faces[one.excludes].tolist()})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for audit.json: the findings with all their rows."""
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
    """Look through a store.

    Args:
        store: the faces.
        votes: FER+'s fer2013new.csv, for the labels that annotators reject.
        looks: more that is to be looked for (cross-validation, for one).
        progress: told now and then.

    Raises:
        InputError: votes that do not match the data.
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
