"""The findings of an audit: faces, each with a note, and whether they belong on the list of exclusions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien.auditing.tones import BLANK, BRIGHT, DARK, FLAT, LITTLE_CONTRAST, Tones
from mien.data.copies import Pairs, grouped, identities
from mien.data.ferplus import CHOICES, NO_FACE, UNKNOWN, LabelledVotes
from mien.data.store import SPLITS, FaceStore


@dataclass(frozen=True)
class Finding:
    """Faces of a store that have one fault.

    Attributes:
        name: short name, for JSON and lists.
        title, explanation: heading and sentences for people.
        faces: int64 (n,), positions in the store; the worst first, copies group by group.
        notes: n notes, one for each face.
        excludes: bool (n,), True for faces that go on the list of exclusions.
    """

    name: str
    title: str
    explanation: str
    faces: NDArray[np.int64]
    notes: tuple[str, ...]
    excludes: NDArray[np.bool_] = field(repr=False)

    def __len__(self) -> int:
        return len(self.faces)


def of_pictures(tones: Tones, faceless: NDArray[np.bool_]) -> list[Finding]:
    """Find blank and drawn pictures, which are excluded, and faceless, dark, bright and gray ones, which are not.

    Args:
        tones: tones of the N faces of a store.
        faceless: bool (N,), True if no face was found.
    """
    blank = tones.spread < BLANK
    flat = (tones.flat > FLAT) & ~blank
    return [
        _by_figure(
            "blank",
            "Blank pictures",
            "All of one tone.",
            blank,
            tones.mean,
            "gray level {:.0f}",
            excluded=True,
        ),
        _by_figure(
            "not a photograph",
            "Pictures that are no photographs",
            f"Writing, icons, drawings: more than {FLAT:.0%} of their pixels equal the next one.",
            flat,
            -tones.flat,
            "{:.0%} flat",
            excluded=True,
        ),
        _by_figure(
            "no face found",
            "Pictures in which no face is found",
            "A detector looked twice. It misses faces that fill the picture, look away or are covered, so "
            "most of these have one: look at them; they are not on the list of exclusions.",
            faceless & ~blank & ~flat,
            tones.mean,
            "",
        ),
        *_of_light(tones, blank),
    ]


def _of_light(tones: Tones, blank: NDArray[np.bool_]) -> list[Finding]:
    """Pictures that are very dark, very bright or of little contrast, but not blank."""
    return [
        _by_figure(
            "dark",
            "Very dark pictures",
            f"A mean gray level below {DARK:.0f} of 255.",
            (tones.mean < DARK) & ~blank,
            tones.mean,
            "gray level {:.0f}",
        ),
        _by_figure(
            "bright",
            "Very bright pictures",
            f"A mean gray level above {BRIGHT:.0f} of 255.",
            (tones.mean > BRIGHT) & ~blank,
            -tones.mean,
            "gray level {:.0f}",
        ),
        _by_figure(
            "little contrast",
            "Pictures with little contrast",
            f"Gray levels with a standard deviation below {LITTLE_CONTRAST:.0f}.",
            (tones.spread < LITTLE_CONTRAST) & ~blank,
            tones.spread,
            "spread {:.0f}",
        ),
    ]


def of_copies(store: FaceStore, pairs: Pairs) -> list[Finding]:
    """Find exact and near copies, and groups of copies with different labels.

    One face of each group stays. It has the group's most frequent label; a test face is preferred to a
    validation face, that to a training face, and the first to later ones. If no label is the most frequent,
    the right one is unknown and no face stays.

    Args:
        store: the faces.
        pairs: int64 (P, 2), the near copies.
    """
    group, identity = grouped(store, pairs), identities(store)
    several = np.flatnonzero(np.bincount(group)[group] > 1)
    several = several[np.argsort(group[several], kind="stable")]
    members = np.split(several, np.flatnonzero(np.diff(group[several])) + 1) if len(several) else []
    copies: list[tuple[int, str, bool]] = []
    doubted: list[tuple[int, str, bool]] = []
    for faces in members:
        labels = Counter(store.labels[faces].tolist())
        (label, most), *others = labels.most_common()
        agreed = not others or most > others[0][1]
        keeper = None
        if agreed:
            own = faces[store.labels[faces] == label]
            keeper = int(own[np.argmax(store.splits[own])])
        said = ", ".join(f"{store.expressions[one]} {n}" for one, n in labels.most_common())
        for face in faces.tolist():
            if keeper is not None and face != keeper:
                kind = "exact" if identity[face] == identity[keeper] else "near"
                copies.append((face, f"{kind} copy of {store.rows[keeper]}", True))
            elif keeper is not None:
                copies.append((face, "has copies, stays", False))
            if others:
                doubted.append((face, f"its copies are labelled {said}", not agreed))
    return [
        _listed(
            "copies",
            "Copies",
            "The same photograph more than once: to the pixel (exact), or cut, sized, lit, saved or mirrored "
            "differently (near). One of each group stays: a test face before a validation face before a "
            "training face.",
            copies,
        ),
        _listed(
            "conflicting labels",
            "Copies with conflicting labels",
            "One photograph, different labels. Where one label is more frequent than the others, a face that "
            "has it stays; else none does.",
            doubted,
        ),
    ]


def of_votes(votes: LabelledVotes) -> list[Finding]:
    """Find labels that FER+'s annotators reject, those with the least support first."""
    majority, support = votes.majority(), votes.label_votes()
    rejected = np.flatnonzero(votes.rejected())
    order = rejected[np.argsort(support[rejected], kind="stable")]
    without: list[tuple[int, str, bool]] = []
    others: list[tuple[int, str, bool]] = []
    for face in order.tolist():
        if majority[face] == NO_FACE:
            without.append((face, "no face, say annotators", True))
        else:
            named = "nothing" if majority[face] == UNKNOWN else CHOICES[majority[face]]
            others.append((face, f"most name {named}, {support[face]:.0%} the label", True))
    return [
        _listed(
            "no face by votes",
            "Pictures without a face, say annotators",
            "Most of FER+'s ten annotators saw none, or FER+ leaves the picture out.",
            without,
        ),
        _listed(
            "label rejected by votes",
            "Labels that annotators reject",
            "Most of FER+'s ten annotators name another expression, or at most one chose the label.",
            others,
        ),
    ]


def count_by_split(store: FaceStore, finding: Finding) -> dict[str, int]:
    """Count the faces of a finding: split -> number."""
    counts = np.bincount(store.splits[finding.faces], minlength=len(SPLITS))
    return dict(zip(SPLITS, counts.tolist(), strict=True))


def _by_figure(
    name: str,
    title: str,
    explanation: str,
    where: NDArray[np.bool_],
    figure: NDArray[np.float32],
    note: str,
    *,
    excluded: bool = False,
) -> Finding:
    """Make a finding of the faces in `where`, bool (N,), in increasing order of `figure`, float32 (N,)."""
    faces = np.flatnonzero(where)
    faces = faces[np.argsort(figure[faces], kind="stable")]
    notes = tuple(note.format(abs(value)) for value in figure[faces].tolist())
    return Finding(name, title, explanation, faces, notes, np.full(len(faces), excluded))


def _listed(name: str, title: str, explanation: str, faces: list[tuple[int, str, bool]]) -> Finding:
    return Finding(
        name,
        title,
        explanation,
        np.array([face for face, _, _ in faces], np.int64),
        tuple(note for _, note, _ in faces),
        np.array([excluded for _, _, excluded in faces], np.bool_),
    )
