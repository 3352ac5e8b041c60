"""The columns of a table: which one holds labels, which one tells the split."""

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
#: Of a value that may name an expression.
_LONGEST_NAME = 40


def position(names: Sequence[str], known: Sequence[str], role: str, where: str) -> int | None:
    """The place of the one column that goes by a known name; None without one.

    Args:
        names: of all columns, as they stand in the table.
        known: the names to look for, as `plain` writes them.
        role: what the column is called in messages.
        where: the table, for messages.

    Raises:
        InputError: several columns go by a known name.
    """
    found = [number for number, name in enumerate(names) if plain(name) in known]
    if len(found) > 1:
        several = ", ".join(names[number] for number in found)
        raise InputError(f"{where}: {len(found)} {role} columns ({several}); remove all but one")
    return found[0] if found else None


def refuse_hidden_split(column: str, values: Iterable[str], where: str) -> None:
    """InputError where a column that is not read holds what reads like splits."""
    for value in values:
        if plain(value) in SPLIT_NAMES:
            raise InputError(
                f"{where}: column {column!r} holds {value!r}, which reads like a split, but splits are "
                "read from a column Usage, split, set or subset; rename the column, or remove it"
            )


class OtherNames:
    """Columns beside the labels that name expressions, as `label_text` does beside `label`.

    Another annotator may disagree here and there. But where each label goes with one name, and it is
    another than the label set's, the numbers count in another order than they would be read in.
    """

    def __init__(self) -> None:
        self._names: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))

    def add(self, column: str, value: str, expression: str) -> None:
        """Note a row: what another column says of a face, and what its label is read as."""
        name = canonical(value) if len(value) < _LONGEST_NAME else ""
        self._names[column][expression].add(name if is_expression(name) else "")

    def refuse_contradiction(self, where: str) -> None:
        """InputError where a column names all labels, and in another order."""
        for column, by_label in self._names.items():
            pairs = {label: name for label, (name, *more) in by_label.items() if name and not more}
            wrong = [label for label, name in pairs.items() if name != label]
            if wrong and len(pairs) == len(by_label) == len(set(pairs.values())):
                raise InputError(
                    f"{where}: column {column!r} says {pairs[wrong[0]]} wherever the label's number means "
                    f"{wrong[0]} here, so the numbers count in another order; give it with --labels, or "
                    "remove one of the two columns"
                )


class SplitColumn:
    """The splits that a column tells. Unknown values are gathered, to be refused all at once."""

    def __init__(self, column: str, where: str, unit: str) -> None:
        """`unit` is what the table's rows are called: `line` or `row`."""
        self._column = column
        self._where = where
        self._unit = unit
        self._unknown: dict[str, list[int]] = defaultdict(list)

    def split(self, value: str, number: int) -> int | None:
        """The split of row `number`; None where nobody knows it."""
        split = SPLIT_NAMES.get(plain(value))
        if split is None:
            self._unknown[value].append(number)
        return split

    def refuse_unknown(self) -> None:
        """InputError where there was an unknown value: which ones, and in which rows."""
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
