"""The page in a real browser, before the service and on its own."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien import Recognizer
from mien.data.synthetic import synthetic_faces
from mien.recognise.explain import painted
from mien.recognise.model import FaceModel
from mien.recognise.naming import packaged_model
from mien.recognise.rows import columns
from mien.serving.card_page import read_card_page

pytestmark = pytest.mark.slow

_BOTH = pytest.mark.parametrize("address", ["service", "site"], indirect=True)
_KEY = "a key of many letters"
_READY = "body[data-ready]"
#: Long, because a crowded machine takes long; a page that is ready is not waited for.
_PATIENCE_MS = 180_000

_DROP = """([how, files]) => {
    const carried = new DataTransfer();
    for (const { name, type, content } of files) {
        const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
        carried.items.add(new File([bytes], name, { type }));
    }
    const event = how === "paste"
        ? new ClipboardEvent("paste", { clipboardData: carried, bubbles: true })
        : new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true });
    document.querySelector("main").dispatchEvent(event);
}"""


@pytest.fixture
def service(serve: Any) -> Any:
    """The service with the model inside the package, and its card."""
    model = FaceModel.open(packaged_model(), threads=1)
    card = read_card_page(None, bundled="default")
    return lambda **settings: serve(model, threads=1, card=card, **settings)


@pytest.fixture
def address(request: pytest.FixtureRequest, service: Any) -> str:
    """Where the page is: before a service, or on its own."""
    alone = getattr(request, "param", "service") == "site"
    return request.getfixturevalue("site") if alone else service().url


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens the page; in the end it has to have stayed at its own place, and without an error."""
    wrong: list[str] = []
    with ExitStack() as stack:

        def visited(
            url: str, running: Any = None, before: dict[str, Any] | None = None, **options: Any
        ) -> Any:
            context = stack.enter_context((running or browser).new_context(**options))
            page = context.new_page()
            page.set_default_timeout(_PATIENCE_MS)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda said: _note(said, wrong))
            page.on("request", lambda asked: _check_host(asked.url, url, wrong))
            for pattern, act in (before or {}).items():
                page.route(pattern, act)
            page.goto(url)
            if before is None:
                page.wait_for_selector(_READY)
            return page

        yield visited
    assert not wrong


def _note(said: Any, wrong: list[str]) -> None:
    # That a service refuses, or is not there, is no fault of the page.
    if said.type == "error" and "Failed to load resource" not in said.text:
        wrong.append(said.text)


def _check_host(asked: str, url: str, wrong: list[str]) -> None:
    if not asked.startswith((url, url.replace("http", "ws", 1), "blob:", "data:")):
        wrong.append(f"asked {asked}")


def _give(page: Any, how: str, **files: bytes) -> None:
    """Drop or paste files, named with a double underscore for the dot."""
    kinds = {"jpg": "image/jpeg", "png": "image/png", "webm": "video/webm", "txt": "text/plain"}
    carried = [
        {
            "name": name.replace("__", "."),
            "type": kinds[name.rpartition("__")[2]],
            "content": base64.b64encode(content).decode(),
        }
        for name, content in files.items()
    ]
    page.evaluate(_DROP, [how, carried])


def _saved(page: Any, panel: str, what: str) -> bytes:
    with page.expect_download() as waiting:
        page.click(f"#{panel} [data-save={what}]")
    return Path(waiting.value.path()).read_bytes()


def _photo() -> bytes:
    import matplotlib.cbook

    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        content: bytes = file.read()
    return content


def _is_marked(page: Any, panel: str) -> bool:
    """Whether anything is drawn over the picture."""
    drawn: bool = page.evaluate(
        """(panel) => {
            const canvas = document.querySelector(`#${panel} .frame canvas`);
            const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return pixels.data.some((value) => value > 0);
        }""",
        panel,
    )
    return drawn


def _rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_photos_that_come_before_the_page_is_ready_wait(visit: Any, service: Any) -> None:
    held: list[Any] = []
    page = visit(service().url, before={"**/v1/model": lambda route: held.append(route)})
    while not held:
        page.wait_for_timeout(50)
    _give(page, "drop", one__jpg=_photo())
    _give(page, "drop", two__jpg=_photo())
    page.wait_for_selector("#loading:has-text('2 files wait')")
    assert not page.is_visible(".strip")
    held[0].continue_()
    page.wait_for_selector(".strip li:nth-child(2)")
    page.wait_for_selector(".face")
    assert not page.is_visible("#loading")


