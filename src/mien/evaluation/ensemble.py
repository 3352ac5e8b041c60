"""Combine several networks by the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mien.errors import InputError
from mien.evaluation.evaluation import Evaluation, ViewScores


def ensemble(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Evaluate the mean of the members' probabilities.

    A face is a copy, or near copy, if it is one for any member. Views that a member lacks are left out.

    Args:
        evaluations: two or more, of the same faces.

    Raises:
        InputError: there are fewer than two, their faces, labels or expressions differ, or they are of
            data with mapped classes.
    """
    if len(evaluations) < 2:
        raise InputError("an ensemble needs two or more runs; give more of them")
    first, *others = evaluations
    if any(one.across is not None for one in evaluations):
        raise InputError(
            f"{first.source}: an ensemble cannot be scored on data with mapped classes; leave --ensemble out"
        )
    for other in others:
        same = (
            other.expressions == first.expressions
            and np.array_equal(other.rows, first.rows)
            and np.array_equal(other.labels, first.labels)
        )
        if not same:
            raise InputError(
                f"{first.source}: the runs were scored on other faces or labels ({other.source}, "
                f"split {other.split}); an ensemble needs the same for all"
            )
    copies = np.any([one.copies for one in evaluations], axis=0)
    looked_for = [one.near_copies for one in evaluations if one.near_copies is not None]
    near_copies = np.any(looked_for, axis=0) if len(looked_for) == len(evaluations) else None
    training_faces = max(one.training_faces for one in evaluations)
    probabilities = {
        view: np.stack([one.probabilities[view] for one in evaluations]).mean(axis=0)
        for view in first.views
        if all(view in other.probabilities for other in others)
    }
    return replace(
        first,
        copies=copies,
        near_copies=near_copies,
        training_faces=training_faces,
        probabilities=probabilities,
        scores={
            view: ViewScores.of(values, first.labels, copies, near_copies, training_faces)
            for view, values in probabilities.items()
        },
        weights=None,
        people=None,
    )
