"""Which faces a network is scored on: a split of the data it was trained on, or of others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mien.data.exclusions import read_exclusions
from mien.data.mapping import ClassMap
from mien.data.splits import Splits
from mien.data.splits import split as split_store
from mien.data.store import TRAIN, FaceStore, FaceView
from mien.errors import InputError, near_names
from mien.evaluation.across import Across, lacks_some, mapped
from mien.evaluation.views import find_view
from mien.expressions import Expressions, canonical
from mien.recipe import SplitRule
from mien.runs import RunFolder

#: The splits of the data that a network was trained on: the name on the command line -> the field of
#: `Splits`.
SPLIT_NAMES = {
    "validation": "validation",
    "test": "test",
    "official-validation": "official_validation",
    "train": "train",
}
#: And of other data: every face, whatever its split.
ALL = "all"


@dataclass(frozen=True)
class Chosen:
    """Faces to score, labelled in the order of what the network knows.

    Attributes:
        faces: of the split.
        trained: those of the same store that trained the network; none where it was trained on others.
        split: its name.
        across: how the classes were read, where the data are others and theirs are other ones.
    """

    faces: FaceView
    trained: FaceView
    split: str
    across: Across | None


def check_request(split: str | None, tta: str) -> None:
    """InputError for a split or a view that there is not."""
    names = (*SPLIT_NAMES, ALL)
    if split is not None and split not in names:
        raise InputError(f"unknown split {split!r}: {near_names(split, names)}")
    find_view(tta)


def choose_for_run(
    run: RunFolder, store: FaceStore, split: str | None, mapping: ClassMap | None = None
) -> Chosen:
    """`choose`, by the recipe of a run."""
    fingerprint = (run.known_environment().get("data") or {}).get("fingerprint")
    recipe = run.recipe()
    chosen = choose(
        recipe.split,
        recipe.expressions,
        store,
        split,
        where=str(run.path),
        trained_on=fingerprint,
        mapping=mapping,
    )
    if run.exclusions_path.is_file() and fingerprint == store.fingerprint and len(chosen.trained):
        left = read_exclusions(run.exclusions_path).applied(chosen.trained)
        return replace(chosen, trained=left)
    return chosen


def faces_to_score(run: RunFolder, store: FaceStore, split: str) -> tuple[FaceView, FaceView]:
    """(faces of the split, faces the run trains on), labelled in the order of the run's recipe."""
    chosen = choose_for_run(run, store, split)
    return chosen.faces, chosen.trained


def choose(
    rule: SplitRule,
    expressions: Expressions,
    store: FaceStore,
    split: str | None,
    *,
    where: str,
    trained_on: str | None,
    mapping: ClassMap | None = None,
) -> Chosen:
    """The faces of a split, by the split rule of whatever was trained on data of a fingerprint.

    Classes are read by a mapping where one is given, and where the data are others than those of
    the training and their classes are not just what the network knows.

    Args:
        rule: how the training told its faces apart; expressions: what the network knows.
        store: the data.
        split: a name of `SPLIT_NAMES`; `ALL` of other data; by default "validation", but `ALL` of other
            data that tell no splits.
        where: what was trained, for messages.
        trained_on: a fingerprint, None where it is not known.
        mapping: the data's classes -> what the network knows.
    """
    foreign = trained_on is not None and trained_on != store.fingerprint
    untold = bool((store.splits == TRAIN).all())
    split = split or (ALL if untold and (foreign or mapping is not None) else "validation")
    if split == ALL and trained_on == store.fingerprint:
        raise InputError(
            f"{store.source}: {where} was trained on faces of it, so all of it is no fair test; "
            f"choose --split {', '.join(SPLIT_NAMES)}"
        )
    known = tuple(canonical(name) for name in expressions)
    same_set = sorted(store.expressions) == sorted(known)
    by_class = mapping is not None or split == ALL
    by_class |= foreign and (not same_set or lacks_some(store, known))
    if same_set or not by_class:
        store = _relabelled(store, known, where)
    splits = split_store(store, rule)
    faces = store.faces(np.arange(len(store)))
    if split != ALL:
        faces = getattr(splits, SPLIT_NAMES[split])
    if not len(faces):
        raise InputError(
            f"{store.source}: the {split} split is empty, there is nothing to score; "
            "choose another with --split"
        )
    if split in ("train", "validation") and _is_carved(splits):
        _refuse_other_data(where, trained_on, store)
    if not by_class:
        return Chosen(faces, splits.train, split, None)
    faces, across = mapped(faces, mapping or {}, known, split)
    trained = splits.train.indices[: 0 if foreign or split == ALL else None]
    return Chosen(faces, faces.store.faces(trained), split, across)


def split_rule_in(recipe: Any, where: str) -> SplitRule:
    """The split rule of a recipe out of a model file; InputError if it has none that can be read."""
    try:
        rule = recipe["split"]
        holdout = rule["holdout"]
        return SplitRule(None if holdout is None else float(holdout), int(rule["seed"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{where}: no split rule that can be read ({error!r}); train again"
        ) from error


def _relabelled(store: FaceStore, known: Expressions, where: str) -> FaceStore:
    """The store with labels in the network's order: another order is mapped by name."""
    if store.expressions == known:
        return store
    if sorted(store.expressions) != sorted(known):
        raise InputError(
            f"{store.source}: its expressions are {', '.join(store.expressions)}, but {where} "
            f"was trained on {', '.join(known) or 'none that its recipe names'}; "
            "give data with the same set, or say with --map which are which"
        )
    position = np.array([known.index(name) for name in store.expressions], dtype=np.int64)
    return replace(store, labels=position[store.labels], expressions=known)


def _is_carved(splits: Splits) -> bool:
    """Whether the validation faces were drawn from Training instead of being the source's own."""
    return not np.array_equal(splits.validation.indices, splits.official_validation.indices)


def _refuse_other_data(where: str, trained_on: str | None, store: FaceStore) -> None:
    """A drawn validation split means something only for the data it was drawn from.

    Drawn again from other data, or from part of the same, it would hold faces the run trained on.
    """
    if trained_on is not None and trained_on != store.fingerprint:
        raise InputError(
            f"{store.source}: {where} drew its validation faces from other data "
            f"(fingerprint {trained_on[:12]}, not {store.fingerprint[:12]}); "
            f"give the data it was trained on, or another --split ({ALL} for every face of other data)"
        )
