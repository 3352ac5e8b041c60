"""Map the classes of a data set to a network's expressions, written as `joy=happy,contempt=`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mien.errors import InputError, near_names
from mien.expressions import Expressions, canonical

#: Name of a class of the data -> the network's expression; None leaves its faces out.
ClassMap = Mapping[str, str | None]

_EXAMPLE = 'write it as --map "joy=happy,contempt=" (nothing on the right leaves a class out)'


def parse_map(text: str) -> dict[str, str | None]:
    """Parse the text of a map; both sides become canonical names.

    Raises:
        InputError: a part is not a pair, or a class is given twice.

    >>> parse_map("Wink=joy, contempt=")
    {'wink': 'happy', 'contempt': None}
    """
    pairs: dict[str, str | None] = {}
    for part in filter(str.strip, text.split(",")):
        left, equals, right = part.partition("=")
        name = canonical(left)
        if not equals or not name:
            raise InputError(f"--map {text!r}: {part.strip()!r} is not a pair; {_EXAMPLE}")
        if name in pairs:
            raise InputError(f"--map {text!r}: {left.strip()!r} is given twice; give it once")
        pairs[name] = canonical(right) or None
    return pairs


def complete_map(
    given: ClassMap, classes: Iterable[str], expressions: Expressions, where: str
) -> dict[str, str | None]:
    """Map every class of the data: by the given map, else to the expression of the same name.

    Args:
        given: a map as `parse_map` returns it.
        classes: the names of the data's classes.
        expressions: the network's expressions.
        where: the data, for messages.

    Raises:
        InputError: a class is neither mapped nor an expression of the network, or the map names a
            class or an expression that does not exist.
    """
    classes = sorted(classes)
    for left, right in given.items():
        if left not in classes:
            raise InputError(
                f"--map {left}={right or ''}: {where} has no class {left!r} "
                f"({near_names(left, classes)}); correct the name on the left"
            )
        if right is not None and right not in expressions:
            raise InputError(
                f"--map {left}={right}: the network knows no {right!r} "
                f"({near_names(right, expressions)}); correct the name on the right"
            )
    unknown = [name for name in classes if name not in given and name not in expressions]
    if unknown:
        raise unmapped(unknown, expressions, where, given)
    return {name: given.get(name, name) for name in classes}


def unmapped(
    unknown: Iterable[str], expressions: Expressions, where: str, given: ClassMap | None = None
) -> InputError:
    """The error for classes that a network does not know; it proposes a map that leaves them out.

    Args:
        unknown: the classes.
        expressions: the network's expressions.
        where: the data, for the message.
        given: the user's map, repeated in the proposal.
    """
    unknown = sorted(unknown)
    pairs = [f"{name}={expression or ''}" for name, expression in (given or {}).items()]
    needed = ",".join([*pairs, *(f"{name}=" for name in unknown)])
    return InputError(
        f"{where}: the network knows no {' and no '.join(map(repr, unknown))}, only "
        f'{", ".join(expressions)}; add  --map "{needed}"  to leave these faces out, or write the '
        "expression of a class after the ="
    )
