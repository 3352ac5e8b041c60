"""Faces for training: `load` reads any source into a FaceStore; `split` divides it into train, validation and test."""

from mien.data.cache import load
from mien.data.ferplus import LabelledVotes, Votes, read_votes
from mien.data.splits import Splits, split
from mien.data.store import SPLITS, FaceStore, FaceView
from mien.recipe import SplitRule

__all__ = [
    "SPLITS",
    "FaceStore",
    "FaceView",
    "LabelledVotes",
    "SplitRule",
    "Splits",
    "Votes",
    "load",
    "read_votes",
    "split",
]
