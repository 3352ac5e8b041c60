"""Faces from wherever they lie: `load(path)` gives a FaceStore, `split` what trains, selects and tests."""

from mien.data.cache import load
from mien.data.splits import SplitRule, Splits, split
from mien.data.store import SPLITS, Faces, FaceStore

__all__ = ["SPLITS", "FaceStore", "Faces", "SplitRule", "Splits", "load", "split"]
