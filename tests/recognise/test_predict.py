"""mien predict: what it prints, writes and leaves with."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from stand_in import StandIn, photo

from mien.cli.predicted import Told
from mien.expressions import SEVEN
from mien.recognise import recognizer as room
from mien.recognise.pictures import read_picture
from mien.recognise.recognizer import Recognizer
from mien.recognise.rows import read_rows


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """The bundled model's place is taken by one whose answers are quick."""
    model = StandIn()
    monkeypatch.setattr(room.FaceModel, "open", lambda *_, **__: model)
    return model


@pytest.fixture
def folder(tmp_path):
    """Two photos of her, one of nobody, in folders; something else beside them."""
    album = tmp_path / "album"
    (album / "deep" / "er").mkdir(parents=True)
    shutil.copy(photo(), album / "hopper.jpg")
    Image.open(photo()).save(album / "deep" / "er" / "hopper.png")
    Image.new("RGB", (64, 48)).save(album / "deep" / "nobody.gif")
    (album / "notes.txt").write_text("no picture")
    return album


def test_a_photo_becomes_a_table(mien, stand_in):
    (face,) = Recognizer(stand_in).recognize(photo())

    status, out, err = mien(photo())

    assert (status, err) == (0, "")
    assert "searched at 600 pixels for faces of 35 pixels and more" in " ".join(out.split())
    assert "hopper.jpg" in "".join(out.split())
    assert face.expression in out
    assert f"{face.probability:.0%}".replace("%", " %") in out
    assert "faces: 1, pictures: 1" in out


def test_json_is_the_recognisers_answer(mien, stand_in):
    status, out, _ = mien(photo(), "--json")

    told = json.loads(out)
    assert status == 0
    assert told["failed"] == []
    assert told["model"]["name"] == "stand-in"
    (picture,) = told["pictures"]
    assert picture.pop("file") == str(photo())
    assert picture == Recognizer(stand_in).recognize(photo()).to_dict()


def test_a_folder_is_searched_with_all_below(mien, folder):
    status, out, _ = mien(folder, "--json")

    told = json.loads(out)
    assert status == 0
    found = {picture["file"]: len(picture["faces"]) for picture in told["pictures"]}
    assert found == {
        str(folder / "deep" / "er" / "hopper.png"): 1,
        str(folder / "deep" / "nobody.gif"): 0,
        str(folder / "hopper.jpg"): 1,
    }
    assert "no face" in mien(folder)[1]


def test_patterns_are_expanded(mien, folder):
    _, out, _ = mien(folder / "**" / "*.png", "--json")

    assert [picture["file"] for picture in json.loads(out)["pictures"]] == [
        str(folder / "deep" / "er" / "hopper.png")
    ]


def test_rows_are_written_to_csv(mien, folder, tmp_path):
    status, _, err = mien(folder, "--csv", tmp_path / "faces.csv")

    rows = list(csv.DictReader((tmp_path / "faces.csv").read_text().splitlines()))
    assert (status, "written:" in err) == (0, True)
    assert [row["source"] for row in rows if row["expression"]] == [
        str(folder / "deep" / "er" / "hopper.png"),
        str(folder / "hopper.jpg"),
    ]
    assert sum(float(rows[0][name]) for name in SEVEN) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", ["faces.csv", "faces.parquet", "faces.jsonl"])
def test_every_photo_is_in_the_table(name, mien, folder, tmp_path):
    """Of a thousand photos, 980 were in it, and nobody knew which were missing."""
    (folder / "a broken.jpg").write_bytes(b"no picture")

    status, _, _ = mien(folder, "--csv", tmp_path / name)

    rows = list(read_rows(tmp_path / name))
    assert status == 1
    assert {row["source"]: (row["frame"], row["expression"] is None) for row in rows} == {
        str(folder / "deep" / "er" / "hopper.png"): (0, False),
        str(folder / "deep" / "nobody.gif"): (0, True),
        str(folder / "hopper.jpg"): (0, False),
        str(folder / "a broken.jpg"): (None, True),
    }
    assert len(rows) == 4
    assert len({tuple(row) for row in rows}) == 1


