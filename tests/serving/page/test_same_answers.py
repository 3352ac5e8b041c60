"""The static site answers as the recogniser in Python does, in a real browser."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien import Recognizer
from mien.card import Limits
from mien.data.synthetic import synthetic_faces
from mien.recognise.detect import Detection
from mien.recognise.doubt import bad_picture, improbable
from mien.recognise.explain import hidden_parts
from mien.recognise.record import as_dict
from mien.recognise.track import FaceLike, FaceTracker

pytestmark = pytest.mark.slow

_PHOTOS, _READY = 1e-2, 1e-3

_OPEN = """async () => {
    const { openBrowser } = await import("./browser.js");
    globalThis.backend = await openBrowser(await (await fetch("config.json")).json());
}"""
_ASK = """async ({ content, detector }) => {
    const file = await (await fetch(`data:application/octet-stream;base64,${content}`)).blob();
    return backend.recognise(file, { detector });
}"""


@pytest.fixture(scope="module")
def ask(browser: Any, site: str) -> Iterator[Any]:
    """Recognises the bytes of a picture in the browser."""
    # Without its policy: a page may not read data: addresses, which is how pictures get in here.
    page = browser.new_context(bypass_csp=True).new_page()
    page.goto(site)
    page.evaluate(_OPEN)

    def asked(picture: bytes, detector: str = "yunet") -> dict[str, Any]:
        content = base64.b64encode(picture).decode()
        answer: dict[str, Any] = page.evaluate(_ASK, {"content": content, "detector": detector})
        return answer

    asked.page = page  # type: ignore[attr-defined]
    yield asked
    page.close()


def _hopper() -> Image.Image:
    import matplotlib.cbook

    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        return Image.open(file).convert("RGB")


def _encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _crowd() -> Image.Image:
    """Large, small and turned faces, one beyond the border, on a canvas that has to be shrunk."""
    canvas = Image.new("RGB", (1500, 1100), (120, 130, 110))
    face = _hopper().crop((120, 60, 420, 400))
    for place, side, degrees in (
        ((40, 50), 420, 0),
        ((600, 80), 260, 25),
        ((1000, 60), 300, -35),
        ((520, 560), 140, 10),
        ((1330, 600), 330, 0),
        ((80, 700), 60, 0),
    ):
        small = face.resize((side, round(side * 340 / 300)), Image.Resampling.LANCZOS)
        canvas.paste(
            small.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(120, 130, 110)), place
        )
    return canvas


def _see_through() -> Image.Image:
    """Half transparent to the left, wholly at the border."""
    image = _hopper().convert("RGBA")
    alpha = np.full((image.height, image.width), 255, np.uint8)
    alpha[:, : image.width // 3] = 128
    alpha[:40] = 0
    image.putalpha(Image.fromarray(alpha))
    return image


def _turned() -> bytes:
    """Stored lying on its side; EXIF says how it was held."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return _encoded(_hopper().transpose(Image.Transpose.ROTATE_90), "JPEG", quality=92, exif=exif)


def _huge() -> Image.Image:
    """A face of so many pixels that blocks of them are averaged first."""
    return _hopper().crop((60, 0, 460, 400)).resize((2400, 2400), Image.Resampling.BICUBIC)


def _group() -> Image.Image:
    """Small faces in a photo that is looked at closely, one of them on its side."""
    canvas = Image.new("RGB", (2100, 1500), (96, 110, 90))
    face = _hopper().crop((150, 90, 390, 350))
    for place, side in (((100, 200), 60), ((700, 800), 48), ((1500, 300), 75), ((1700, 1200), 150)):
        canvas.paste(face.resize((side, round(side * 13 / 12))), place)
    return canvas


def _large() -> Image.Image:
    """So large that blocks of pixels are averaged before it is shrunk; its sides are odd."""
    canvas = Image.new("RGB", (3301, 1401), (96, 110, 90))
    face = _hopper().crop((150, 90, 390, 350))
    for place, side in (((200, 300), 90), ((900, 200), 700), ((2300, 700), 160)):
        canvas.paste(face.resize((side, round(side * 13 / 12))), place)
    return canvas


def _wall() -> Image.Image:
    """A small face before a wall: of few gray levels, so looked at as it is and spread."""
    canvas = Image.new("RGB", (640, 480), (96, 110, 90))
    canvas.paste(_hopper().crop((182, 121, 354, 333)).resize((24, 30)), (300, 220))
    return canvas


