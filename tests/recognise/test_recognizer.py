"""One call: a picture in, its faces and their expressions out."""

from __future__ import annotations

import io
import json
import multiprocessing
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest
from model_files import model_file
from PIL import Image
from stand_in import StandIn, photo

import mien
from mien.card import Limits
from mien.decoding import Decoded
from mien.errors import InputError
from mien.expressions import SEVEN
from mien.input_spec import InputSpec
from mien.recognise import naming
from mien.recognise.detect import Detection
from mien.recognise.pictures import read_picture
from mien.recognise.recognizer import Face, Recognizer
from mien.recognise.yunet import Looked, YuNet

EMPTY = np.full((60, 80, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def hopper():
    return read_picture(photo())


@pytest.fixture
def model():
    return StandIn()


@pytest.fixture
def recognizer(model):
    return Recognizer(model)


def test_a_photo_gives_its_face(recognizer):
    (face,) = recognizer.recognize(photo())

    x, y, width, height = face.box
    assert (x < 228 < 308 < x + width, y < 194 < 268 < y + height) == (True, True)
    assert 0.8 < face.detection_score <= 1
    assert tuple(face.probabilities) == SEVEN
    assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert face.probability == max(face.probabilities.values())
    assert face.probabilities[face.expression] == face.probability


def test_the_answer_is_the_models_for_the_crop(recognizer, model):
    seen = recognizer.look(photo())
    (face,) = recognizer.recognize(photo())

    assert seen.size == (512, 600)
    assert seen.crops.shape == (1, 1, 48, 48)
    assert list(face.probabilities.values()) == model(seen.crops)[0].tolist()
    assert np.array_equal(recognizer.features(photo()), model.features(seen.crops))


def test_the_same_photo_in_every_form_gives_the_same_answer_to_the_last_bit(recognizer, hopper):
    expected = recognizer.recognize(photo())
    lossless = io.BytesIO()
    Image.fromarray(hopper).save(lossless, "png")

    with Image.open(photo()) as image:
        for source in (str(photo()), photo().read_bytes(), image, hopper, lossless.getvalue()):
            assert recognizer.recognize(source) == expected
    assert recognizer.recognize(hopper[..., ::-1], bgr=True) == expected
    assert recognizer.recognize(np.ascontiguousarray(hopper[..., ::-1])) != expected


def test_a_photo_taken_with_the_camera_turned_is_the_same_photo(recognizer, hopper):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(np.rot90(hopper))).save(turned, "png", exif=exif)

    assert recognizer.recognize(turned.getvalue()) == recognizer.recognize(hopper)


def test_no_face_is_an_answer(recognizer, model):
    answer = recognizer.recognize(EMPTY)

    assert (answer, answer.size) == ([], (80, 60))
    assert answer.to_dict() == {
        "width": 80,
        "height": 60,
        "looked_at": {"size": 80, "smallest_face": 35},
        "faces": [],
    }
    assert recognizer.features(EMPTY).shape == (0, 7)


def test_a_list_is_answered_in_order_and_asked_at_once(recognizer, model, hopper):
    two = np.concatenate([hopper, hopper[:, ::-1]], axis=1)
    single = [recognizer.recognize(one) for one in (EMPTY, two, hopper)]
    model.batches.clear()

    answers = recognizer.recognize([EMPTY, two, photo()])

    assert model.batches == [3]
    assert [len(answer) for answer in answers] == [0, 2, 1]
    for answer, alone in zip(answers, single, strict=True):
        assert [face.box for face in answer] == [face.box for face in alone]
        for one, other in zip(answer, alone, strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
    assert recognizer.recognize([]) == []
    assert [len(rows) for rows in recognizer.features((EMPTY, two))] == [0, 2]


def test_a_broken_one_of_a_list_is_named(recognizer, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"not a picture")

    with pytest.raises(InputError, match=r"picture 2 of 3: .*bad\.jpg: cannot be decoded"):
        recognizer.recognize([EMPTY, tmp_path / "bad.jpg", EMPTY])


def test_threads_share_a_recognizer(recognizer, hopper):
    pictures = [np.ascontiguousarray(hopper[top:]) for top in range(0, 60, 10)] + [EMPTY]
    expected = [recognizer.recognize(picture) for picture in pictures]
    answers: dict[int, object] = {}

    def recognise(number: int) -> None:
        for _ in range(3):
            answers[number] = recognizer.recognize(pictures[number])

    threads = [threading.Thread(target=recognise, args=[n]) for n in range(len(pictures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [answers[number] for number in range(len(pictures))] == expected


def test_boxes_stay_within_the_picture():
    over = [Detection((-10, -20, 60, 60)), Detection((60, 40, 90, 100))]

    answer = Recognizer(StandIn(), detector=lambda picture: over).recognize(EMPTY)

    assert [face.box for face in answer] == [(0, 0, 50, 40), (60, 40, 20, 20)]


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_below_the_models_threshold_an_answer_is_uncertain(hopper, threshold):
    (face,) = Recognizer(StandIn(uncertain_below=threshold)).recognize(hopper)

    assert face.uncertain == (threshold == 1.0)


def test_the_detector_none_takes_a_picture_for_a_face(model, hopper):
    ready = Recognizer(model, detector="none")
    face = np.ascontiguousarray(hopper[100:148, 200:248, 0])

    answer = ready.recognize(face)

    assert [(one.box, one.detection_score) for one in answer] == [((0, 0, 48, 48), 1)]
    assert list(answer[0].probabilities.values()) == model(face[None, None])[0].tolist()


def test_a_detector_of_ones_own_sees_the_upright_rgb_picture(model, hopper):
    shown = []

    def own(picture):
        shown.append(picture)
        return [Detection((180, 120, 170, 210), 0.5)]

    (face,) = Recognizer(model, detector=own).recognize(photo())

    assert np.array_equal(shown[0], hopper)
    assert (face.box, face.detection_score) == ((180, 120, 170, 210), 0.5)


@pytest.mark.parametrize("wrong", [None, [(1, 2, 3, 4)], 5])
def test_a_detector_that_gives_no_detections_is_told(model, wrong):
    with pytest.raises(InputError, match=r"a list of mien\.Detection"):
        Recognizer(model, detector=lambda picture: wrong).recognize(EMPTY)


def test_unknown_detectors_and_missing_models_are_refused(model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="a detector is a name or a function, not int"):
        Recognizer(StandIn(), detector=3)
    with pytest.raises(InputError, match="device 0 is not known: use auto, cpu, cuda or cuda:N"):
        Recognizer(device=0)
    with pytest.raises(InputError, match=r"no detector 'haar' \(known: none, yunet\)"):
        Recognizer(model, detector="haar")
    with pytest.raises(InputError, match=r"missing\.onnx"):
        Recognizer(tmp_path / "missing.onnx")
    monkeypatch.setattr(naming.resources, "files", lambda package: tmp_path)
    with pytest.raises(InputError, match=r"model=FILE\.onnx"):
        Recognizer()


def test_a_size_for_a_detector_that_takes_none_is_refused(model):
    for own in ("none", lambda picture: []):
        with pytest.raises(InputError, match=r"size 800: .* leave it out"):
            Recognizer(model, detector=own, size=800)


def test_a_turned_photo_gives_the_upright_answer(model, hopper):
    (upright,) = Recognizer(model).recognize(hopper)
    (turned,) = Recognizer(model).recognize(np.ascontiguousarray(np.rot90(hopper, -1)))

    assert (upright.angle, turned.angle) == pytest.approx((0, 90), abs=4)
    assert turned.box[2:] == pytest.approx(upright.box[:1:-1], abs=6)
    assert turned.probabilities == pytest.approx(upright.probabilities, abs=0.03)


def test_films_are_looked_at_once(model, hopper):
    films = Recognizer(model).for_films()

    assert len(films.recognize(hopper)) == 1
    assert films.recognize(np.ascontiguousarray(np.rot90(hopper))) == []


def test_settings_reach_the_detector_and_the_decoder(model, hopper):
    assert Recognizer(model, detector=YuNet(score=0.99)).recognize(hopper) == []
    assert Recognizer(model, size=200).recognize(hopper).looked == Looked(200, 105)
    assert Recognizer(model).with_size(300).recognize(hopper).looked == Looked(300, 70)
    assert Recognizer(model, detector="none").recognize(hopper).looked is None
    with pytest.raises(InputError, match="absurdly large"):
        Recognizer(model, max_pixels=1000).recognize(hopper)


def _limited(limits, detector="yunet", threshold=0.0):
    model = StandIn(uncertain_below=threshold)
    model.card = replace(model.card, uncertain_beyond=limits)
    return Recognizer(model, detector=detector)


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(), None),
        (Limits(size=10, spread=5, turn=40, detection_score=0.5), None),
        (Limits(size=1000), "size"),
        (Limits(spread=120), "spread"),
        (Limits(detail=5), "detail"),
        (Limits(noise=0.01), "noise"),
        (Limits(detail=0.01, noise=5), None),
        (Limits(turn=0), "turn"),
        (Limits(detection_score=1), "detection_score"),
        (Limits(size=1000, spread=120, turn=0), "size"),
    ],
)
def test_the_limit_that_spoke_is_named(hopper, limits, why):
    (face,) = _limited(limits).recognize(hopper)

    assert face.why_uncertain == why
    assert face.uncertain == (why is not None)
    assert face.to_dict()["why_uncertain"] == why


def test_the_picture_speaks_before_the_probability(hopper):
    (face,) = _limited(Limits(size=1000), threshold=1.0).recognize(hopper)
    assert face.why_uncertain == "size"
    (face,) = _limited(Limits(size=10), threshold=1.0).recognize(hopper)
    assert face.why_uncertain == "probability"


@pytest.mark.parametrize(
    ("level", "side", "why"), [(255, 48, None), (4, 48, "spread"), (255, 12, "size")]
)
def test_ready_crops_have_limits_of_size_and_spread_alone(level, side, why):
    bands = np.zeros((48, 48), np.uint8)
    bands[::2] = level
    ready = cv2.resize(bands[:side], (48, side), interpolation=cv2.INTER_NEAREST)
    limits = Limits(size=20, spread=5, turn=0, detection_score=1)
    (face,) = _limited(limits, detector="none").recognize(ready)
    assert face.why_uncertain == why


def test_the_score_of_a_finder_of_ones_own_means_something_else(hopper):
    def own(picture):
        return [Detection((200, 100, 150, 180), 0.1)]

    (face,) = _limited(Limits(detection_score=0.9), detector=own).recognize(hopper)
    assert face.why_uncertain is None


def test_a_network_of_colour_is_shown_colour(hopper):
    model = StandIn(InputSpec(3, 64, 64, (0.5,), (0.5,)))

    crops = Recognizer(model).look(hopper).crops

    assert crops.shape == (1, 3, 64, 64)
    assert crops[0, 0].mean() > crops[0, 2].mean() + 10  # skin is redder than blue


FACE = Face((1, 2, 3, 4), 0.9, "sad", 0.5, {"happy": 0.2, "sad": 0.5, "fear": 0.3})


@pytest.mark.parametrize(
    ("k", "names"), [(0, []), (1, ["sad"]), (3, ["sad", "fear", "happy"]), (9, ["sad", "fear", "happy"])]
)  # fmt: skip
def test_top_begins_with_the_most_probable(k, names):
    assert FACE.top(k) == [(name, FACE.probabilities[name]) for name in names]


def test_answers_become_json_and_data_frames(recognizer, hopper):
    pytest.importorskip("pandas")
    answer = recognizer.recognize(hopper)

    told = json.loads(json.dumps(answer.to_dict()))
    frame = answer.to_dataframe()

    assert told["faces"][0]["box"]["width"] == answer[0].box[2]
    assert told["faces"][0]["probabilities"] == answer[0].probabilities
    assert list(frame.columns[:4]) == ["x", "y", "width", "height"]
    assert frame.loc[0, "expression"] == answer[0].expression
    assert frame.loc[0, list(SEVEN)].tolist() == list(answer[0].probabilities.values())
    assert list(recognizer.recognize(EMPTY).to_dataframe().columns) == list(frame.columns)


def test_what_mattered_is_where_the_answer_looks(hopper):
    """The stand-in answers `happy` for its fourth band of rows: to hide that costs most."""
    face = np.full((48, 48, 3), 60, np.uint8)
    face[21:28] = 255
    recognizer = Recognizer(StandIn(), detector="none")

    (found,) = recognizer.recognize(face)
    explained = found.explain()
    crop, mattered = explained.shown, explained.mattered

    assert found.expression == "happy"
    assert (crop.shape, mattered.shape, mattered.dtype) == ((1, 48, 48), (48, 48), np.float32)
    rows = mattered.mean(axis=1)
    assert 21 <= rows.argmax() <= 27
    assert rows[24] > 5 * max(abs(rows[2]), abs(rows[-3]))
    assert 0 < mattered.max() <= 1


def test_the_package_offers_it_lazily():
    code = (
        "import sys, mien; heavy = {'cv2', 'onnxruntime', 'torch', 'pandas', 'PIL'}; "
        "print(sorted(heavy & set(sys.modules))); mien.Recognizer; mien.Detection; "
        "print(sorted({'torch', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["[]", "[]"]
    assert mien.Recognizer is Recognizer


def test_faces_come_from_left_to_right_and_can_be_members_of_sets() -> None:
    boxes = [(40.0, 5.0, 20.0, 20.0), (2.0, 30.0, 20.0, 20.0), (2.0, 4.0, 20.0, 20.0)]
    recognizer = Recognizer(StandIn(), detector=lambda _: [Detection(box) for box in boxes])
    found = recognizer.recognize(np.zeros((64, 64, 3), np.uint8))
    assert [face.box for face in found] == [boxes[2], boxes[1], boxes[0]]
    assert len({*found, *found}) == 3


def test_a_pickle_opens_its_model_and_its_detector_again():
    before = Recognizer(model_file(), threads=1, max_pixels=1_000_000)
    after = pickle.loads(pickle.dumps(before))  # noqa: S301 (just made here)
    assert after.recognize(photo()) == before.recognize(photo())
    assert after.card == before.card
    with pytest.raises(InputError, match="1 megapixels"):
        after.recognize(np.zeros((1001, 1000, 3), np.uint8))


@pytest.mark.slow
def test_another_process_gives_the_same_answer():
    recognizer = Recognizer(model_file(), threads=1)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(recognizer.recognize, photo()).result(300) == recognizer.recognize(
            photo()
        )


@pytest.mark.skipif(sys.platform != "linux", reason="nowhere else are processes made so")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_was_forked_from_a_recogniser_at_work_gives_the_same_answer():
    recognizer = Recognizer(threads=2)
    before = recognizer.recognize(photo())
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=lambda: answers.put(recognizer.recognize(photo()).to_dict()))
    child.start()
    child.join(60)
    try:
        assert child.exitcode == 0
        assert answers.get() == before.to_dict()
    finally:
        child.kill()


def test_faces_whose_boxes_are_known_come_in_their_order(model, hopper):
    boxes = [(250.0, 100.0, 120.0, 140.0), (-20.0, 30.0, 90.0, 80.0)]
    searched = Recognizer(model, detector=lambda _: [Detection(box) for box in boxes])
    for detector in ("yunet", "none"):
        faces = Recognizer(model, detector=detector).recognize(photo(), boxes=boxes)
        assert [face.box for face in faces] == [boxes[0], (0.0, 30.0, 70.0, 80.0)]
        assert list(faces) == list(reversed(searched.recognize(photo())))
        assert np.array_equal(faces[1].explain().shown, faces[1].explain().shown)
    assert Recognizer(model).recognize(hopper, boxes=np.array(boxes)) == faces
    assert Recognizer(model).recognize(hopper, boxes=[]) == []


def test_known_boxes_are_in_pixels_of_the_file_where_it_was_read_smaller(recognizer, hopper):
    half = Decoded(np.ascontiguousarray(hopper[::2, ::2]), (512, 600))
    (face,) = recognizer.recognize(half, boxes=[(150, 100, 200, 240)])
    (same,) = recognizer.recognize(half.pixels, boxes=[(75, 50, 100, 120)])
    assert face.box == (150, 100, 200, 240)
    assert face.probabilities == same.probabilities
    assert np.array_equal(face.explain().shown, same.explain().shown)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((10, 20, 30), r"boxes\[1\] is \(10, 20, 30\); give \(x, y, width, height\)"),
        ((10, 20, 0, 30), "width and height above 0"),
        ((10, 20, -5, 30), "width and height above 0"),
        ((10, float("nan"), 30, 30), r"boxes\[1\] is"),
        ((10, "a", 30, 30), r"boxes\[1\] is"),
        (7, r"boxes\[1\] is 7"),
        ((600, 20, 30, 30), "mostly outside of the picture of 512 x 600 pixels"),
        ((300, 100, 500, 250), "mostly outside"),  # two corners
    ],
)
def test_what_is_no_box_is_one_sentence(box, said, recognizer):
    with pytest.raises(InputError, match=said):
        recognizer.recognize(photo(), boxes=[(250, 100, 120, 140), box])


def test_boxes_belong_to_one_picture(recognizer):
    with pytest.raises(InputError, match="boxes belong to one picture"):
        recognizer.recognize([photo()], boxes=[(250, 100, 120, 140)])