def test_a_photo_that_could_not_be_read_is_tried_again_by_a_resume(
    mien, folder, tmp_path, monkeypatch
):
    broken, rows = folder / "a broken.jpg", tmp_path / "faces.csv"
    broken.write_bytes(b"no picture")
    with monkeypatch.context() as context:
        context.setattr(Told, "add", _stopped_at_the_second(Told.add))
        assert mien(folder, "--csv", rows)[0] == 130
    shutil.copy(photo(), broken)

    assert mien(folder, "--csv", rows, "--resume")[0] == 0

    made = list(read_rows(rows))
    assert sorted(row["source"] for row in made if row["expression"]) == [
        str(broken), str(folder / "deep" / "er" / "hopper.png"), str(folder / "hopper.jpg"),
    ]  # fmt: skip
    assert len(made) == 4


def _stopped_at_the_second(function):
    calls = itertools.count(1)

    def stopped(*arguments):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return function(*arguments)

    return stopped


def test_csv_can_go_to_standard_output(mien, folder):
    status, out, _ = mien(folder, "--csv", "-")

    assert status == 0
    assert len(list(csv.DictReader(out.splitlines()))) == 3
    assert mien(folder, "--csv", "-", "--json")[0] == 2


def test_what_was_stopped_is_gone_on_with(mien, folder, tmp_path, monkeypatch):
    rows = tmp_path / "faces.csv"
    mien(folder, "--csv", rows)
    whole = rows.read_text()
    rows.unlink()
    recognize, asked = Recognizer.recognize, []

    def stopped(self, *arguments, **options):
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return recognize(self, *arguments, **options)

    monkeypatch.setattr(Recognizer, "recognize", stopped)
    status, _, err = mien(folder, "--csv", rows)
    assert (status, "the same command with --resume goes on" in err) == (130, True)
    assert not rows.exists()

    status, out, _ = mien(folder, "--csv", rows, "--resume")

    assert (status, len(asked)) == (0, 4)
    assert "done before: 2" in out
    assert rows.read_text() == whole


def test_copies_are_annotated_under_their_own_names(mien, folder, tmp_path):
    status, _, err = mien(folder, "--out", tmp_path / "out")

    assert status == 0, err
    made = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("[!.]*.*")}
    assert {str(path) for path in made} == {
        "hopper.jpg", "deep/er/hopper.png", "deep/nobody.gif.png"
    }  # fmt: skip
    before = read_picture(folder / "deep" / "er" / "hopper.png")
    after = read_picture(tmp_path / "out" / "deep" / "er" / "hopper.png")
    changed = (before != after).any(axis=2)
    assert 0.005 < changed.mean() < 0.2
    assert np.array_equal(
        read_picture(folder / "deep" / "nobody.gif"),
        read_picture(tmp_path / "out" / "deep" / "nobody.gif.png"),
    )


def test_originals_are_never_replaced(mien, folder):
    original = (folder / "hopper.jpg").read_bytes()

    status, _, err = mien(folder / "hopper.jpg", "--out", folder)

    assert (status, "holds something else" in err) == (2, True)
    assert (folder / "hopper.jpg").read_bytes() == original


def test_copies_do_not_replace_other_photos_of_the_same_name(mien, folder, tmp_path):
    others = tmp_path / "others"
    others.mkdir()
    (others / "hopper.jpg").write_bytes(b"another photo")

    status, _, err = mien(folder, "--out", others)

    assert (status, "give --out a new or empty folder" in err) == (2, True)
    assert (others / "hopper.jpg").read_bytes() == b"another photo"
    assert len(list(others.iterdir())) == 1


def test_a_table_does_not_replace_an_input(mien, tmp_path):
    """`--engine ray` was forgotten: the faces of a parquet file are not read without it."""
    faces = tmp_path / "faces.parquet"
    faces.write_bytes(b"a million faces")

    status, _, err = mien(faces, "--csv", faces)

    assert (status, "would replace an input" in err) == (2, True)
    assert faces.read_bytes() == b"a million faces"


def test_a_copy_is_not_its_own_original_either(mien, folder, tmp_path):
    assert mien(folder / "hopper.jpg", "--out", tmp_path / "out")[0] == 0
    copy = tmp_path / "out" / "hopper.jpg"
    before = copy.read_bytes()

    status, _, err = mien(copy, "--out", tmp_path / "out")

    assert (status, "would replace" in err) == (2, True)
    assert copy.read_bytes() == before


def test_copies_of_before_are_not_recognised_again(mien, folder):
    for _ in range(2):
        status, out, _ = mien(folder, "--out", folder / "marked", "--json")
        assert (status, len(json.loads(out)["pictures"])) == (0, 3)


