"""Faces from wherever they lie: `load` gives a FaceStore, `split` who trains, who tests."""

from mien.data.cache import load
from mien.data.splits import SplitRule, Splits, split
from mien.data.store import SPLITS, Faces, FaceStore

__all__ = ["SPLITS", "FaceStore", "Faces", "SplitRule", "Splits", "load", "split"]
