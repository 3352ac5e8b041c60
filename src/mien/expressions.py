"""Names of expressions. A label set is an ordered tuple of names, saved with each store, recipe and run.

Label `i` means `expressions[i]`; a source with another order is mapped by name, never by position.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from mien.errors import InputError, near_names

Expressions = tuple[str, ...]

#: The seven expressions of FER-2013 in its order (Goodfellow et al. 2013): labels 0..6 of fer2013.csv.
SEVEN: Expressions = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

_SYNONYMS = {
    "angry": ("anger", "angriness", "mad"),
    "disgust": ("disgusted",),
    "fear": ("fearful", "afraid", "scared"),
    "happy": ("happiness", "joy", "smile"),
    "sad": ("sadness",),
    "surprise": ("surprised",),
    "neutral": ("neutrality",),
    "contempt": ("contemptuous",),
}
_CANONICAL = {alias: name for name, aliases in _SYNONYMS.items() for alias in (name, *aliases)}


def canonical(name: str) -> str:
    """Normalise the name of an expression: lower case, no outer blanks, common synonyms replaced.

    >>> canonical(" Happiness ")
    'happy'
    >>> canonical("my-own-class")
    'my-own-class'
    """
    # Some systems write an umlaut as two characters (NFD): make both forms the same name.
    bare = unicodedata.normalize("NFC", name).strip().lower()
    return _CANONICAL.get(bare, bare)


def is_expression(name: str) -> bool:
    """Whether a name, normalised by `canonical`, is one of the usual expressions."""
    return name in _SYNONYMS


def parse_expressions(names: Sequence[str]) -> Expressions:
    """Make a label set from a user's names, or from one text with commas between them.

    Raises:
        InputError: there are fewer than two names, empty ones or repeated ones.

    >>> parse_expressions("joy, calm")
    ('happy', 'calm')
    """
    if isinstance(names, str):
        names = names.split(",")
    expressions = tuple(canonical(name) for name in names)
    if len(expressions) < 2 or "" in expressions or len(set(expressions)) != len(expressions):
        raise InputError(
            f"labels {','.join(names)!r}: give two or more different names, separated by commas"
        )
    return expressions


def label_of(name: str, expressions: Expressions, where: str) -> int:
    """The label of an expression, by its name.

    Args:
        name: the expression; synonyms are accepted.
        expressions: the label set.
        where: the file, row or folder of the name, for messages.

    Raises:
        InputError: the label set lacks the expression.
    """
    try:
        return expressions.index(canonical(name))
    except ValueError:
        raise InputError(
            f"{where}: expression {name!r} is not in the label set ({near_names(name, expressions)}); "
            "give the set with --labels"
        ) from None
