"""Own photos as training data: what `mien data prepare --crop faces` cuts, leaves out and says."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image, ImageOps
from stand_in import StandIn, photo

import mien
from mien import cli, cropping
from mien.input_spec import InputSpec
from mien.recognise.recognizer import Recognizer
from mien.resize import fitted

RGB_64 = InputSpec(3, 64, 64)


def canvas(*faces: tuple[int, tuple[int, int]], gray: bool = False) -> Image.Image:
    """Her photo on a plain ground, each time so wide and there."""
    made = Image.new("RGB", (900, 700), (120, 130, 140))
    with Image.open(photo()) as hopper:
        for width, place in faces:
            made.paste(hopper.resize((width, width * 600 // 512)), place)
    return ImageOps.grayscale(made) if gray else made


def save(image: Image.Image, path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def photos(tmp_path):
    """Four good photos of two splits; one of nobody, one of two, one broken, one in no folder."""
    root = tmp_path / "photos"
    save(canvas((400, (30, 60))), root / "train" / "happy" / "1.jpg")
    save(canvas((300, (500, 20))), root / "train" / "happy" / "1.png")
    save(canvas((350, (200, 100))), root / "train" / "Sadness" / "2.webp")
    save(canvas((250, (300, 200))), root / "validation" / "angry" / "3.jpg")
    save(canvas(), root / "train" / "happy" / "nobody.png")
    save(canvas((200, (20, 20)), (450, (400, 100))), root / "train" / "angry" / "two.png")
    (root / "train" / "angry" / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    save(canvas((400, (30, 60))), root / "loose.jpg")
    (root / "notes.txt").write_text("no photo")
    return root


@pytest.fixture
def run(capsys):
    def prepare(*arguments):
        status = cli.run(["data", "prepare", *(str(argument) for argument in arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return prepare


def listed(out):
    with (out / "skipped.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


def tree(folder):
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_training_reads_to_the_pixel_what_recognition_looks_at(photos, tmp_path):
    cropping.crop_faces(photos, tmp_path / "faces", side=64)

    store = mien.load(tmp_path / "faces")
    recognizer = Recognizer(StandIn(RGB_64))
    assert len(store) == 4
    for row, pixels in zip(store.rows, store.pixels, strict=True):
        (crop,) = recognizer.look(photos / row.removesuffix(".png")).crops
        np.testing.assert_array_equal(pixels, crop)
    assert {(row, store.expressions[label], split) for row, label, split in zip(
        store.rows, store.labels.tolist(), store.splits.tolist(), strict=True
    )} == {
        ("train/happy/1.jpg.png", "happy", 0),
        ("train/happy/1.png.png", "happy", 0),
        ("train/Sadness/2.webp.png", "sad", 0),
        ("validation/angry/3.jpg.png", "angry", 1),
    }  # fmt: skip


def test_gray_photos_train_gray_networks_on_the_very_same_pixels(tmp_path):
    save(canvas((400, (30, 60)), gray=True), tmp_path / "photos" / "fear" / "1.png")
    cropping.crop_faces(tmp_path / "photos", tmp_path / "faces", side=48)

    (crop,) = Recognizer(StandIn()).look(tmp_path / "photos" / "fear" / "1.png").crops
    np.testing.assert_array_equal(mien.load(tmp_path / "faces").pixels, crop[None])


def test_colour_photos_train_gray_networks_on_the_same_pixels_to_a_gray_level(photos, tmp_path):
    cropping.crop_faces(photos, tmp_path / "faces", side=48)

    store = mien.load(tmp_path / "faces")
    recognizer = Recognizer(StandIn())
    for row, pixels in zip(store.rows, store.pixels, strict=True):
        (crop,) = recognizer.look(photos / row.removesuffix(".png")).crops
        trained = fitted(pixels[None], recognizer.card.input)[0]
        assert np.abs(trained.astype(int) - crop).max() <= 1


def test_each_face_keeps_the_resolution_of_its_photo_up_to_the_largest_input(tmp_path):
    for width in (150, 300, 600):
        save(canvas((width, (10, 0))), tmp_path / "photos" / "fear" / f"{width}.png")
    cropping.crop_faces(tmp_path / "photos", tmp_path / "faces")

    sides = []
    for width in (150, 300, 600):
        with Image.open(tmp_path / "faces" / "fear" / f"{width}.png.png") as face:
            assert face.mode == "RGB"
            assert face.width == face.height
            sides.append(face.width)
    small, middle, large = sides
    assert middle == pytest.approx(2 * small, rel=0.1)
    assert large == cropping.LARGEST < 2 * middle
    assert mien.load(tmp_path / "faces", size=(48, 48)).pixels.shape == (3, 3, 48, 48)


def test_photos_that_gave_no_face_are_listed_and_the_rest_is_done(run, photos, tmp_path):
    out = tmp_path / "faces"

    status, said, err = run(photos, "--crop", "faces", "--out", out, "--json")

    told = json.loads(said)
    assert status == 1  # one could not be read
    assert (told["faces"], told["out"]) == (4, str(out))
    reasons = listed(out)
    assert {one["file"]: one["reason"] for one in told["skipped"]} == reasons
    assert reasons.pop("train/angry/broken.jpg").startswith(str(photos / "train" / "angry"))
    assert reasons == {
        "loose.jpg": "in no class folder",
        "train/happy/nobody.png": "no face",
        "train/angry/two.png": "2 faces",
    }
    for name, reason in reasons.items():
        assert f"{name}: {reason}" in err
    assert "broken.jpg" in err
    assert f"mien train RECIPE --data {out}" in err
    assert tree(out) == [
        "skipped.csv",
        "train/Sadness/2.webp.png",
        "train/happy/1.jpg.png",
        "train/happy/1.png.png",
        "validation/angry/3.jpg.png",
    ]


def test_the_largest_of_several_is_taken_when_asked_for(run, photos, tmp_path):
    out = tmp_path / "faces"
    (photos / "train" / "angry" / "broken.jpg").unlink()

    status, said, _ = run(photos, "--crop", "faces", "--out", out, "--several", "largest", "--side", 64)  # fmt: skip

    assert status == 0
    assert "with a face" in said
    assert "train/angry/two.png" not in listed(out)
    seen = Recognizer(StandIn(RGB_64)).look(photos / "train" / "angry" / "two.png")
    largest = int(np.argmax([face.box[2] for face in seen.detections]))
    with Image.open(out / "train" / "angry" / "two.png.png") as face:
        np.testing.assert_array_equal(np.asarray(face).transpose(2, 0, 1), seen.crops[largest])


def test_a_photo_taken_sideways_is_cut_upright(tmp_path):
    upright = canvas((400, (30, 60)))
    save(upright, tmp_path / "photos" / "fear" / "1.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise by a quarter
    upright.transpose(Image.Transpose.ROTATE_90).save(
        tmp_path / "photos" / "fear" / "2.png", exif=exif
    )
    cropping.crop_faces(tmp_path / "photos", tmp_path / "faces", side=48)

    first, second = mien.load(tmp_path / "faces").pixels
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("arguments", [["--crop", "hats"], ["--crop", "faces", "--several", "all"]])
def test_unknown_choices_are_refused_with_the_known_ones(run, photos, tmp_path, arguments):
    before = tree(tmp_path)
    status, out, err = run(photos, *arguments, "--out", tmp_path / "faces")
    assert (status, out) == (2, "")
    assert f"Invalid value for '{arguments[-2]}'" in err
    assert f"'{arguments[-1]}' is not one of" in err
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--crop", "faces"], "--crop needs --out"),
        (["--out", "faces"], "add --crop faces or --votes"),
        (["--side", "48"], "--side is an option of cropping"),
        (["--crop", "faces", "--out", "faces", "--side", "0"], "side 0"),
        (["--crop", "faces", "--out", "photos/faces"], "lies among the photos"),
        (["--crop", "faces", "--out", "photos"], "exists already"),
        (["--crop", "faces", "--out", "faces", "--labels", "sad,angry"], "'happy' is not in"),
    ],
)
def test_mistakes_are_told_before_anything_is_done(
    run, photos, tmp_path, monkeypatch, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)

    status, out, err = run("photos", *arguments)

    assert (status, out, err.count("\n")) == (2, "", 1)
    assert sentence in err
    assert tree(tmp_path) == before


def test_nothing_to_crop_is_one_sentence(run, tmp_path):
    (tmp_path / "photos" / "happy").mkdir(parents=True)
    status, _, err = run(tmp_path / "photos", "--crop", "faces", "--out", tmp_path / "faces")
    assert (status, err.count("\n"), "no photos" in err) == (2, 1, True)

    save(canvas(), tmp_path / "photos" / "happy" / "nobody.png")
    status, _, err = run(tmp_path / "photos", "--crop", "faces", "--out", tmp_path / "faces")
    assert (status, err.count("\n"), "no face: 1" in err) == (2, 1, True)

    for missing in (tmp_path / "nowhere", tmp_path / "photos" / "happy" / "nobody.png"):
        status, _, err = run(missing, "--crop", "faces", "--out", tmp_path / "faces")
        assert (status, err.count("\n"), str(missing) in err) == (2, 1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_stopped_half_way_leaves_nothing_behind(photos, tmp_path):
    def stop(done, _total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cropping.crop_faces(photos, tmp_path / "faces", progress=stop)

    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
