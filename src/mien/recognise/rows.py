"""Tables of results: one row for each face of each frame, in CSV, parquet or JSON lines.

`mien predict` adds a row for each photo or video without any face, so that every source is in its table: `frame` is 0,
or empty if the source could not be read, and all columns after it are empty.

source             path, URL or camera; a path that spreadsheets would take for a formula begins with ./
frame              position of the frame, from 0; 0 for a photo
time_s             seconds from the beginning; empty for a photo
track_id           the same for a face in all frames of a video, from 1; empty for a photo
x y width height   the face's box in pixels of the upright picture
detection_score    0..1; empty in frames that were not searched for faces (`--every`)
expression         the most probable one; in a video by the smoothed probabilities
probability        of that expression, 0..1
uncertain          true if the expression should not be relied on, else false
why_uncertain      `size`, `spread`, `detail`, `noise`, `turn`, `detection_score` or `probability`; empty if certain
angry ...          the probability of each expression in this frame alone; empty in frames that were not searched
angry_smoothed ... the same, smoothed over time along the track; empty for a photo
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

from mien.errors import InputError, extra_required, visible, writing_to
from mien.expressions import Expressions
from mien.files import alone, atomic_file, json_object, refuse_another, spreadsheet_name
from mien.recognise import record
from mien.recognise.track import FaceLike, TrackedFace
from mien.terminal import note

Row = dict[str, record.Cell]

#: The columns before those of the expressions. There is none for the angle, which faces of videos lack.
_BEFORE = {
    "source": "string",
    "frame": "int64",
    "time_s": "double",
    **record.columns(without="angle"),
}
#: Suffix of the columns of smoothed probabilities.
SMOOTHED = "_smoothed"
SUFFIXES = (".csv", ".parquet", ".jsonl")


def columns(expressions: Expressions) -> dict[str, str]:
    """The columns of a table in order, and their Arrow types.

    Raises:
        InputError: an expression has the name of another column.
    """
    figures = [*expressions, *(f"{name}{SMOOTHED}" for name in expressions)]
    return record.with_figures(_BEFORE, figures)


def row(source: str, frame: int, time_s: float | None, face: FaceLike) -> Row:
    """Convert a face to a row.

    Numbers are rounded to their useful precision: microseconds, hundredths of a pixel, millionths.

    Args:
        source: path, URL or camera of the picture.
        frame: position of the frame, from 0.
        time_s: seconds from the video's beginning; None for a photo.
        face: the face.

    Returns:
        Values by column, without the columns that a face of this kind lacks.
    """
    made: Row = {"source": spreadsheet_name(source), "frame": frame, "time_s": time_s}
    cells = record.as_cells(face)
    made |= {name: cells.get(name) for name in _BEFORE if name not in made}
    if isinstance(face, TrackedFace):
        made |= face.raw or {}
        made |= {f"{name}{SMOOTHED}": value for name, value in face.probabilities.items()}
    else:
        made |= face.probabilities
    return {name: _rounded(name, value) for name, value in made.items()}


def row_without_face(source: str, *, read: bool) -> Row:
    """The row of a photo or video without any face; `read`: whether it could be read."""
    return {"source": spreadsheet_name(source), "frame": 0 if read else None}


def _rounded(name: str, value: record.Cell) -> record.Cell:
    if value is None or _BEFORE.get(name, "double") != "double":
        return value
    return round(float(value), 2 if name in record.SIDES else 6)


class RowFile:
    """Writes a table of rows: .csv, .parquet, .jsonl, or `-` for CSV on standard output. A context manager.

    Rows are written immediately to `NAME.part` beside the table. When the block ends without an error,
    that becomes the table (converted in parts for parquet and JSON lines). An interrupted table can be
    resumed: `finished` notes in `NAME.done` the end of an item's rows, and `resume` removes the rows
    after the last note. Memory does not grow with the number of rows.

    Args:
        path: the table's file.
        expressions: the names of the probabilities.
        settings: all that rows depend on (model, options): resuming with other settings is refused.
        resume: continue an interrupted table, if there is one.

    Raises:
        InputError: the suffix is unknown, an expression has the name of another column, the table cannot be
            written or resumed, or another process writes it.

    >>> with RowFile("-", ("happy", "sad")) as table:  # doctest: +ELLIPSIS
    ...     table.write([{"source": "me.jpg", "frame": 0, "happy": 0.9}])
    source,frame,time_s,track_id,...,happy,sad,happy_smoothed,sad_smoothed
    me.jpg,0,...,0.9,,,
    """

    def __init__(
        self,
        path: Path | str,
        expressions: Expressions,
        *,
        settings: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        self._path = Path(path)
        self._to_stdout = str(path) == "-"
        if not self._to_stdout and self._path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: rows are written as {' or '.join(SUFFIXES)}")
        if self._path.suffix.lower() == ".parquet":
            with extra_required("data", "writing parquet files"):
                import pyarrow  # noqa: F401
        self._columns = columns(expressions)
        self._settings = json.loads(
            json.dumps({"columns": list(self._columns), **(settings or {})})
        )
        # On a terminal, control characters in file names have to be escaped; files and pipes get them unchanged.
        self._for_eyes = self._to_stdout and sys.stdout.isatty()
        self._resume = resume
        self._done: set[str] = set()
        self._worth_keeping = False  # with no finished item, there is nothing to resume
        self._stack = ExitStack()
        self._held = ExitStack()

    @property
    def _named(self) -> Path:
        """The table's name in messages."""
        return Path("standard output") if self._to_stdout else self._path

    @property
    def _part(self) -> Path:
        return self._path.with_name(f"{self._path.name}.part")

    @property
    def _journal(self) -> Path:
        return self._path.with_name(f"{self._path.name}.done")

    def __enter__(self) -> Self:
        if self._to_stdout:
            with writing_to(self._named):
                self._begin(sys.stdout)
            return self
        try:
            self._open()
        except BaseException:
            self._stack.close()
            self._held.close()
            raise
        return self

    def _open(self) -> None:
        with writing_to(self._path):
            if self._path.is_dir():
                raise IsADirectoryError(21, "Is a directory")
            if self._resume and self._path.exists() and not self._journal.exists():
                raise InputError(
                    f"{self._path}: is complete, so there is nothing to resume; choose another file, or leave out "
                    "--resume to replace it"
                )
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._journal.touch()  # a lock needs a file
            self._held.enter_context(alone(self._journal, "is writing rows"))
            if self._resume and self._journal.stat().st_size:
                self._take_over()
            else:
                with self._journal.open("w", encoding="utf-8") as journal:
                    journal.write(json.dumps(self._settings) + "\n")
                with _opened(self._part, "w") as handle:
                    self._begin(handle)
            self._handle = self._stack.enter_context(_opened(self._part, "a"))
            self._notes = self._stack.enter_context(self._journal.open("a", encoding="utf-8"))
        self._writer = csv.DictWriter(self._handle, list(self._columns), lineterminator="\n")

    def _begin(self, handle: IO[str]) -> None:
        self._handle = handle
        self._writer = csv.DictWriter(handle, list(self._columns), lineterminator="\n")
        self._writer.writeheader()

    def _take_over(self) -> None:
        """Read the finished items from the journal, and truncate the table after the last one."""
        header, size = b"", 0
        if self._part.exists():
            with self._part.open("rb") as part:
                header, size = part.readline(), self._part.stat().st_size
        if not header.endswith(b"\n"):
            raise InputError(
                f"{self._part}: it lacks the header that was written; start again without resuming"
            )
        with self._journal.open("rb") as journal:
            kept = journal.readline()
            advice = "use the same, or start again without resuming"
            before = json_object(kept, str(self._journal), advice)
            refuse_another(str(self._part), before, self._settings, "rows", advice)
            end, whole = len(header), len(kept)
            for line in journal:
                note = _note(line)
                # After a power cut, the table may lack noted rows.
                if note is None or note[1] > size:
                    break
                self._done.add(note[0])
                end = note[1]
                whole += len(line)
        self._worth_keeping = bool(self._done)
        os.truncate(self._journal, whole)
        os.truncate(self._part, end)

    def __contains__(self, name: str) -> bool:
        """Whether all rows of an item were written before the table was resumed."""
        return name in self._done

    def write(self, rows: Iterable[Row]) -> None:
        """Append rows, and flush them to the file.

        Raises:
            InputError: the disk is full or the file cannot be written.
        """
        with writing_to(self._named):
            for one in rows:
                self._writer.writerow({name: self._cell(value) for name, value in one.items()})
            self._handle.flush()

    def _cell(self, value: Any) -> Any:
        if isinstance(value, bool):
            return str(value).lower()
        return visible(value) if self._for_eyes and isinstance(value, str) else value

    def finished(self, name: str) -> None:
        """Note that all rows of an item are written: resuming begins after them."""
        if not self._to_stdout:
            with writing_to(self._path):
                self._notes.write(json.dumps([name, self._handle.tell()]) + "\n")
                self._notes.flush()
            self._worth_keeping = True

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        with self._held:
            self._end(error)

    def _end(self, error: object) -> None:
        self._stack.close()
        if self._to_stdout:
            return
        if error is not None and self._worth_keeping:
            note(f"{self._path}: the rows so far are kept; the same command with --resume goes on")
            return
        with writing_to(self._path):
            if error is not None:
                self._part.unlink()
            elif self._path.suffix.lower() == ".parquet":
                _to_parquet(self._part, self._path, self._columns)
                self._part.unlink()
            elif self._path.suffix.lower() == ".jsonl":
                with atomic_file(self._path, "w") as handle:
                    handle.writelines(json.dumps(one) + "\n" for one in read_rows(self._part))
                self._part.unlink()
            else:
                self._part.replace(self._path)
            self._journal.unlink()


