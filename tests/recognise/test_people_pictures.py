"""Pictures as people have them: huge, of many bits, cut, in an address, as HEIC."""

from __future__ import annotations

import base64
import builtins
import io
import pickle

import cv2
import numpy as np
import pytest
from PIL import Image
from stand_in import StandIn, photo

from mien.errors import InputError
from mien.recognise.pictures import read_photo, read_picture
from mien.recognise.recognizer import Recognizer

#: As a telephone writes it: 96 x 64 pixels, red on the left, blue on the right, to be turned to the right.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAaFtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAA"
    "AAAAAAAAAAAAAAAAADRpbG9jAAAAAERAAAIAAQAAAAABxQABAAAAAAAAAEcAAgAAAAACDAABAAAAAAAAACQA"
    "AAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRt"
    "AAAAAAABAAAA4GlwcnAAAADAaXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH/"
    "/wNwAAADAJAAAAMAAAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoDCBBZbqSSmubgIaDAgAAAMAyAAA"
    "AwAIQGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABgAAAAQAAAABBwaXhp"
    "AAAAAAMICAgAAAAJaXJvdAMAAAAYaXBtYQAAAAAAAAABAAEFgQIDBIUAAAAaaXJlZgAAAAAAAAAOY2RzYwAC"
    "AAEAAQAAAHNtZGF0AAAAQygBr1iKfg6SX//xPn/9G0kPjyw6N3/r2kX2ipP9GqUBk5BvFbmUbYO9BLGY0Im6"
    "r0aD47dqqHGGagaeTDItTHTZqIgAAAAGRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAA="
)
RAMP = np.linspace(0, 255, 60 * 80).reshape(60, 80).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_more_than_eight_bits_are_read_by_the_range_they_hold(bits):
    deep = RAMP.astype(np.uint16) << (bits - 8)
    expected = read_picture(RAMP)

    assert np.array_equal(read_picture(deep), expected)
    assert np.array_equal(read_picture(np.dstack([deep] * 3)), expected)
    assert np.array_equal(read_picture(encoded(Image.fromarray(deep), "PNG")), expected)
    assert np.array_equal(read_picture(Image.fromarray(deep.astype(np.int32))), expected)
    assert np.array_equal(read_picture(deep.astype(np.int64)), expected)


@pytest.mark.parametrize("array", [RAMP / 255, RAMP.astype(int) - 1, RAMP.astype(int) * 300])
def test_values_of_no_known_range_are_refused_with_what_to_do(array):
    with pytest.raises(InputError, match=r"scale them to 0\.\.255 and convert to uint8"):
        read_picture(array)


@pytest.mark.parametrize("scaled", [RAMP / 255, RAMP / 1.0, RAMP / 127.5 - 1])
def test_a_picture_of_floats_is_refused_with_what_to_do(scaled):
    """It was told to be damaged, and to copy it again."""
    picture = Image.fromarray(scaled.astype(np.float32))

    for source in (picture, encoded(picture, "TIFF")):
        with pytest.raises(InputError, match=r"integers.*; scale them to 0\.\.255") as refused:
            read_picture(source)
        assert "copy it again" not in str(refused.value)


def test_a_tiff_that_pillow_cannot_read_is_told_so():
    written, colours = cv2.imencode(".tiff", np.dstack([RAMP / 255] * 3).astype(np.float32))

    assert written
    with pytest.raises(InputError, match=r"a TIFF that is damaged or of an unusual kind.*PNG"):
        read_picture(colours.tobytes())


def test_tiffs_that_pillow_does_not_convert_are_read_right_or_refused():
    """Deep gray with white as 0 was read as its negative, and signed bytes wrapped around."""
    deep = RAMP.astype(np.uint16) * 257
    negative = encoded(Image.fromarray(0xFFFF - deep), "TIFF", tiffinfo={262: 0})
    signed = encoded(Image.fromarray(RAMP), "TIFF", tiffinfo={339: 2})

    assert np.array_equal(read_picture(negative), read_picture(RAMP))
    with pytest.raises(InputError, match="signed bytes"):
        read_picture(signed)


