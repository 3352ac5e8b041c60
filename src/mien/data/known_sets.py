"""Published sets of faces: the meaning of their numeric labels, its source, and the terms of use.

Each mapping follows the source named below and is tested on small sets that the tests make. None was tried on the
real files, because their terms forbid handing them on. The reader of each set's layout is a file beside this one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mien.data.doubles import Named, without_doubled_trees
from mien.data.ferplus import EIGHT
from mien.data.images import sample_or_damage
from mien.data.reading import Damaged, Request, Sample, UnknownClassesError
from mien.data.tree import Entry
from mien.errors import InputError
from mien.expressions import Expressions


@dataclass(frozen=True)
class KnownSet:
    """A published set of faces.

    Attributes:
        name: the makers' name of the set.
        numbers: label in its files -> expression; None for a label that is not an expression, whose
            faces are left out.
        source: the publication of this mapping.
        terms: the conditions of its licence or agreement on use and redistribution.
    """

    name: str
    numbers: Mapping[int, str | None]
    source: str
    terms: str

    @property
    def expressions(self) -> Expressions:
        """Its expressions, in the challenge's order, contempt last."""
        return tuple(name for name in EIGHT if name in self.numbers.values())

    def counted(self) -> str:
        """The numbers and their expressions as text, such as "1 surprise, 2 fear"."""
        return ", ".join(f"{number} {name}" for number, name in self.numbers.items() if name)

    def notes(self) -> list[str]:
        """Remarks for users of the set: the mapping and its source, then the terms."""
        return [
            f"taken for {self.name}: {self.counted()} ({self.source}); this reading was tested on small sets "
            "made after that description, not tried on the real files: compare the counts with the published",
            f"{self.name}: {self.terms}",
        ]

    def expression(self, number: float, where: str) -> str | None:
        """The expression of a label; None for a label that is not an expression.

        Raises:
            InputError: the set has no such label; `where` is the place for the message.
        """
        if number not in self.numbers:
            raise InputError(
                f"{where}: label {number:g} is not one of {self.name}'s ({self.counted()}); correct it or "
                "remove the picture"
            )
        return self.numbers[int(number)]


RAF_DB = KnownSet(
    "RAF-DB",
    dict(enumerate(("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"), 1)),
    "its page whdeng.cn/RAF/model1.html; Li, Deng, Du, CVPR 2017",
    "for non-commercial research only; no part of it may be copied on, published or handed on",
)
AFFECTNET = KnownSet(
    "AffectNet",
    dict(
        enumerate(
            ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")
            + (None,) * 3  # none, uncertain, no face
        )
    ),
    "Mollahosseini, Hasani, Mahoor, IEEE TAC 2017, arXiv:1708.03985, and the read-me beside the files",
    "for research only, by an agreement that a laboratory's head signs: no commercial use, not to be handed on",
)
CK_PLUS = KnownSet(
    "CK+",
    dict(
        enumerate(("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise"))
    ),
    "ReadMe_CK+ of 28 September 2010; Lucey et al., CVPR Workshops 2010",
    "for research by those who signed its agreement: no commercial use, not to be handed on",
)
FER_PLUS = KnownSet(
    "FER+",
    dict(
        enumerate(
            ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")
            + (None,) * 2  # unknown, no face
        )
    ),
    "github.com/microsoft/FERPlus, columns of label.csv; Barsoum et al., ICMI 2016, arXiv:1608.01041",
    "the votes are under the MIT licence; the faces are FER-2013's, gathered from the web, and nobody "
    "states a licence for them: do not hand them on",
)


@dataclass(frozen=True)
class ListedFace:
    """A picture that a published set lists.

    Attributes:
        row: the picture's name in the set.
        entry: the picture's file; None if it is missing.
        name: the expression; None for a label that is not an expression.
        split: index into `SPLITS`; None if the set tells no split.
        root: the path of the copy of the set that the picture belongs to.
    """

    row: str
    entry: Entry | None
    name: str | None
    split: int | None
    root: str = ""


class KnownFaces:
    """A `Source` of the faces of a published set, in the order of its files.

    The requested label set may be a part of the set's own; faces with other expressions, and those whose label
    is not an expression, are left out and counted in the notes. A listed picture that is missing is `Damaged`.
    """

    def __init__(
        self, known: KnownSet, faces: Sequence[ListedFace], where: str, request: Request
    ) -> None:
        """Choose the faces and their labels; no image is decoded yet.

        Raises:
            UnknownClassesError: the requested label set has names that the set has not.
            InputError: none of the listed pictures is there.
        """
        self.expressions = request.labels or known.expressions
        request.notes[:0] = known.notes()
        unknown = tuple(sorted(set(known.expressions) - set(self.expressions)))
        if unknown and not set(self.expressions) <= set(known.expressions):
            raise UnknownClassesError(
                f"{where}: taken for {known.name}, whose expressions are "
                f"{', '.join(known.expressions)}; leave --labels out, or give some of these",
                unknown,
            )
        if faces and all(face.entry is None for face in faces):
            raise InputError(
                f"{where}: none of the {len(faces):,} pictures that it names is there; give the folder that "
                "holds both"
            )
        kept = [face for face in faces if face.name in self.expressions]
        others = (face.name for face in faces if face.name not in self.expressions)
        if left_out := Counter(name or "without an expression" for name in others):
            told = ", ".join(f"{count:,} {name}" for name, count in sorted(left_out.items()))
            request.notes.append(f"faces of {known.name} that are left out: {told}")
        self._faces = _once(kept, request.notes)
        self.total = len(self._faces)
        self._where = where

    def samples(self) -> Iterator[Sample | Damaged]:
        """See `Source`."""
        for face in self._faces:
            if face.entry is None:
                yield Damaged(face.row, f"{self._where}: names {face.row}, which is not there")
            elif face.name is not None:
                label = self.expressions.index(face.name)
                yield sample_or_damage(face.entry, face.row, label, face.split)


def _once(faces: Sequence[ListedFace], notes: list[str]) -> list[ListedFace]:
    """The faces without those of further copies of the set; see `without_doubled_trees`."""
    named = {
        face.entry: Named(face.entry, face.name or "", face.split, face.root)
        for face in faces
        if face.entry is not None
    }
    left = {one.entry for one in without_doubled_trees(list(named.values()), notes)}
    return [face for face in faces if face.entry is None or face.entry in left]