PHOTOS = {
    "large": lambda: _encoded(_large()),
    "filled": lambda: _encoded(_hopper().crop((190, 135, 345, 325)).resize((980, 1200))),
    "wall": lambda: _encoded(_wall()),
    "group": lambda: _encoded(_group()),
    "lying": lambda: _encoded(_hopper().transpose(Image.Transpose.ROTATE_90)),
    "upside down": lambda: _encoded(_hopper().transpose(Image.Transpose.ROTATE_180)),
    "dark": lambda: _encoded(_hopper().point(lambda level: round(level * 0.1))),
    "tiny": lambda: _encoded(_hopper().crop((150, 90, 390, 350)).resize((30, 33))),
    "jpeg": lambda: _encoded(_hopper(), "JPEG", quality=90),
    "crowd": lambda: _encoded(_crowd(), "JPEG", quality=95),
    "turned 20 degrees": lambda: _encoded(_hopper().rotate(20)),
    "gray": lambda: _encoded(_hopper().convert("L"), "JPEG", quality=90),
    "alpha": lambda: _encoded(_see_through()),
    "exif": _turned,
    "huge": lambda: _encoded(_huge(), "JPEG", quality=90),
    "thin": lambda: _encoded(_hopper().crop((140, 60, 400, 360)).resize((70, 400))),
    "webp": lambda: _encoded(_hopper(), "WEBP", lossless=True),
    "palette": lambda: _encoded(_hopper().convert("P"), "GIF"),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_photos_are_answered_alike(ask: Any, name: str) -> None:
    picture = PHOTOS[name]()
    here = Recognizer().recognize(picture)
    there = ask(picture)
    assert (there["width"], there["height"]) == here.size
    assert len(there["faces"]) == len(here)
    assert here or name in ("thin", "tiny")
    assert there["looked_at"] == here.to_dict()["looked_at"]
    for one, other in zip(there["faces"], here.to_dict()["faces"], strict=True):
        assert one["box"] == pytest.approx(other["box"], abs=2)
        assert one["detection_score"] == pytest.approx(other["detection_score"], abs=_PHOTOS)
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=_PHOTOS)
        assert one["angle"] == pytest.approx(other["angle"], abs=0.5)
        assert one["expression"] == other["expression"]
        assert one["uncertain"] == other["uncertain"]
        assert one["why_uncertain"] == other["why_uncertain"]
        apart = _farthest(one["box"], other["box"])
        told = _farthest(one["probabilities"], other["probabilities"])
        print(f"{name}: box within {apart:.2g} pixels, probabilities within {told:.2g}")  # noqa: T201


def _farthest(one: dict[str, float], other: dict[str, float]) -> float:
    return max(abs(one[name] - other[name]) for name in other)


def test_ready_crops_are_answered_alike(ask: Any) -> None:
    recognizer = Recognizer(detector="none")
    for _, face in synthetic_faces(14, seed=7):
        picture = _encoded(Image.fromarray(face))
        (here,) = recognizer.recognize(picture)
        (there,) = ask(picture, detector="none")["faces"]
        assert there["probabilities"] == pytest.approx(here.probabilities, abs=_READY)
        told = _farthest(there["probabilities"], here.probabilities)
        print(f"ready: probabilities within {told:.2g}")  # noqa: T201
        assert there["box"] == {"x": 0, "y": 0, "width": 48, "height": 48}
        assert there["detection_score"] == 1


@pytest.mark.parametrize("size", [(97, 131), (30, 20), (2300, 40), (40, 3001), (2100, 2100)])
def test_ready_crops_of_any_size_and_colour_are_answered_alike(
    ask: Any, size: tuple[int, int]
) -> None:
    picture = _encoded(_hopper().crop((180, 120, 350, 330)).resize(size))
    (here,) = Recognizer(detector="none").recognize(picture)
    (there,) = ask(picture, detector="none")["faces"]
    assert there["probabilities"] == pytest.approx(here.probabilities, abs=_READY)


_TRACK = """async ({ looks, gap }) => {
    const { Tracker } = await import("./track.js");
    const tracker = new Tracker(0.5, gap);
    return looks.map(({ time, faces }) => tracker.update(time, faces));
}"""


@pytest.mark.parametrize("gap_s", [0.0, 0.5, 3.0])
def test_faces_are_tracked_alike(ask: Any, gap_s: float) -> None:
    """People who walk about, are missing now and then, and come back; looks at irregular times."""
    rng = np.random.default_rng(5)
    tracker = FaceTracker(gap_s=gap_s, uncertain_below=0.5)
    places, time, looks, expected = rng.uniform(0, 500, (6, 2)), 0.0, [], []
    for _ in range(120):
        elapsed = float(rng.choice([0.04, 0.1, 1.0, 7.0], p=[0.5, 0.3, 0.15, 0.05]))
        time += elapsed
        places += rng.normal(0, 20 * np.sqrt(elapsed), places.shape)
        seen = []
        for x, y in places[rng.random(6) < 0.7].tolist():
            happy = float(rng.random())
            told = {"happy": happy, "sad": 1 - happy}
            answer = max(told, key=told.__getitem__)
            seen.append(FaceLike((x, y, 60.0, 70.0), 0.9, answer, told[answer], told))
        looks.append({"time": time, "faces": [as_dict(face) for face in seen]})
        expected.append(tracker.update(time, seen))
    there = ask.page.evaluate(_TRACK, {"looks": looks, "gap": gap_s})
    numbers = [[face["track_id"] for face in faces] for faces in there]
    assert numbers == [[face.track_id for face in faces] for faces in expected]
    assert 6 < tracker.begun < 400
    for one, other in zip(there[-1], expected[-1], strict=True):
        assert one["probabilities"] == pytest.approx(dict(other.probabilities), abs=1e-9)


