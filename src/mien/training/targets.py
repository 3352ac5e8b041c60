"""The targets of the training faces and their augmented views, for each epoch.

Shapes: N training faces, K expressions, U uniform numbers of a view.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mien.data.ferplus import EIGHT, Votes, read_votes
from mien.data.store import FaceView
from mien.errors import InputError
from mien.recipe import Recipe, Targets
from mien.training.augment import draw_views
from mien.training.seeds import Stream, stream_seed
from mien.training.teaching import Teaching, finished


def check_targets(recipe: Recipe) -> Votes | None:
    """Check a recipe's `targets` and `select` as far as that needs no faces, which may take minutes to load.

    Returns:
        The votes, if the recipe names any.

    Raises:
        InputError: votes or soft targets are missing, damaged or not finished; `select` is "people" without votes;
            or a share is set for votes or a teacher that are not given.
    """
    spec, usual = recipe.targets, Targets()
    votes = None
    if spec.votes is not None:
        votes = read_votes(spec.votes)
    elif recipe.select == "people":
        raise InputError(
            f"{recipe.name}: select=people judges by FER+'s votes; give them "
            "(--set targets.votes=fer2013new.csv, from github.com/microsoft/FERPlus)"
        )
    elif spec.votes_share != usual.votes_share:
        raise InputError(
            f"targets.votes_share={spec.votes_share:g}: there are no votes; give them with targets.votes, or leave "
            f"the share at {usual.votes_share:g}"
        )
    if spec.teacher is not None:
        finished(Path(spec.teacher))
    elif spec.teacher_share != usual.teacher_share:
        raise InputError(
            f"targets.teacher_share={spec.teacher_share:g}: there is no teacher; give one with targets.teacher, or "
            f"leave the share at {usual.teacher_share:g}"
        )
    return votes


class Supervision:
    """Labels, blended with annotators' votes and a teacher's probabilities by a recipe's `targets`.

    Attributes:
        digest: SHA-256 of votes and soft targets of all views in hexadecimal, to notice that they changed before a
            run is resumed; None without any.
    """

    def __init__(self, recipe: Recipe, train: FaceView, labels_N: Tensor) -> None:
        """Read votes and soft targets, if the recipe names any.

        Args:
            recipe: the recipe.
            train: the training faces.
            labels_N: int64 (N,), their labels on the device of the training.

        Raises:
            InputError: see `check_targets`; or votes or soft targets belong to other faces.
        """
        votes = check_targets(recipe)
        self._recipe = recipe
        spec = recipe.targets
        self._targets = labels_N
        content = hashlib.sha256()
        if votes is not None:
            shares_NK = _vote_shares(votes, train)
            # In float16, because another machine may round the last digit differently.
            content.update(shares_NK.astype(np.float16).tobytes())
            votes_NK = torch.from_numpy(shares_NK).to(labels_N.device)
            clear_N1 = votes_NK.sum(dim=1, keepdim=True) > 0
            own_NK = functional.one_hot(labels_N, len(train.expressions)).float()
            self._targets = torch.where(
                clear_N1, torch.lerp(own_NK, votes_NK, spec.votes_share), own_NK
            )
        self._teaching: Teaching | None = None
        if spec.teacher is not None:
            self._teaching = Teaching.open(spec.teacher, recipe, train)
            content.update(f"{self._teaching.views} views, seed {self._teaching.seed}".encode())
            for view in range(self._teaching.views):
                content.update(self._teaching.probabilities(view).tobytes())
        told = votes is not None or spec.teacher is not None
        self.digest = content.hexdigest() if told else None

    def views(self, epoch: int) -> Tensor:
        """The view of each face in an epoch, counted from 1: float32 (N, U) on the CPU."""
        if self._teaching is not None:
            generator = self._teaching.generator(self._teaching.view_of(epoch))
        else:
            seed = stream_seed(self._recipe.seed, Stream.VIEWS, epoch)
            generator = torch.Generator().manual_seed(seed)
        return draw_views(len(self._targets), generator)

    def targets(self, epoch: int) -> Tensor:
        """The targets in an epoch, counted from 1: labels, int64 (N,), or distributions, float32 (N, K)."""
        if self._teaching is None:
            return self._targets
        said = self._teaching.probabilities(self._teaching.view_of(epoch))
        said_NK = torch.from_numpy(said).to(self._targets.device, torch.float32)
        own_NK = self._targets
        if not own_NK.is_floating_point():
            own_NK = functional.one_hot(own_NK, said_NK.shape[1]).float()
        return torch.lerp(own_NK, said_NK, self._recipe.targets.teacher_share)


def _vote_shares(votes: Votes, train: FaceView) -> NDArray[np.float32]:
    """FER+'s distributions over the data's own expressions, float32 (N, K); each row sums to 1 or is all zeros.

    Only the rows of training faces are used. A row is zeros if FER+ leaves the face out, or if half of its votes or
    more are for expressions that the data do not have (contempt).

    Raises:
        InputError: the votes belong to other data.
    """
    joined = votes.join(train.store)
    columns = [EIGHT.index(name) for name in train.expressions]
    shares_NK = joined.distributions()[train.indices][:, columns]
    total_N1 = shares_NK.sum(axis=1, keepdims=True)
    clear_NK: NDArray[np.float32] = np.where(
        total_N1 > 0.5, shares_NK / np.maximum(total_N1, 0.5), 0
    )
    return clear_NK