@_BOTH
def test_the_example_is_one_click_away(visit: Any, address: str) -> None:
    page = visit(address)
    page.click("#example")
    page.wait_for_selector(".face")
    assert page.locator(".face").count() == 1


@_BOTH
def test_a_text_is_refused_in_words_of_the_page(visit: Any, address: str) -> None:
    page = visit(address)
    _give(page, "drop", notes__txt=b"no picture at all")
    page.wait_for_selector("#problem:has-text('notes.txt: This is not a photo')")
    page.click("[data-clear]")
    _give(page, "drop", notes__jpg=b"no picture at all")
    page.wait_for_selector("#problem:has-text('notes.jpg: This is not a photo')")


@_BOTH
def test_photos_are_shown_marked_and_saved(visit: Any, address: str) -> None:
    photo = _photo()
    (face,) = Recognizer().recognize(photo)
    page = visit(address, accept_downloads=True)
    _give(page, "drop", hopper__jpg=photo, broken__png=b"no picture")
    page.wait_for_selector(".face strong")
    assert page.inner_text(".face strong") == face.expression + "?" * face.uncertain
    shown = dict(zip(page.locator(".bars .name").all_inner_texts(),
                     page.locator(".bars .figure").all_inner_texts(), strict=True))  # fmt: skip
    for name, probability in face.probabilities.items():
        assert int(shown[name].removesuffix(" %")) == pytest.approx(100 * probability, abs=1.5)
    assert _is_marked(page, "photos")
    page.wait_for_selector(".strip .failed")
    page.click("text=Why?")
    page.wait_for_selector(".why img")
    assert "red spoke for the answer, blue against it" in page.inner_text(".why")
    content = page.get_attribute(".why img", "src").partition(",")[2]
    reason = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))
    ours = face.explain()
    assert np.abs(reason.astype(int) - painted(ours.shown, ours.mattered)).max() <= 16

    told = json.loads(_saved(page, "photos", "json"))
    (picture,) = told["pictures"]
    assert set(picture["faces"][0]) == set(face.to_dict())
    assert set(picture) == {"file", "width", "height", "looked_at", "faces"}
    assert picture["file"] == "hopper.jpg"
    assert (picture["width"], picture["height"]) == (512, 600)
    assert picture["faces"][0]["probabilities"] == pytest.approx(face.probabilities, abs=1e-2)
    assert picture["faces"][0]["box"] == pytest.approx(face.to_dict()["box"], abs=2)
    assert [failed["file"] for failed in told["failed"]] == ["broken.png"]
    (row,) = _rows(_saved(page, "photos", "csv"))
    assert list(row) == list(columns(tuple(face.probabilities)))
    assert (row["source"], row["track_id"], row["expression"]) == (
        "hopper.jpg",
        "",
        face.expression,
    )
    copy = np.asarray(Image.open(io.BytesIO(_saved(page, "photos", "image"))).convert("RGB"))
    changed = np.abs(copy.astype(int) - np.asarray(Image.open(io.BytesIO(photo)))).max(axis=2) > 60
    x, y, width, height = (round(side) for side in face.box)
    assert changed[y - 3 : y + 4, x : x + width // 5].any(axis=0).all()
    assert not changed[y + 20 : y + height - 20, x + 20 : x + width - 20].any()

    page.click(".strip li:nth-child(2) button")
    assert "broken.png" in page.inner_text("#problem")
    page.click("[data-clear]")
    assert page.is_visible("#photos .welcome")
    assert page.is_hidden("#problem")


@_BOTH
def test_a_ready_face_can_be_pasted(visit: Any, address: str) -> None:
    ((_, drawn),) = synthetic_faces(1, seed=5)
    stream = io.BytesIO()
    Image.fromarray(drawn).save(stream, "PNG")
    (face,) = Recognizer(detector="none").recognize(stream.getvalue())
    page = visit(address)
    page.check("#ready")
    _give(page, "paste", drawn__png=stream.getvalue())
    page.wait_for_selector(".face strong")
    assert page.inner_text(".face strong") == face.expression + "?" * face.uncertain


@pytest.fixture(scope="module")
def camera(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser whose camera shows a photo."""
    film = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    scene = Image.new("RGB", (320, 240), (150, 140, 120))
    scene.paste(
        Image.open(io.BytesIO(_photo())).crop((60, 0, 460, 400)).resize((220, 220)), (40, 10)
    )
    scene.save(film, "JPEG", quality=90)
    film.write_bytes(20 * film.read_bytes())
    with chromium(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    ) as running:
        yield running


@_BOTH
def test_the_camera_is_watched(visit: Any, camera: Any, address: str) -> None:
    page = visit(address, camera, permissions=["camera"], accept_downloads=True)
    page.click("#tab-camera")
    page.click("#camera [data-start]")
    page.wait_for_selector(".face strong")
    page.wait_for_selector("#timeline canvas[aria-label*='face 1']", state="attached")
    page.wait_for_function(
        "document.querySelector('[data-speed]').textContent.includes('frames/s')"
    )
    assert _is_marked(page, "camera")
    page.wait_for_function("document.querySelector('#told').textContent.includes('face 1')")
    page.click("#camera [data-keep]")  # leaves the camera for its photo
    page.wait_for_selector("#photos .frame img")
    page.wait_for_selector("#photos .busy", state="hidden")
    assert page.inner_text("#faces-title") == "Faces (1)"
    page.click("#tab-camera")
    assert page.evaluate("document.querySelector('#camera video').srcObject") is None
    rows = _rows(_saved(page, "camera", "csv"))
    assert {row["track_id"] for row in rows} == {"1"}
    assert all(float(row["neutral_smoothed"]) <= 1 for row in rows)
    times = [float(row["time_s"]) for row in rows]
    assert times == sorted(times)


def _film(path: Path) -> bytes:
    """Two seconds; a face comes after the first."""
    import av

    face = Image.open(io.BytesIO(_photo())).crop((60, 0, 460, 400)).resize((220, 220))
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.bit_rate = 2_000_000
        for index in range(20):
            scene = Image.new("RGB", (320, 240), (150, 140, 120))
            if index >= 10:
                scene.paste(face, (40, 10))
            file.mux(stream.encode(av.VideoFrame.from_image(scene)))
        file.mux(stream.encode())
    return path.read_bytes()


@_BOTH
def test_an_address_can_begin_at_a_tab(visit: Any, address: str) -> None:
    page = visit(address)
    for name, chosen in (("camera", "camera"), ("nothing", "photos")):
        page.evaluate(f"location.hash = {name!r}")
        page.reload()
        page.wait_for_selector(_READY)
        selected = page.locator("[role=tab][aria-selected=true]")
        assert [selected.count(), selected.first.get_attribute("id")] == [1, f"tab-{chosen}"]


def test_a_video_becomes_a_plot_and_a_table(visit: Any, address: str, tmp_path: Path) -> None:
    page = visit(address, accept_downloads=True)
    _give(page, "drop", film__webm=_film(tmp_path / "film.webm"))
    page.wait_for_selector("#appearances tbody tr")
    assert page.get_attribute("#tab-video", "aria-selected") == "true"
    number, since, until, *_ = page.locator("#appearances tbody tr").first.locator("th, td").all()
    assert number.inner_text() == "1"
    assert since.inner_text() == "0:01.0"
    assert 1.7 <= float(until.inner_text().removeprefix("0:")) <= 2.0
    page.wait_for_selector("#timeline canvas[aria-label*='mostly']", state="attached")
    seek = "(time) => { document.querySelector('#video video').currentTime = time; }"
    page.evaluate(seek, 1.5)
    page.wait_for_selector(".face strong")
    assert _is_marked(page, "video")
    page.evaluate(seek, 0.3)
    page.wait_for_selector("text=No face at this time.")
    rows = _rows(_saved(page, "video", "csv"))
    assert {row["source"] for row in rows} == {"film.webm"}
    assert 1.0 <= float(rows[0]["time_s"]) < 1.15
    told = json.loads(_saved(page, "video", "json"))
    assert told["videos"][0]["faces"][0]["track_id"] == 1
    assert Image.open(io.BytesIO(_saved(page, "video", "plot"))).width > 200
    page.click("#tab-photos")
    assert page.is_hidden("#appearances")


@_BOTH
def test_what_is_no_video_is_one_sentence(visit: Any, address: str) -> None:
    page = visit(address)
    _give(page, "drop", film__webm=b"no film at all")
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#problem").startswith("film.webm: ")
    assert page.is_visible("#video .welcome")


_LABELS = """async (boxes) => {
    const { drawFaces } = await import("/page/marks.js");
    const context = Object.assign(document.createElement("canvas"), { width: 700, height: 400 }).getContext("2d");
    const labels = [];
    context.roundRect = (...rectangle) => labels.push({ rectangle });
    context.fillText = (text) => Object.assign(labels.at(-1), { text });
    const faces = boxes.map(([x, y, width, height]) => (
        { box: { x, y, width, height }, expression: "neutral", probability: 0.5, uncertain: true }
    ));
    drawFaces(context, faces, { scale: 1, unit: 14, expressions: ["neutral"] });
    return labels.map(({ rectangle, text }) => [text, ...rectangle.slice(0, 4)]);
}"""


def test_labels_keep_off_one_another_and_off_faces(visit: Any, address: str) -> None:
    page = visit(address)
    boxes = [(10 + 70 * column, 40 + 110 * row, 60, 70) for row in range(3) for column in range(9)]
    labels = page.evaluate(_LABELS, boxes)
    assert {text.split()[0] for text, *_ in labels} == {str(number) for number in range(1, 28)}
    assert {text for text, *_ in labels} & {"1  neutral? 50 %", "27  neutral? 50 %"}
    covered = [tuple(place) for _, *place in labels]
    for place, (x, y, width, height) in enumerate(covered):
        assert 0 <= x <= 700 - width
        assert 0 <= y <= 400 - height
        for ox, oy, owidth, oheight in (*covered[:place], *boxes):
            apart = x >= ox + owidth or ox >= x + width or y >= oy + oheight or oy >= y + height
            assert apart


def test_the_keyboard_reaches_everything(visit: Any, address: str) -> None:
    page = visit(address)
    page.keyboard.press("Tab")
    for key, tab in (("ArrowRight", "camera"), ("ArrowRight", "video"), ("Home", "photos")):
        page.keyboard.press(key)
        chosen = page.locator("[role=tab][aria-selected=true]")
        assert chosen.get_attribute("id") == f"tab-{tab}"
        assert page.is_visible(f"#{tab}")
        assert page.evaluate("document.activeElement.id") == f"tab-{tab}"
    _give(page, "drop", one__jpg=_photo(), two__jpg=_photo())
    page.wait_for_selector("text=Faces (1)")
    reached = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim().slice(0, 20)"))
        outline = page.evaluate(
            "getComputedStyle(document.activeElement.closest('.button') ?? document.activeElement).outlineStyle"
        )
        assert outline != "none" or page.evaluate("document.activeElement === document.body")
    last = {"The model's card: wh", "The model in figures"}
    assert {"Marked photo", "CSV", "JSON", "Clear", "Why?", *last} <= reached


@_BOTH
def test_the_model_s_card_is_one_step_away(visit: Any, address: str) -> None:
    page = visit(address)
    page.click("#card-page a")
    page.wait_for_url("**/card.html")
    assert page.locator("h1").first.inner_text() == f"Model card: {Recognizer().card.name}"
    style = "getComputedStyle(document.querySelector('main')).maxWidth"
    assert page.evaluate(style) != "none"  # its style is let through


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_anybody_can_use_it(visit: Any, address: str, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = visit(
        address,
        viewport={"width": 360, "height": 740},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", ground))) < 60) == (scheme == "dark")
    page.click("summary")
    _give(page, "drop", one__jpg=_photo(), broken__png=b"", two__jpg=_photo())
    page.wait_for_selector(".face strong")
    still = "getComputedStyle(document.querySelector('.fill')).transitionProperty"
    assert page.evaluate(still) == "none"
    for tab in ("photos", "camera", "video"):
        page.click(f"#tab-{tab}")
        found = Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_it_says_what_the_model_is_not(visit: Any, address: str) -> None:
    page = visit(address)
    said = page.inner_text(".about")
    scores = FaceModel.open(packaged_model()).card.scores
    accuracy = scores["test_of_the_run"]["official_accuracy"]
    for words in ("An expression is not a feeling", f"{accuracy:.0%}".replace("%", " %"), "AI Act"):
        assert words in said


def test_a_service_with_a_key_is_asked_with_one(visit: Any, camera: Any, service: Any) -> None:
    running = service(api_keys=(_KEY,))
    page = camera.new_context(permissions=["camera"]).new_page()
    page.goto(running.url)
    for key in ("wrong", _KEY):
        page.wait_for_selector("#key[open]")
        page.fill("#key input", key)
        page.keyboard.press("Enter")
    page.wait_for_selector(_READY)
    page.click("#tab-camera")
    page.click("#camera [data-start]")
    page.wait_for_selector(".face strong")
    page.context.close()


def test_a_service_that_is_gone_is_told(visit: Any, service: Any, browser: Any) -> None:
    page = visit(service().url)
    page.route("**/v1/recognise*", lambda route: route.abort())
    _give(page, "drop", one__jpg=_photo())
    page.wait_for_selector("#problem:not([hidden])")
    assert "is it still running?" in page.inner_text("#problem")
