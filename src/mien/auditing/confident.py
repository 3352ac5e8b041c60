"""Labels that a network rejects, by confident learning.

Northcutt, Jiang & Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels (JAIR 70), section
3.1; the result is the off-diagonal of the confident joint, which cleanlab calls `confident_learning`.
Shapes: N faces, K expressions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rejected_labels(
    probabilities_NK: NDArray[np.floating], labels_N: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find faces that the network confidently assigns to another expression than their label.

    The threshold of an expression is its mean probability over the faces with that label. A face is
    confidently assigned to the expression whose threshold its probability reaches, or to the most probable
    one if there are several. The label is rejected if that is another expression.

    Args:
        probabilities_NK: (N, K), 0..1, of a network that was not trained on the face.
        labels_N: int64 (N,).

    Returns:
        (positions of the faces, int64 (n,); their assigned expressions, int64 (n,)), in increasing order of the
        label's probability minus that of the assigned expression.
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
