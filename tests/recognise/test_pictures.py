"""A picture is the same picture, whatever it comes as; what is none is refused in one sentence."""

from __future__ import annotations

import base64
import io
import os
import struct
import textwrap
import threading
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien import decoding
from mien.errors import InputError
from mien.recognise.pictures import from_base64, read_photo, read_picture

RNG = np.random.default_rng(0)
COLOUR = np.asarray(
    Image.fromarray(RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize((61, 43))
)
GRAY = np.ascontiguousarray(COLOUR[..., 1])


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def ramp_alpha() -> Image.Image:
    alpha = np.linspace(0, 255, COLOUR.shape[1]).astype(np.uint8)
    return Image.fromarray(np.dstack([COLOUR, np.broadcast_to(alpha, COLOUR.shape[:2])]))


IMAGES = {
    "jpeg": saved(Image.fromarray(COLOUR), "jpeg"),
    "jpeg, progressive": saved(Image.fromarray(COLOUR), "jpeg", progressive=True),
    "jpeg, gray": saved(Image.fromarray(GRAY), "jpeg"),
    "jpeg, cmyk": saved(Image.fromarray(COLOUR).convert("CMYK"), "jpeg"),
    "png": saved(Image.fromarray(COLOUR), "png"),
    "png, gray": saved(Image.fromarray(GRAY), "png"),
    "png, alpha": saved(ramp_alpha(), "png"),
    "png, gray alpha": saved(ramp_alpha().convert("LA"), "png"),
    "png, palette": saved(Image.fromarray(COLOUR).quantize(16), "png"),
    "png, 16 bits": saved(Image.fromarray(GRAY.astype(np.uint16) * 257), "png"),
    "png, 1 bit": saved(Image.fromarray(GRAY).convert("1"), "png"),
    "webp": saved(Image.fromarray(COLOUR), "webp"),
    "webp, alpha": saved(ramp_alpha(), "webp", lossless=True),
    "gif": saved(Image.fromarray(COLOUR), "gif"),
    "bmp": saved(Image.fromarray(COLOUR), "bmp"),
    "tiff": saved(Image.fromarray(COLOUR), "tiff", compression="tiff_lzw"),
    "tiff, 16 bits": saved(Image.fromarray(GRAY.astype(np.uint16) * 257), "tiff"),
    "ppm": saved(Image.fromarray(COLOUR), "ppm"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_the_same_picture_in_every_form_is_the_same_array(name: str, tmp_path: Path) -> None:
    data = IMAGES[name]
    path = tmp_path / "picture"  # the name says nothing
    path.write_bytes(data)

    picture = read_picture(path)

    assert (picture.dtype, picture.shape) == (np.uint8, COLOUR.shape)
    assert picture.flags.c_contiguous
    with Image.open(path) as lazy:
        forms = {
            "text": str(path),
            "bytes": data,
            "lazy Pillow image": lazy,
            "RGB array": picture,
            "BGR array": picture[..., ::-1],
        }
        with Image.open(path) as image:
            image.load()
            forms["Pillow image"] = image
            if image.mode in ("L", "RGB", "RGBA", "I;16"):
                forms["array of Pillow's"] = np.asarray(image)
        for form, source in forms.items():
            again = read_picture(source, bgr=form.startswith("BGR"))
            assert np.array_equal(again, picture), form


@pytest.mark.parametrize("name", ["png", "bmp", "tiff", "ppm", "jpeg", "webp"])
def test_pixels_are_those_that_pillow_decodes(name: str) -> None:
    expected = np.asarray(Image.open(io.BytesIO(IMAGES[name])).convert("RGB"))

    assert np.array_equal(read_picture(IMAGES[name]), expected)
    if name not in ("jpeg", "webp"):
        assert np.array_equal(expected, COLOUR)


@pytest.mark.parametrize("name", ["png, gray", "png, 16 bits", "tiff, 16 bits"])
def test_gray_becomes_three_equal_channels(name: str) -> None:
    assert np.array_equal(read_picture(IMAGES[name]), np.dstack([GRAY] * 3))


def test_sixteen_bits_of_an_array_become_eight() -> None:
    deep = COLOUR.astype(np.uint16) * 256 + 255

    assert np.array_equal(read_picture(deep), COLOUR)
    assert np.array_equal(read_picture(deep[..., ::-1], bgr=True), COLOUR)


def test_transparency_is_laid_on_white() -> None:
    image = ramp_alpha()
    alpha = np.asarray(image, np.float64)[..., 3:] / 255
    expected = COLOUR * alpha + 255 * (1 - alpha)

    assert np.abs(read_picture(image) - expected).max() <= 1
    bgra = np.asarray(image)[..., [2, 1, 0, 3]]
    assert np.array_equal(read_picture(bgra, bgr=True), read_picture(image))


def test_cmyk_becomes_rgb() -> None:
    red = read_picture(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "jpeg", quality=100))

    assert red[..., 0].min() > 240
    assert red[..., 1:].max() < 15


# Which side of what is shown the first row, and the first column, of the stored pixels are
# (EXIF 2.32, tag 0x0112), written as what must be done to the shown picture to get the stored one.
STORED = {
    1: lambda shown: shown,
    2: lambda shown: shown[:, ::-1],
    3: lambda shown: shown[::-1, ::-1],
    4: lambda shown: shown[::-1],
    5: lambda shown: shown.transpose(1, 0, 2),
    6: lambda shown: np.rot90(shown),
    7: lambda shown: shown[::-1, ::-1].transpose(1, 0, 2),
    8: lambda shown: np.rot90(shown, -1),
}


@pytest.mark.parametrize("kind", ["png", "webp", "tiff", "jpeg"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_honoured(kind: str, orientation: int, tmp_path: Path) -> None:
    shown = np.kron(COLOUR[:4, :6], np.ones((16, 16, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "webp" else {"quality": 100, "subsampling": 0}
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation](shown)))
    path = tmp_path / f"photo.{kind}"
    image.save(path, kind, exif=exif, **options)

    picture = read_picture(path)

    assert picture.shape == shown.shape
    assert np.abs(picture.astype(int) - shown).max() <= (4 if kind == "jpeg" else 0)
    with Image.open(path) as again:
        assert np.array_equal(read_picture(again), picture)
        if kind != "tiff":  # which Pillow turns itself
            assert again.size == image.size  # what was given is left as it was


@pytest.mark.parametrize("name", IMAGES)
def test_a_picture_converted_strip_by_strip_is_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_picture(IMAGES[name])
    for strip in (1, 61 * 4, 61 * 43 - 1):
        monkeypatch.setattr(decoding, "_STRIP", strip)
        assert np.array_equal(read_picture(IMAGES[name]), whole)


def test_a_broken_exif_tag_does_not_matter() -> None:
    broken = saved(Image.fromarray(COLOUR), "jpeg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")

    assert np.array_equal(read_picture(broken), read_picture(IMAGES["jpeg"]))


def test_threads_leave_the_filters_of_warnings_alone() -> None:
    broken = saved(Image.fromarray(COLOUR), "jpeg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    before = list(warnings.filters)
    expected = read_picture(IMAGES["jpeg"])
    wrong: list[int] = []

    def read() -> None:
        wrong.extend(not np.array_equal(read_picture(broken), expected) for _ in range(30))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(wrong), sum(wrong)) == (240, 0)
    assert warnings.filters == before


def test_one_lazy_pillow_image_may_be_read_by_many_threads() -> None:
    expected = read_picture(IMAGES["png"])
    for _ in range(10):
        image = Image.open(io.BytesIO(IMAGES["png"]))
        answers: list[bool] = []

        def read(image: Image.Image = image, answers: list[bool] = answers) -> None:
            answers.append(np.array_equal(read_picture(image), expected))

        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [True] * 8


@pytest.mark.parametrize("size", [(100_000, 100_000), (100_000, 501), (50_001, 1_000)])
def test_a_size_above_the_cap_is_refused_before_decoding(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: Image.Image) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(Image.Image, "load", load)

    with pytest.raises(InputError, match="absurdly large"):
        read_picture(png_of_size(*size))


def test_the_cap_can_be_chosen() -> None:
    pixels = COLOUR.shape[0] * COLOUR.shape[1]

    for source in (IMAGES["png"], Image.fromarray(COLOUR), COLOUR):
        assert read_picture(source, max_pixels=pixels).shape == COLOUR.shape
        with pytest.raises(InputError, match="61 x 43 pixels"):
            read_picture(source, max_pixels=pixels - 1)


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    """Each costs as much as a picture: a small file that would take hours."""
    data = IMAGES["jpeg, progressive"]
    last = data[data.rindex(b"\xff\xc4") : -2]

    assert read_picture(data[:-2] + last * 5 + data[-2:]).shape == COLOUR.shape
    started = time.perf_counter()
    with pytest.raises(InputError, match="scans"):
        read_picture(data[:-2] + last * 2000 + data[-2:])
    assert time.perf_counter() - started < 5


def test_what_follows_a_jpeg_is_not_counted() -> None:
    """Phones put a film behind the photo."""
    film = b"\xff\xda\x00\x02" * 10_000

    assert np.array_equal(read_picture(IMAGES["jpeg"] + film), read_picture(IMAGES["jpeg"]))


def test_a_film_is_told_where_films_are_recognised(tmp_path: Path) -> None:
    film = tmp_path / "holiday.mp4"
    film.write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2")

    with pytest.raises(InputError, match=r"a film, not a picture; recognise it with mien\.predict"):
        read_picture(film)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n"
REFUSED = {
    "nothing": (b"", "they are empty"),
    "text": (b"hello, I am a picture", "of no known format"),
    "postscript": (POSTSCRIPT, "of no known format"),
    "a telephone's HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC|decoded"),
    "HEIC by its second brand": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heix", "HEIC|decoded"),
    "cut short": (IMAGES["jpeg"][:-200], "cannot be decoded"),
    "cut in the header": (IMAGES["png"][:20], "cannot be decoded"),
    "no pixels": (np.zeros((0, 9, 3), np.uint8), "shows nothing"),
    "no pixels of Pillow's": (Image.new("RGB", (0, 9)), "shows nothing"),
    "floats": (np.zeros((9, 9, 3)), "of float64"),
    "wide integers": (np.full((9, 9, 3), 70_000, np.int64), "of int64"),
    "channels first": (np.zeros((3, 9, 9), np.uint8), r"of shape \(3, 9, 9\)"),
    "a batch": (np.zeros((2, 9, 9, 3), np.uint8), "in a list"),
    "a number": (7, "not int"),
    "an open file": (io.BytesIO(b"..."), r"not BytesIO; give its content, \.read\(\)"),
    "bare base64": ("/9j/" + "A" * 100_000, r"A \.\.\. A.*cannot be read"),
    "none": (None, "cv2.imread"),
    "an address": ("https://example.org/photo.jpg", "pictures are not downloaded"),
    "float tones": (Image.fromarray(np.full((2, 2), 0.5, np.float32)), "not integers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_in_one_sentence(name: str) -> None:
    source, said = REFUSED[name]

    with pytest.raises(InputError, match=said) as caught:
        read_picture(source)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_paths_that_are_no_pictures_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "cut.jpg").write_bytes(IMAGES["jpeg"][:-200])
    for name, said in {
        "missing.jpg": "no such file",
        "": "not a file",
        "empty.jpg": "is empty",
        "cut.jpg": "cannot be decoded",
    }.items():
        with pytest.raises(InputError, match=said) as caught:
            read_picture(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")

    with pytest.raises(InputError, match="not a file"):
        read_picture(tmp_path / "pipe.jpg")


def test_an_enormous_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as handle:
        handle.write(IMAGES["jpeg"])
        handle.truncate(10**10)  # takes no room on the disk

    with pytest.raises(InputError, match="absurdly large"):
        read_picture(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: f"DATA:image/png;charset=utf-8;BASE64,{text}",
        lambda text: "\r\n".join(textwrap.wrap(text, 76)) + "\r\n",
        lambda text: text.replace("+", "-").replace("/", "_"),
        lambda text: text.replace("+", "-").replace("/", "_").rstrip("="),
    ],
    ids=["plain", "data URL in capitals", "wrapped", "URL-safe", "URL-safe without padding"],
)
def test_base64_is_read_as_programs_write_it(change: Callable[[str], str]) -> None:
    content = b"\xff\xef\xbe picture " * 30 + b"\xfb"
    text = base64.b64encode(content).decode()
    assert {"+", "/", "="} <= set(text)
    assert from_base64(change(text), "it") == content


@pytest.mark.parametrize("text", ["/etc/passwd", "a+b-", "aGVsb", "data:image/png,aGVs", "päd="])
def test_text_that_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^it: "):
        from_base64(text, "it")


def with_more_frames(kind: str, frames: int) -> bytes:
    """A picture behind whose first frame come others that cannot be decoded."""
    plain = Image.fromarray(COLOUR).quantize(16) if kind == "gif" else Image.fromarray(COLOUR)
    data = saved(plain, kind, **({"lossless": True} if kind == "webp" else {}))
    if kind == "gif":
        start = data.index(b",\0\0\0\0")  # of the frame
        return data[:-1] + (data[start : start + 11] + b"\x04\xff\xff\xff\xff\0") * frames + b";"
    if kind == "tiff":  # a list of frames that is a circle
        first = int.from_bytes(data[4:8], "little")
        end = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
        return data[:end] + data[4:8] + data[end + 4 :]
    size = b"".join(struct.pack("<I", side - 1)[:3] for side in (61, 43))

    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)

    head = bytes(6) + size + bytes(4)
    spoiled = data[12:25] + b"\xff" * (len(data) - 25)
    body = b"WEBP" + chunk(b"VP8X", b"\x02\0\0\0" + size) + chunk(b"ANIM", bytes(6))
    body += chunk(b"ANMF", head + data[12:]) + chunk(b"ANMF", head + spoiled) * frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(("kind", "frames"), [("gif", 100_000), ("webp", 1_000), ("tiff", 1)])
def test_of_very_many_frames_the_first_is_read_and_none_of_the_others(
    kind: str, frames: int
) -> None:
    first = saved(Image.fromarray(COLOUR).quantize(16), "gif") if kind == "gif" else IMAGES["png"]
    assert np.array_equal(read_picture(with_more_frames(kind, frames)), read_picture(first))
    # The circle leads back to the one picture.
    assert read_photo(with_more_frames(kind, frames)).more is (kind != "tiff")


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tiff", "jpeg"])
def test_a_file_of_one_picture_holds_no_more(kind: str) -> None:
    assert not read_photo(saved(Image.fromarray(COLOUR), kind)).more


@pytest.mark.parametrize(("kind", "told"), [("gif", True), ("png", True), ("mpo", False)])
def test_animations_are_told_and_a_phones_second_view_of_the_same_is_not(
    kind: str, told: bool
) -> None:
    several = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    content = saved(several[0], kind, save_all=True, append_images=several[1:])
    assert read_photo(content).more is told