def test_what_mattered_is_drawn(mien, tmp_path):
    status, _, err = mien(photo(), "--out", tmp_path / "out", "--explain")

    assert status == 0, err
    drawn = read_picture(tmp_path / "out" / f"{photo().name}.face-1.png")
    plain = read_picture(photo())
    assert drawn.shape == plain.shape
    assert (drawn != plain).any(axis=2).mean() > 0.02
    assert mien(photo(), "--explain")[0] == 2


def test_broken_files_are_listed_and_the_rest_is_done(mien, folder):
    (folder / "a broken.jpg").write_bytes(photo().read_bytes()[:3000])
    (folder / "empty.png").touch()

    status, out, err = mien(folder, "--json")

    told = json.loads(out)
    assert status == 1
    assert len(told["pictures"]) == 3
    assert [one["file"] for one in told["failed"]] == [
        str(folder / "a broken.jpg"), str(folder / "empty.png")
    ]  # fmt: skip
    assert "could not be read, 2 of 5:" in err
    assert "empty.png: the file is empty" in err
    assert "Traceback" not in err


def test_ready_crops_need_no_detector(mien, tmp_path):
    Image.new("L", (48, 48), 90).save(tmp_path / "face.png")

    assert "no face" in mien(tmp_path / "face.png")[1]
    status, out, _ = mien(tmp_path / "face.png", "--faces", "none", "--json")
    assert (status, len(json.loads(out)["pictures"][0]["faces"])) == (0, 1)


def test_no_face_in_a_large_photo_says_what_finds_smaller_ones(mien, tmp_path):
    Image.new("RGB", (2000, 1500), "gray").save(tmp_path / "large.png")

    _, out, _ = mien(tmp_path / "large.png")
    _, told, _ = mien(tmp_path / "large.png", "--size", 320, "--json")

    said = " ".join(out.split())
    assert "searched at 1760 pixels for faces of 40 pixels and more" in said
    assert "a larger --size finds smaller faces" in said
    (picture,) = json.loads(told)["pictures"]
    assert picture["looked_at"] == {"size": 320, "smallest_face": 219}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.jpg"], "missing.jpg: no such file"),
        (["."], "no photo or video here"),
        (["*.jpg"], "no photo or video here"),
        ([photo(), "--resume"], "--resume needs --csv"),
        ([photo(), "--faces", "haar"], "no detector 'haar' (known: none, yunet)"),
        ([photo(), "--size", "0"], "size"),
        ([photo(), "--csv", "faces.txt"], "faces.txt"),
        ([photo(), "--out", "file/below"], "file"),
    ],
    ids=lambda value: str(value[-1]) if isinstance(value, list) else "",
)
def test_mistakes_are_one_sentence(mien, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()

    status, out, err = mien(*arguments)

    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert err.count("error:") == 1


def test_a_file_that_is_no_picture_is_one_message_without_an_empty_table(mien, tmp_path):
    (tmp_path / "notes.jpg").write_text("no picture")

    status, out, err = mien(tmp_path / "notes.jpg")

    assert (status, out.strip()) == (1, "")
    assert "notes.jpg: cannot be decoded as an image" in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")  # noqa: PTH110
@pytest.mark.parametrize("form", [[], ["--json"], ["--csv", "-"]], ids=["table", "json", "csv"])
def test_a_full_disk_behind_standard_output_is_one_sentence(mien, monkeypatch, form):
    # Without a buffer nothing is left that closing the file would fail to write again.
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(full, write_through=True))
        status, _, err = mien(photo(), *form)

    assert status == 2
    assert "standard output: the disk is full" in err
    assert "Traceback" not in err


def test_of_many_pictures_the_first_are_shown(mien, tmp_path):
    for number in range(105):
        Image.new("L", (8, 8)).save(tmp_path / f"{number:03}.png")

    _, out, _ = mien(tmp_path)

    assert out.count("no face") == 100
    assert "faces: 0, pictures: 105" in out
    assert "the first 100 pictures are shown" in " ".join(out.split())


def test_copies_of_x_bmp_and_x_bmp_png_are_two(mien, tmp_path):
    album, out = tmp_path / "album", tmp_path / "out"
    album.mkdir()
    for name in ("x.bmp", "x.bmp.png"):
        Image.open(photo()).save(album / name)

    assert mien(album, "--out", out)[0] == 0

    assert sorted(path.name for path in out.glob("x*")) == ["x.bmp.2.png", "x.bmp.png"]


