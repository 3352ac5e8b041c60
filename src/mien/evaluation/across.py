"""Scores on data that a network never saw, whose classes are some of its expressions or have other names.

The scores are over the *shared* expressions, those that the network knows and the faces have: its
probabilities restricted to them and made to sum to 1, as the ImageNet variants with fewer classes are scored
(Hendrycks et al. 2021, The Many Faces of Robustness, and Natural Adversarial Examples, which leave the other
classes' outputs out). So a face is not lost to an answer that the data have no class for, and the figures of
networks with other label sets can be compared. Beside it stands what somebody sees who uses the network:
the accuracy of its own answers, out of everything it knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mien.data.mapping import ClassMap, complete_map
from mien.data.store import FaceStore, FaceView
from mien.errors import InputError
from mien.expressions import Expressions

#: What names of evaluations of other data begin with.
PREFIX = "across-"


@dataclass(frozen=True)
class OwnAnswers:
    """One view's answers out of all that the network knows, on the faces of shared expressions.

    Attributes:
        accuracy, accuracy_interval: 0..1, with its 95 % bootstrap interval.
        elsewhere: the share of answers that name none of the shared expressions.
    """

    accuracy: float
    accuracy_interval: tuple[float, float]
    elsewhere: float


@dataclass(frozen=True)
class Across:
    """How classes of other data were read.

    Attributes:
        split: of those data that was scored; "all" for every face.
        classes: every class of the data -> the network's expression, None where left out.
        left_out: class -> faces that were left out.
        known: all the expressions that the network knows.
        own_answers: by view.
    """

    split: str
    classes: dict[str, str | None]
    left_out: dict[str, int]
    known: Expressions
    own_answers: dict[str, OwnAnswers]

    @property
    def renamed(self) -> dict[str, str]:
        """The classes that go by another name with the network."""
        return {name: own for name, own in self.classes.items() if own not in (None, name)}

    def sentences(self, shared: Expressions) -> list[str]:
        """What a reader has to know of the mapping."""
        absent = [name for name in self.known if name not in shared]
        told = [
            f"Scores are over the {len(shared)} shared expressions ({', '.join(shared)}): probabilities "
            "are restricted to them and made to sum to 1."
        ]
        if absent:
            told[0] += f" The network also knows {', '.join(absent)}."
        if self.renamed:
            pairs = ", ".join(f"{name} = {own}" for name, own in self.renamed.items())
            told.append(f"Read as: {pairs}.")
        if self.left_out:
            faces = ", ".join(f"{count:,} of {name}" for name, count in self.left_out.items())
            told.append(f"Left out: {faces}.")
        return told

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Across:
        """The inverse of `to_dict`, also after a way through JSON."""
        own = {
            view: OwnAnswers(**{**one, "accuracy_interval": tuple(one["accuracy_interval"])})
            for view, one in content["own_answers"].items()
        }
        return cls(**{**content, "known": tuple(content["known"]), "own_answers": own})


def mapped(
    faces: FaceView, given: ClassMap, known: Expressions, split: str
) -> tuple[FaceView, Across]:
    """Faces labelled with what the network knows, those left out taken away; and how that was done."""
    store = faces.store
    # A label set may list more than the data have; a class without a face need not be mapped.
    present = {store.expressions[label] for label in np.unique(store.labels)}
    classes = complete_map(given, present, known, store.source)
    places = np.array([_place(classes.get(name), known) for name in store.expressions])
    labels = places[faces.labels]
    names = np.array(store.expressions)[faces.labels[labels < 0]].tolist()
    relabelled = replace(store, labels=np.maximum(places[store.labels], 0), expressions=known)
    across = Across(
        split=split,
        classes=classes,
        left_out={name: names.count(name) for name in sorted(set(names))},
        known=known,
        own_answers={},
    )
    kept = relabelled.faces(faces.indices[labels >= 0])
    if len(np.unique(kept.labels)) < 2:
        raise InputError(
            f"{store.source}: of the classes {', '.join(classes)}, fewer than two are expressions that the "
            f"network knows ({', '.join(known)}), so there is nothing to tell apart; say with --map what they are"
        )
    return kept, across


def name_of(source: str) -> str:
    """What the evaluation of some data goes by: `across-` and the last part of their path.

    >>> name_of("/photos/My Faces.zip")
    'across-my-faces.zip'
    """
    plain = re.sub(r"[^\w.]+", "-", Path(source).name.lower()).strip("-.")
    return f"{PREFIX}{plain or 'data'}"


def lacks_some(store: FaceStore, known: Expressions) -> bool:
    """Whether the data, of whatever split, hold no face of some of the expressions."""
    present = {store.expressions[label] for label in np.unique(store.labels)}
    return not present.issuperset(known)


def _place(name: str | None, known: Expressions) -> int:
    return -1 if name is None else known.index(name)
