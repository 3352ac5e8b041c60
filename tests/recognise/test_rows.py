"""Rows come out as they went in, from CSV and parquet; what was stopped can be gone on with."""

from __future__ import annotations

import csv
import io
import math
import shutil
import sys
from dataclasses import replace

import pytest
from make_videos import HAPPY, NAMES, Found

from mien.errors import InputError
from mien.recognise.rows import RowFile, columns, read_rows, row
from mien.recognise.track import FaceTracker

SAD = {"sad": 0.8, "happy": 0.1, "neutral": 0.1}
FACE = Found((1.234567, 2, 30, 40), HAPPY, detection_score=0.98765432)


def video_rows(source="film.mp4", frames=3):
    tracker = FaceTracker(smooth_s=0.5)
    for index in range(frames):
        faces = [Found((10 + index, 20, 30, 40), SAD if index else HAPPY)]
        for face in tracker.update(index * 0.04, faces):
            yield row(source, index, index * 0.04, face)


def written(path, items, **options):
    """Write the rows of items, each a name and its rows."""
    with RowFile(path, NAMES, **options) as file:
        for name, rows in items:
            file.write(rows)
            file.finished(name)


def full(rows):
    """Rows with all columns, None where there is nothing."""
    return [dict.fromkeys(columns(NAMES)) | one for one in rows]


@pytest.mark.parametrize("name", ["faces.csv", "faces.parquet", "faces.jsonl"])
def test_what_is_read_is_what_was_written(name, tmp_path):
    doubted = replace(FACE, doubt="size")
    rows = [row('a, "b"\n.jpg', 0, None, FACE), row("null", 0, None, doubted), *video_rows()]
    path = tmp_path / "new" / name
    written(path, [("a", rows)])
    assert list(read_rows(path)) == full(rows)
    assert list(path.parent.iterdir()) == [path]


def test_columns_say_what_was_asked_for(tmp_path):
    path = tmp_path / "faces.csv"
    written(path, [("a", video_rows()), ("b", [row("b.jpg", 0, None, FACE)])])
    first, second, _, photo = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    assert list(first) == [
        "source", "frame", "time_s", "track_id", "x", "y", "width", "height", "detection_score",
        "expression", "probability", "uncertain", "why_uncertain",
        "sad", "happy", "neutral", "sad_smoothed", "happy_smoothed", "neutral_smoothed",
    ]  # fmt: skip
    assert (first["source"], first["frame"], first["time_s"], first["track_id"]) == (
        "film.mp4", "0", "0.0", "1",
    )  # fmt: skip
    assert (second["sad"], second["expression"]) == ("0.8", "happy")
    expected = 0.1 + 0.7 * (1 - math.exp(-0.04 / 0.5))
    assert float(second["sad_smoothed"]) == pytest.approx(expected, abs=1e-6)
    assert second["probability"] == second["happy_smoothed"]
    assert (photo["time_s"], photo["track_id"], photo["sad_smoothed"]) == ("", "", "")
    assert (photo["x"], photo["detection_score"]) == ("1.23", "0.987654")
    assert (photo["happy"], photo["uncertain"], photo["why_uncertain"]) == ("0.7", "false", "")


def test_a_face_carried_between_two_looks_has_no_score_and_no_raw_probabilities(tmp_path):
    (face,) = FaceTracker().update(0.0, [FACE])
    made = row("film.mp4", 1, 0.04, face.carried((5.0, 6.0, 7.0, 8.0)))
    assert made["detection_score"] is None
    assert "happy" not in made
    assert made["happy_smoothed"] == 0.7
    assert (made["x"], made["width"]) == (5.0, 7.0)


