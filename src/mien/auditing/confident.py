"""Labels that a network rejects, by confident learning.

Northcutt, Jiang & Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels (JAIR 70), section
3.1; what is listed is the off-diagonal of the confident joint, which cleanlab calls `confident_learning`.
Shapes: N faces, K expressions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rejected_labels(
    probabilities_NK: NDArray[np.floating], labels_N: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Faces that are confidently taken for something else than their label says.

    An expression's threshold is the mean probability it gets from the faces that carry it as their
    label. A face is confidently taken for the expressions whose threshold it reaches, of several for the
    most probable; its label is rejected where that is another one.

    Args:
        probabilities_NK: (N, K), of a network that was not trained on the face.
        labels_N: int64 (N,).

    Returns:
        The faces, int64 (n,), those first whose label gets the least beside what they are taken for; and
        what they are taken for, int64 (n,).
    """
    probabilities = np.asarray(probabilities_NK, np.float64)
    labels = np.asarray(labels_N)
    present = np.bincount(labels, minlength=probabilities.shape[1]) > 0
    thresholds = np.array(
        [
            probabilities[labels == label, label].mean() if there else np.inf
            for label, there in enumerate(present)
        ]
    )
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    taken = confident.argmax(axis=1)
    rejected = np.flatnonzero((confident.max(axis=1) >= 0) & (taken != labels))
    margin = probabilities[rejected, labels[rejected]] - probabilities[rejected, taken[rejected]]
    order = rejected[np.argsort(margin, kind="stable")]
    return order, taken[order]