def test_an_empty_fourth_channel_is_not_transparency():
    colours = np.dstack([RAMP, RAMP[::-1], 255 - RAMP])
    bgrx = np.dstack([colours[..., ::-1], np.zeros_like(RAMP)])

    assert np.array_equal(read_picture(bgrx, bgr=True), colours)
    picture = Image.fromarray(np.dstack([colours, np.zeros_like(RAMP)]))
    assert np.array_equal(read_picture(picture), colours)
    assert np.array_equal(read_picture(encoded(picture, "PNG")), colours)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_is_read_where_it_is_whole(progressive):
    whole = encoded(Image.open(photo()), "JPEG", progressive=progressive)

    for left_out in (1, 2):
        assert np.array_equal(read_picture(whole[:-left_out]), read_picture(whole))
    for left_out in (40, 5000):
        with pytest.raises(InputError, match="cannot be decoded"):
            read_picture(whole[:-left_out])


def test_an_address_is_one_short_sentence():
    with pytest.raises(
        InputError, match=r"^https://example\.org/a\.jpg: pictures are not downloaded"
    ):
        read_picture("https://example.org/a.jpg")
    with pytest.raises(InputError) as refused:
        read_picture("https://example.org/" + "a" * 10_000)
    assert len(str(refused.value)) < 200
    with pytest.raises(InputError) as refused:
        read_picture("https://me:secret@example.org/a.jpg")
    assert "secret" not in str(refused.value)


def test_a_data_url_is_read():
    content = encoded(Image.fromarray(RAMP), "PNG")
    text = base64.b64encode(content).decode()

    assert np.array_equal(read_picture(f"data:image/png;base64,{text}"), read_picture(content))
    for broken in (f"data:image/png,{text}", "data:image/png;base64,%%", "data:"):
        with pytest.raises(InputError, match=r"data: URL given: .*base64"):
            read_picture(broken)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "read"), [((8192, 6144), (4096, 3072)), ((12000, 9000), (6000, 4500))]
)
def test_huge_jpegs_are_read_smaller_and_answered_in_their_own_pixels(size, read):
    canvas = Image.new("RGB", size, "gray")
    side = size[0] // 8
    canvas.paste(Image.open(photo()).resize((side, side * 600 // 512)), (side, side))
    content = encoded(canvas, "JPEG", quality=80)

    picture = read_photo(content)
    (face,) = Recognizer(StandIn()).recognize(content)

    assert (picture.size, picture.pixels.shape[1::-1]) == (size, read)
    x, y, width, height = (value / side for value in face.box)
    assert (1 + 0.3 < x + width / 2 < 1 + 0.7, 1 + 0.2 < y + height / 2 < 1 + 0.6) == (True, True)


def test_a_size_beyond_all_measure_is_refused_unread():
    head = encoded(Image.new("L", (8, 8)), "JPEG").replace(b"\x00\x08\x00\x08", b"\xea\x60\xea\x60")

    with pytest.raises(InputError, match="absurdly large"):
        read_picture(head)


def test_a_large_jpeg_without_its_end_is_read_smaller_as_well():
    """It was decoded whole, twice: gigabytes, for a file that a stranger sends."""
    whole = encoded(Image.new("RGB", (60, 40), "gray"), "JPEG")

    for content in (whole, whole[:-2]):
        assert read_photo(content, max_pixels=1000).pixels.shape[:2] == (20, 30)
        with pytest.raises(InputError, match="60 x 40 pixels"):
            read_photo(content, max_pixels=500)


def test_sizes_are_limited_by_us_alone(monkeypatch):
    """Pillow's own limit refused JPEGs of more than 179 megapixels, which are read smaller."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)

    assert read_photo(encoded(Image.new("L", (60, 40)), "JPEG")).size == (60, 40)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_heic_without_a_decoder_is_one_sentence(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "pi_heif":
            raise ModuleNotFoundError("none", name=name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"a HEIC photo; `pip install pi-heif` reads"):
        read_picture(b"\x00\x00\x00\x18ftypheic" + b"\x00" * 100)


def test_a_telephones_heic_is_read_upright():
    pytest.importorskip("pi_heif", reason="pi-heif is not installed")

    picture = read_picture(HEIC)

    assert picture.shape == (96, 64, 3)
    assert np.abs(picture[:40].astype(int) - (200, 40, 40)).max() < 20
    assert np.abs(picture[56:].astype(int) - (40, 40, 200)).max() < 20


def test_a_broken_heic_is_one_sentence():
    pytest.importorskip("pi_heif")
    with pytest.raises(InputError, match="cannot be decoded"):
        read_picture(b"\x00\x00\x00\x18ftypheic" + b"\x00" * 100)


def test_a_recogniser_can_be_pickled():
    recognizer = Recognizer(threads=1)

    again = pickle.loads(pickle.dumps(recognizer))  # noqa: S301 (our own)

    assert again.recognize(photo()) == recognizer.recognize(photo())
