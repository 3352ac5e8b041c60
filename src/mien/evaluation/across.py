"""Score a network on data with other classes: some of its expressions, or the same with other names.

Scores are over the *shared* expressions, known to the network and present in the faces. Probabilities are restricted
to them and scaled to sum to 1, as usual for ImageNet variants with fewer classes (Hendrycks et al. 2021, The Many
Faces of Robustness, and Natural Adversarial Examples). So an answer outside of the data's classes is not an error by
itself, and networks with different label sets can be compared. The accuracy of the unrestricted answers, which users
of the network get, is reported separately.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mien.data.mapping import ClassMap, complete_map
from mien.data.store import FaceStore, FaceView
from mien.errors import InputError
from mien.expressions import Expressions

#: Prefix of the names of evaluations of other data.
PREFIX = "across-"


@dataclass(frozen=True)
class OwnAnswers:
    """The unrestricted answers of one view, on the faces of shared expressions.

    Attributes:
        accuracy, accuracy_interval: 0..1, with its 95 % bootstrap interval.
        elsewhere: share of answers that are not a shared expression.
    """

    accuracy: float
    accuracy_interval: tuple[float, float]
    elsewhere: float


@dataclass(frozen=True)
class Across:
    """The mapping of the classes of other data.

    Attributes:
        split: the split of these data that was scored; "all" for every face.
        classes: class of the data -> the network's expression; None if it was left out.
        left_out: class -> number of faces left out.
        known: all expressions of the network.
        own_answers: view -> figures of the unrestricted answers.
    """

    split: str
    classes: dict[str, str | None]
    left_out: dict[str, int]
    known: Expressions
    own_answers: dict[str, OwnAnswers]

    @property
    def renamed(self) -> dict[str, str]:
        """The classes with another name in the network: class -> expression."""
        return {name: own for name, own in self.classes.items() if own not in (None, name)}

    def sentences(self, shared: Expressions) -> list[str]:
        """Sentences for a report that explain the mapping and the restriction to `shared`."""
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


def mapped(
    faces: FaceView, given: ClassMap, known: Expressions, split: str
) -> tuple[FaceView, Across]:
    """Relabel faces with the network's expressions, and remove those of classes left out.

    Args:
        faces: the faces.
        given: the user's map.
        known: the network's expressions.
        split: the name of the split.

    Returns:
        (faces that are left, the mapping).

    Raises:
        InputError: the map is incomplete or wrong, or fewer than two expressions are left.
    """
    store = faces.store
    # A label set may list more classes than the data have; classes without faces need no mapping.
    present = {store.expressions[label] for label in np.unique(store.labels)}
    classes = complete_map(given, present, known, store.source)
    own = [classes.get(name) for name in store.expressions]
    places = np.array([-1 if name is None else known.index(name) for name in own])
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
            f"network knows ({', '.join(known)}), so there is nothing to tell apart; map them with --map"
        )
    return kept, across


def name_of(source: str) -> str:
    """The name of the evaluation of some data: `across-` and the last part of their path.

    >>> name_of("/photos/My Faces.zip")
    'across-my-faces.zip'
    """
    plain = re.sub(r"[^\w.]+", "-", Path(source).name.lower()).strip("-.")
    return f"{PREFIX}{plain or 'data'}"


def lacks_some(store: FaceStore, known: Expressions) -> bool:
    """Whether the data, over all splits, have no face of at least one of the expressions."""
    present = {store.expressions[label] for label in np.unique(store.labels)}
    return not present.issuperset(known)