_EXPLAIN = """async ({ content, shape }) => {
    const { hiddenParts } = await import("./explain.js");
    const face = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const classify = async (faces) => faces.map((one) => {
        const rows = [0, 1, 2].map((part) => one.reduce((sum, level, at) => sum + (at % 3 === part) * level, 0));
        const all = rows.reduce((sum, row) => sum + row, 0);
        return rows.map((row) => row / all);
    });
    return [...await hiddenParts(classify, face, shape)];
}"""
_WHY = """async ({ content, detector, place }) => {
    const file = await (await fetch(`data:application/octet-stream;base64,${content}`)).blob();
    return (await backend.explain(file, { detector, place }))[place];
}"""


@pytest.mark.parametrize("shape", [(1, 48, 48), (3, 20, 31), (3, 5, 2)])
def test_hidden_parts_are_the_same_of_every_size_and_colour(
    ask: Any, shape: tuple[int, int, int]
) -> None:
    face = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)

    def predict(faces: np.ndarray) -> np.ndarray:
        flat = faces.reshape(len(faces), -1).astype(np.float64)
        thirds = np.stack([flat[:, part::3].sum(axis=1) for part in range(3)], axis=1)
        return thirds / thirds.sum(axis=1, keepdims=True)

    given = {
        "content": base64.b64encode(face.tobytes()).decode(),
        "shape": dict(zip(("channels", "height", "width"), shape, strict=True)),
    }
    there = ask.page.evaluate(_EXPLAIN, given)
    assert there == pytest.approx(hidden_parts(predict, face).ravel().tolist(), abs=1e-6)


def test_faces_are_explained_alike(ask: Any) -> None:
    photo = _encoded(_hopper())
    ready = _encoded(Image.fromarray(next(iter(synthetic_faces(1, seed=7)))[1]))
    for picture, detector in ((photo, "yunet"), (ready, "none")):
        (face,) = Recognizer(detector=detector).recognize(picture)
        here = face.explain()
        content = base64.b64encode(picture).decode()
        given = {"content": content, "detector": detector, "place": 0}
        there = ask.page.evaluate(_WHY, given)
        apart = np.abs(np.asarray(there["map"]) - here.mattered).max()
        print(f"why, {detector}: within {apart:.2g}")  # noqa: T201
        assert apart < _READY
        assert np.abs(here.mattered).max() > 10 * _READY  # there is something to compare
        assert ask.page.evaluate(_WHY, given | {"place": 5}) is None


_DOUBT = """async (asked) => {
    const { badPicture, improbable } = await import("./doubt.js");
    return asked.map(({ limits, face, crop, shape, side, ready }) =>
        [badPicture(limits, face, Uint8Array.from(crop), shape, side, ready), improbable(face.score, 0.5)]);
}"""


def test_doubts_are_the_same(ask: Any) -> None:
    rng = np.random.default_rng(0)
    cases, expected = [], []
    for number in range(300):
        channels = (1, 3)[number % 2]
        crop = (rng.random((channels, 9, 8)) * rng.uniform(1, 255)).astype(np.uint8)
        ranges = {
            "size": 60,
            "spread": 60,
            "detail": 4,
            "noise": 8,
            "turn": 180,
            "detection_score": 1,
        }
        drawn = {name: float(rng.uniform(0, most)) for name, most in ranges.items()}
        given = {name: drawn[name] if rng.random() < 0.5 else None for name in ranges}
        eyes = rng.uniform(0, 50, (2, 2)).tolist()
        score, side, ready = float(rng.random()), float(rng.uniform(1, 90)), bool(number % 3 == 0)
        points = tuple(map(tuple, [*eyes, *eyes[:1] * 3]))
        found = Detection((0, 0, 9, 9), score, None if ready else points)
        expected.append(
            [
                bad_picture(Limits(**given), found, crop, side, scored=not ready),
                improbable(score, 0.5),
            ]
        )
        face = {"score": score} | ({} if ready else {"landmarks": points})
        case = {"limits": given, "face": face, "crop": crop.ravel().tolist()}
        shape = {"channels": channels, "height": 9, "width": 8}
        cases.append(case | {"shape": shape, "side": side, "ready": ready})
    assert ask.page.evaluate(_DOUBT, cases) == expected
    assert {reason for reason, _ in expected} == {None, *ranges}


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "empty"), (b"GIF87a", "is not a photo that can be read here")]
)
def test_what_is_no_picture_is_one_sentence(ask: Any, content: bytes, why: str) -> None:
    from playwright.sync_api import Error

    with pytest.raises(Error, match=why):
        ask(content)
