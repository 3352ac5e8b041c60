"""What the classes of some data are to a network that was trained on others: `joy=happy,contempt=`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mien.errors import InputError, near_names
from mien.expressions import Expressions, canonical

#: Name of a class of the data -> the network's expression, or None: its faces are left out.
ClassMap = Mapping[str, str | None]

_EXAMPLE = 'write it as --map "joy=happy,contempt=" (nothing on the right leaves a class out)'


def parse_map(text: str) -> dict[str, str | None]:
    """The pairs that a person typed, in this project's names; InputError where it cannot be read."""
    pairs: dict[str, str | None] = {}
    for part in filter(str.strip, text.split(",")):
        left, equals, right = part.partition("=")
        name = canonical(left)
        if not equals or not name:
            raise InputError(f"--map {text!r}: {part.strip()!r} is no pair; {_EXAMPLE}")
        if name in pairs:
            raise InputError(f"--map {text!r}: {left.strip()!r} stands in it twice; give it once")
        pairs[name] = canonical(right) or None
    return pairs


def complete_map(
    given: ClassMap, classes: Iterable[str], expressions: Expressions, where: str
) -> dict[str, str | None]:
    """What every class of the data is: as given, else the expression of the same name.

    Args:
        given: as `parse_map` reads it.
        classes: the names of the classes that the data have.
        expressions: what the network knows.
        where: the data, for messages.

    Raises:
        InputError: a class is neither mapped nor known, or the map names what there is not.
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
    """The refusal of classes that a network does not know, with the map that would do."""
    unknown = sorted(unknown)
    pairs = [f"{name}={expression or ''}" for name, expression in (given or {}).items()]
    needed = ",".join([*pairs, *(f"{name}=" for name in unknown)])
    return InputError(
        f"{where}: the network knows no {' and no '.join(map(repr, unknown))}, only "
        f'{", ".join(expressions)}; add  --map "{needed}"  to leave these faces out, or write behind '
        "the = which expression a class is"
    )