@pytest.mark.parametrize("name", ["笑" * 80 + ".jpg", "x" * 249 + ".jpg", "y" * 251 + ".bmp"])
def test_a_name_that_leaves_no_room_is_shortened_and_told(name, mien, tmp_path):
    album, out = tmp_path / "album", tmp_path / "out"
    album.mkdir()
    shutil.copy(photo(), album / "b.jpg")
    Image.open(photo()).save(album / name)

    status, _, err = mien(album, "--out", out)

    assert status == 0
    made = {path.name for path in out.iterdir()} - {".mien.json"}
    assert len(made) == 2
    assert ("its name is too long" in err) == (name not in made)


def test_the_copies_of_before_are_no_photos_of_the_folder(mien, folder):
    copies = folder / "deep" / "marked"
    assert mien(folder, "--out", copies)[0] == 0

    status, out, err = mien(folder, "--json")

    assert status == 0
    assert len(json.loads(out)["pictures"]) == 3
    assert f"{copies}: not searched" in err


def test_the_table_has_the_paths_that_were_given(mien, folder):
    _, out, _ = mien(folder / "hopper.jpg", folder / "deep" / "er" / "hopper.png", folder / "*.jpg")
    assert "2-hopper" not in out
    assert out.count("hopper.jpg") == 2


def test_an_animation_of_which_only_the_first_picture_is_read_is_told(mien, folder):
    Image.open(photo()).save(
        folder / "deep" / "nobody.gif", save_all=True, append_images=[Image.new("RGB", (64, 48))]
    )
    status, _, err = mien(folder)
    assert status == 0
    assert f"of 1 file (an animation, or pages): {folder / 'deep' / 'nobody.gif'}" in err


def test_a_copy_that_cannot_be_written_does_not_end_the_others(mien, folder, tmp_path):
    assert mien(folder, "--out", tmp_path / "out")[0] == 0
    (tmp_path / "out" / "hopper.jpg").unlink()
    (tmp_path / "out" / "hopper.jpg").mkdir()
    (tmp_path / "out" / "deep" / "er" / "hopper.png").unlink()

    status, _, err = mien(folder, "--out", tmp_path / "out")

    assert status == 1
    assert "hopper.jpg: a folder stands where a file is needed" in err
    assert (tmp_path / "out" / "deep" / "er" / "hopper.png").is_file()


def test_links_that_lead_nowhere_are_told(mien, folder):
    (folder / "deep" / "gone.jpg").symlink_to(folder / "nowhere.jpg")

    status, out, err = mien(folder)

    assert status == 1
    assert "gone.jpg: a broken link" in err
    assert "pictures: 3" in out


def test_letters_that_a_terminal_lacks_are_escaped(monkeypatch):
    from mien import cli

    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, "cp1252", write_through=True))
    monkeypatch.setattr(cli, "run", lambda _: print("照片") or 0)  # noqa: T201

    with pytest.raises(SystemExit):
        cli.main([])

    assert raw.getvalue() == b"\\u7167\\u7247" + os.linesep.encode()


def test_a_data_frame_without_faces_has_the_types_of_a_full_one(tmp_path, stand_in):
    nobody = tmp_path / "nobody.png"
    Image.new("RGB", (64, 48)).save(nobody)

    recognizer = Recognizer(stand_in)
    empty, full = (recognizer.recognize(p).to_dataframe() for p in (nobody, photo()))

    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_of_strangers_are_shown_and_obeyed_by_nobody(mien, tmp_path, monkeypatch):
    """A name that erased the screen, one that wrote a line of its own, one that a spreadsheet computed."""
    album = tmp_path / "album"
    album.mkdir()
    evil, broken = "a\x1b[2J\nerror: lost.jpg", "b\x1b[31m\n.jpg"
    for name in (evil, '=HYPERLINK("x").jpg'):
        shutil.copy(photo(), album / name)
    (album / broken).write_bytes(b"no picture")
    monkeypatch.chdir(album)

    status, out, err = mien(evil, '=HYPERLINK("x").jpg', broken, "--csv", "rows.csv")

    assert status == 1
    assert "\x1b" not in out + err
    assert not [line for line in (out + err).splitlines() if line.startswith("error: lost")]
    assert r"\nerror: lost.jpg" in out
    assert r"b\x1b[31m\n.jpg: " in err
    with (album / "rows.csv").open(newline="", encoding="utf-8") as rows:
        sources = {row["source"] for row in csv.DictReader(rows)}
    assert sources == {evil, './=HYPERLINK("x").jpg', broken}  # the same files
    assert all((album / source).is_file() for source in sources)
