"""Find the label, pixel and split columns of a table by their names, and check them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from mien.data.reading import SPLIT_NAMES, plain
from mien.errors import InputError
from mien.expressions import canonical, is_expression

LABELS = ("emotion", "emotions", "label", "labels", "expression", "class", "target")
SPLIT_COLUMNS = (
    "usage", "usages", "usagetype", "split", "splits", "splitname", "datasplit", "set", "subset",
    "partition",
)  # fmt: skip
_ROWS_NAMED = 10
#: Longest value, in letters, that may be the name of an expression.
_LONGEST_NAME = 40


def position(names: Sequence[str], known: Sequence[str], role: str, where: str) -> int | None:
    """Find the column with a known name; return its index, None if there is none.

    Args:
        names: the names of all columns, in the table's order.
        known: the accepted names, as `plain` writes them.
        role: the column's purpose, for messages.
        where: the table, for messages.

    Raises:
        InputError: several columns have a known name.
    """
    found = [number for number, name in enumerate(names) if plain(name) in known]
    if len(found) > 1:
        several = ", ".join(names[number] for number in found)
        raise InputError(f"{where}: {len(found)} {role} columns ({several}); remove all but one")
    return found[0] if found else None


def refuse_hidden_split(column: str, values: Iterable[str], where: str) -> None:
    """Refuse a table whose splits are in a column that mien does not read.

    Raises:
        InputError: one of `values`, of an unread column, is the name of a split.
    """
    for value in values:
        if plain(value) in SPLIT_NAMES:
            raise InputError(
                f"{where}: column {column!r} holds {value!r}, which reads like a split, but splits are "
                "read from a column Usage, split, set or subset; rename the column, or remove it"
            )


class OtherNames:
    """Compares labels given as numbers with another column of names, such as `label_text` beside `label`.

    A second annotator may disagree on some rows. But if each number always comes with the same name, and
    that name is not the label set's, then the numbers are in another order than the label set.
    """

    def __init__(self) -> None:
        self._names: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))

    def add(self, column: str, value: str, expression: str) -> None:
        """Note a row: the `value` of another column, and the `expression` that the label is read as."""
        name = canonical(value) if len(value) < _LONGEST_NAME else ""
        self._names[column][expression].add(name if is_expression(name) else "")

    def refuse_contradiction(self, where: str) -> None:
        """Refuse labels in another order.

        Raises:
            InputError: a column names all labels consistently, but not as the label set does.
        """
        for column, by_label in self._names.items():
            pairs = {label: name for label, (name, *more) in by_label.items() if name and not more}
            wrong = [label for label, name in pairs.items() if name != label]
            if wrong and len(pairs) == len(by_label) == len(set(pairs.values())):
                raise InputError(
                    f"{where}: column {column!r} says {pairs[wrong[0]]} for all rows whose label is read as "
                    f"{wrong[0]}, so the numbers are in another order; give the order with --labels, or "
                    "remove one of the two columns"
                )


class SplitColumn:
    """Reads the values of a split column. Unknown values are collected and refused together at the end."""

    def __init__(self, column: str, where: str, unit: str) -> None:
        """Name the column, the table and the unit of its rows (`line` or `row`), for messages."""
        self._column = column
        self._where = where
        self._unit = unit
        self._unknown: dict[str, list[int]] = defaultdict(list)

    def split(self, value: str, number: int) -> int | None:
        """The split that `value` names, None if it is unknown; `number` is the row, for the later error."""
        split = SPLIT_NAMES.get(plain(value))
        if split is None:
            self._unknown[value].append(number)
        return split

    def refuse_unknown(self) -> None:
        """Refuse the unknown values seen so far.

        Raises:
            InputError: there was an unknown value; the message names the values and their rows.
        """
        if self._unknown:
            said = "; ".join(
                f"{value!r} in {self._rows(rows)}"
                for value, rows in list(self._unknown.items())[:5]
            )
            raise InputError(
                f"{self._where}: unknown {self._column} {said}; it has to be Training, PublicTest or "
                "PrivateTest, or train, validation or test"
            )

    def _rows(self, rows: list[int]) -> str:
        named = ", ".join(map(str, rows[:_ROWS_NAMED]))
        more = f" and {len(rows) - _ROWS_NAMED:,} more" if len(rows) > _ROWS_NAMED else ""
        return f"{self._unit}{'s' * (len(rows) > 1)} {named}{more}"
