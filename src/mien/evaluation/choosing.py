"""Choose the faces to score a network on: a split of its training data, or other data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mien.data.build import fingerprint
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

#: The splits of training data: name on the command line -> field of `Splits`.
SPLIT_NAMES = {
    "validation": "validation",
    "test": "test",
    "official-validation": "official_validation",
    "train": "train",
}
#: The name for all faces of other data, whatever their split.
ALL = "all"


@dataclass(frozen=True)
class Chosen:
    """Faces to score, labelled in the order of the network's expressions.

    Attributes:
        faces: the faces of the split.
        trained: the network's training faces in the same store; empty if it was trained on other data.
        split: the name of the split.
        across: the mapping of classes, if they were mapped, else None.
        foreign: whether the network is known to have been trained on other data.
    """

    faces: FaceView
    trained: FaceView
    split: str
    across: Across | None
    foreign: bool = False


def check_request(split: str | None, tta: str) -> None:
    """Check the names of a split and a view, before anything is computed.

    Raises:
        InputError: one of them is unknown.
    """
    names = (*SPLIT_NAMES, ALL)
    if split is not None and split not in names:
        raise InputError(f"unknown split {split!r}: {near_names(split, names)}")
    find_view(tta)


def choose_for_run(
    run: RunFolder, store: FaceStore, split: str | None, mapping: ClassMap | None = None
) -> Chosen:
    """Choose faces for a run, by its recipe; its excluded faces are not among the training faces.

    Args:
        run: the run folder.
        store, split, mapping: see `choose`.

    Raises:
        InputError: see `choose`.
    """
    trained_on = run.trained_on()
    recipe = run.recipe()
    chosen = choose(
        recipe.split,
        recipe.expressions,
        store,
        split,
        where=str(run.path),
        trained_on=trained_on,
        mapping=mapping,
    )
    own = trained_on == chosen.trained.store.fingerprint
    if run.exclusions_path.is_file() and own and len(chosen.trained):
        left = read_exclusions(run.exclusions_path).applied(chosen.trained)
        return replace(
            chosen, trained=left, faces=left if chosen.split == "train" else chosen.faces
        )
    return chosen


def faces_to_score(run: RunFolder, store: FaceStore, split: str) -> tuple[FaceView, FaceView]:
    """(faces of the split, training faces of the run), labelled in the order of the run's recipe.

    Raises:
        InputError: see `choose`.
    """
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
    """Choose the faces of a split, by the split rule of a network's training.

    Classes are mapped if a mapping is given, or if the data are not the training data and do not have
    exactly the network's expressions.

    Args:
        rule: the split rule of the training.
        expressions: the network's expressions.
        store: the data.
        split: a name in `SPLIT_NAMES`, or `ALL` for other data. Default: "validation", or `ALL` for other
            data without splits.
        where: the network, for messages.
        trained_on: the fingerprint of its training data; None if it is not known.
        mapping: the data's classes -> the network's expressions.

    Raises:
        InputError: the split is empty or unfair (all of the training data, or a validation split drawn
            from other data), or the classes do not fit the network.
    """
    known = tuple(canonical(name) for name in expressions)
    store, mapping = _as_trained(store, known, mapping, trained_on)
    own = trained_on == store.fingerprint
    foreign = trained_on is not None and not own
    untold = bool((store.splits == TRAIN).all())
    others = foreign or (mapping is not None and not own)
    split = split or (ALL if untold and others else "validation")
    if split == ALL and own:
        raise InputError(
            f"{store.source}: {where} was trained on some of its faces, so all of them are no fair test; "
            f"choose --split {', '.join(SPLIT_NAMES)}"
        )
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
        return Chosen(faces, splits.train, split, None, foreign)
    faces, across = mapped(faces, mapping or {}, known, split)
    trained = splits.train.indices[: 0 if foreign or split == ALL else None]
    return Chosen(faces, faces.store.faces(trained), split, across, foreign)


def split_rule_in(recipe: Any, where: str) -> SplitRule:
    """Read the split rule of the recipe in a model file.

    Raises:
        InputError: there is none, or it is damaged; `where` is the file, for the message.
    """
    try:
        rule = recipe["split"]
        holdout = rule["holdout"]
        return SplitRule(None if holdout is None else float(holdout), int(rule["seed"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{where}: no split rule that can be read ({error!r}); train again"
        ) from error


def _as_trained(
    store: FaceStore, known: Expressions, mapping: ClassMap | None, trained_on: str | None
) -> tuple[FaceStore, ClassMap | None]:
    """The store as it was in the network's training, if only its classes were read in another order or by other names.

    Its fingerprint then tells that these are the training data. Of a map that names the classes as the training
    did, nothing is left to do.
    """
    if trained_on in (None, store.fingerprint):
        return store, mapping
    for given, left in ((None, mapping), (mapping, None)):
        names = [(given or {}).get(name, name) for name in store.expressions]
        place_of = np.array([-1 if name not in known else known.index(name) for name in names])
        labels = place_of[store.labels]
        if (labels >= 0).all() and trained_on == fingerprint(
            labels, store.splits, store.digests, known
        ):
            return replace(store, labels=labels, expressions=known, fingerprint=trained_on), left
    return store, mapping


def _relabelled(store: FaceStore, known: Expressions, where: str) -> FaceStore:
    """The store with labels in the network's order, mapped by name.

    Raises:
        InputError: the expressions are not the same set.
    """
    if store.expressions == known:
        return store
    if sorted(store.expressions) != sorted(known):
        raise InputError(
            f"{store.source}: its expressions are {', '.join(store.expressions)}, but {where} "
            f"was trained on {', '.join(known) or 'none that its recipe names'}; "
            "give data with the same set, or map them with --map"
        )
    position = np.array([known.index(name) for name in store.expressions], dtype=np.int64)
    return replace(store, labels=position[store.labels], expressions=known)


def _is_carved(splits: Splits) -> bool:
    """Whether the validation faces were drawn from Training, not the source's own."""
    return not np.array_equal(splits.validation.indices, splits.official_validation.indices)


def _refuse_other_data(where: str, trained_on: str | None, store: FaceStore) -> None:
    """Refuse a drawn validation split of other data than the training's.

    Drawn from other data, or from a part of the same, it would contain training faces of the run.

    Raises:
        InputError: the data are known to be others.
    """
    if trained_on is not None and trained_on != store.fingerprint:
        raise InputError(
            f"{store.source}: {where} drew its validation faces from other data "
            f"(fingerprint {trained_on[:12]}, not {store.fingerprint[:12]}); "
            f"give the data it was trained on, or another --split ({ALL} for every face of other data)"
        )
