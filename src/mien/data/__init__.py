"""Faces for training: `load` reads any source into a FaceStore; `split` divides it into train, validation and test."""

from mien.data.cache import load as load
from mien.data.ferplus import LabelledVotes as LabelledVotes
from mien.data.ferplus import Votes as Votes
from mien.data.ferplus import read_votes as read_votes
from mien.data.splits import Splits as Splits
from mien.data.splits import split as split
from mien.data.store import SPLITS as SPLITS
from mien.data.store import FaceStore as FaceStore
from mien.data.store import FaceView as FaceView
from mien.recipe import SplitRule as SplitRule