def read_rows(path: Path) -> Iterator[Row]:
    """Iterate over the rows of a finished table, with their types; empty cells are None.

    Raises:
        MissingExtraError: the table is parquet, and the extra `data` is not installed.
    """
    if path.suffix.lower() == ".parquet":
        with extra_required("data", "reading parquet files"):
            import pyarrow.parquet
        with pyarrow.parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(1024):
                yield from batch.to_pylist()
        return
    with path.open(newline="", encoding="utf-8") as handle:
        if path.suffix.lower() == ".jsonl":
            yield from map(json.loads, handle)
            return
        for texts in csv.DictReader(handle):
            yield {name: _value(text, _BEFORE.get(name, "double")) for name, text in texts.items()}


def _value(text: str, kind: str) -> record.Cell:
    if not text:
        return None
    if kind == "string":
        return text
    if kind == "bool":
        return text == "true"
    return int(text) if kind == "int64" else float(text)


def _note(line: bytes) -> Any:
    """Parse a line of the journal; None if it is incomplete."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None


def _opened(path: Path, mode: str) -> IO[str]:
    """Open a CSV file; bytes of file names that are not UTF-8 are written as escapes."""
    return path.open(mode, newline="", encoding="utf-8", errors="backslashreplace")


def _to_parquet(rows: Path, path: Path, kinds: Mapping[str, str]) -> None:
    """Convert a CSV that `RowFile` wrote, block by block."""
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    schema = pyarrow.schema([(name, pyarrow.type_for_alias(kind)) for name, kind in kinds.items()])
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
    converting = pyarrow.csv.ConvertOptions(
        column_types=schema, null_values=[""], strings_can_be_null=True
    )
    with (
        pyarrow.csv.open_csv(rows, parse_options=parsing, convert_options=converting) as blocks,
        atomic_file(path) as handle,
        pyarrow.parquet.ParquetWriter(handle, schema) as writer,
    ):
        for block in blocks:
            writer.write_batch(block)