def test_parquet_has_types(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "faces.parquet"
    written(path, [("a", video_rows(frames=3000))])
    table = parquet.read_table(path)
    kinds = dict(zip(table.schema.names, map(str, table.schema.types), strict=True))
    assert kinds == columns(NAMES)
    assert table["frame"].to_pylist() == list(range(3000))
    assert table["track_id"].null_count == 0


def test_rows_are_in_the_file_as_soon_as_they_are_written(tmp_path):
    path = tmp_path / "faces.csv"
    with RowFile(path, NAMES) as file:
        file.write(video_rows(frames=2))
        assert not path.exists()
        assert len(path.with_name("faces.csv.part").read_text().splitlines()) == 3
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize("name", ["faces.csv", "faces.parquet", "faces.jsonl"])
@pytest.mark.parametrize("damage", ["none", "half a row", "half a note", "rows lost"])
def test_what_was_stopped_goes_on_after_the_last_item_that_was_finished(name, damage, tmp_path):
    whole = tmp_path / "whole" / name
    items = [(f"film {n}", list(video_rows(f"film {n}"))) for n in range(4)]
    written(whole, items)

    path = tmp_path / name
    part, journal = (path.with_name(f"{name}.{end}") for end in ("part", "done"))
    with pytest.raises(RuntimeError), RowFile(path, NAMES) as file:
        for item, rows in items[:2]:
            file.write(rows)
            file.finished(item)
        file.write(items[2][1][:1])
        raise RuntimeError("stop")
    assert not path.exists()
    if damage == "half a row":
        with part.open("a") as handle:
            handle.write("film 2,1,0.0")
    elif damage == "half a note":
        with journal.open("a") as handle:
            handle.write('["film 2", 99')
    elif damage == "rows lost":  # the journal reached the disk, the last rows did not
        rows = part.read_text().splitlines(keepends=True)
        part.write_text("".join(rows[:5]))
    done = ["film 0"] if damage == "rows lost" else ["film 0", "film 1"]

    with RowFile(path, NAMES, resume=True) as file:
        assert [item for item, _ in items if item in file] == done
        for item, rows in items:
            if item not in file:
                file.write(rows)
                file.finished(item)
    assert path.read_bytes() == whole.read_bytes()
    assert not part.exists()
    assert not journal.exists()


def test_stopped_twice(tmp_path):
    path = tmp_path / "faces.csv"
    items = [(f"film {n}", list(video_rows(f"film {n}"))) for n in range(3)]
    for number in range(3):
        try:
            with RowFile(path, NAMES, resume=True) as file:
                name, rows = items[number]
                assert name not in file
                file.write(rows)
                file.finished(name)
                if number < 2:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
    assert list(read_rows(path)) == full(one for _, rows in items for one in rows)


def test_a_finished_table_is_not_replaced_by_a_resume(tmp_path):
    path = tmp_path / "faces.csv"
    written(path, [("a", video_rows())])
    with pytest.raises(InputError, match="is complete, so there is nothing to resume"):
        RowFile(path, NAMES, resume=True).__enter__()
    assert len(list(read_rows(path))) == 3
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("names", [("wütend", "fröhlich"), ("a, b", 'a "c"')])
def test_stopped_before_anything_was_finished(names, tmp_path):
    path = tmp_path / "faces.csv"
    with RowFile(path, names) as file:
        file.write([{"source": "half.jpg", "frame": 0}])
        shutil.copytree(tmp_path, tmp_path / "killed")  # as it is when the process is killed here
    path = tmp_path / "killed" / "faces.csv"
    whole = {name: 0.5 for name in columns(names) if name.startswith(names)}
    with RowFile(path, names, resume=True) as file:
        file.write([{"source": "whole.jpg", "frame": 1, **whole}])
        file.finished("whole.jpg")
    (one,) = read_rows(path)
    assert (one["source"], one[names[1]]) == ("whole.jpg", 0.5)


def test_an_expression_with_the_name_of_another_column_is_refused(tmp_path):
    for names in (("calm", "uncertain"), ("calm", "calm_smoothed")):
        with pytest.raises(InputError, match=f"{names[1]}.*another column"):
            RowFile(tmp_path / "faces.csv", names)


def test_going_on_with_other_settings_is_refused(tmp_path):
    path = tmp_path / "faces.csv"
    with pytest.raises(RuntimeError), RowFile(path, NAMES, settings={"model": "a"}) as file:
        file.finished("film")
        raise RuntimeError("stop")
    with pytest.raises(InputError, match="with other"):
        RowFile(path, NAMES, settings={"model": "b"}, resume=True).__enter__()
    with pytest.raises(InputError, match="with other"):
        RowFile(path, ("a", "b"), settings={"model": "a"}, resume=True).__enter__()
    with RowFile(path, NAMES, settings={"model": "a"}, resume=True) as file:
        assert "film" in file


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks there")
def test_two_do_not_write_one_table(tmp_path):
    """Their rows were mixed, and the second took away what the first had written."""
    path = tmp_path / "a.csv"
    with RowFile(path, NAMES) as rows:
        rows.write([row("a.png", 0, None, FACE)])
        for resume in (False, True):
            with (
                pytest.raises(InputError, match="another process is writing rows here"),
                RowFile(path, NAMES, resume=resume),
            ):
                pass
    assert len(list(read_rows(path))) == 1
    with RowFile(path, NAMES):
        pass
    assert list(read_rows(path)) == []


def test_where_nothing_was_finished_nothing_is_left(tmp_path):
    with pytest.raises(RuntimeError), RowFile(tmp_path / "faces.csv", NAMES) as file:
        file.write(video_rows())
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_a_table_without_a_row_has_its_columns(tmp_path):
    for name in ("faces.csv", "faces.parquet"):
        written(tmp_path / name, [])
        assert list(read_rows(tmp_path / name)) == []
    assert (tmp_path / "faces.csv").read_text() == ",".join(columns(NAMES)) + "\n"


def test_rows_go_to_standard_output(capsys):
    written("-", [("a", video_rows())])
    said = capsys.readouterr().out
    assert [one["frame"] for one in csv.DictReader(io.StringIO(said))] == ["0", "1", "2"]


def test_names_that_are_no_text_are_written_all_the_same(tmp_path):
    for name in ("faces.csv", "faces.parquet"):
        written(tmp_path / name, [("a", [row("caf\udce9.jpg", 0, None, FACE)])])
        (read,) = read_rows(tmp_path / name)
        assert read["source"] == "caf\\udce9.jpg"


def test_what_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    for path, said in (
        (tmp_path / "file" / "faces.csv", "a folder is needed"),
        (tmp_path / "folder.csv", "a folder stands"),
    ):
        with pytest.raises(InputError, match=said):
            RowFile(path, NAMES).__enter__()
    with pytest.raises(InputError, match=r"\.csv or \.parquet or \.jsonl"):
        RowFile(tmp_path / "faces.xlsx", NAMES)


def test_rows_on_a_screen_are_visible_text(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr("sys.stdout", screen)
    with RowFile("-", NAMES) as file:
        file.write([row("a\x1b[2J\n.jpg", 0, None, FACE)])
    assert "\x1b" not in screen.getvalue()
    assert r"a\x1b[2J\n.jpg,0," in screen.getvalue()
