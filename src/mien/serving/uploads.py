"""Reading what a request brings, within limits: nothing is held that is larger than was agreed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from mien.errors import InputError
from mien.recognise.pictures import from_base64
from mien.serving.engine import FORMATS
from mien.serving.problems import Problem
from mien.serving.settings import Settings

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_JSON = 'it is {"images": ["<base64>", ...]}'
PICTURE_TYPES = tuple(f"image/{name.lower()}" for name in FORMATS)


@dataclass(frozen=True)
class Upload:
    """A picture as it came: its bytes, or what is wrong with it."""

    name: str | None
    content: bytes | Problem


def announced(request: Request, most: int) -> int:
    """The bytes that a body says it has; 0 where it does not say.

    Raises:
        Problem: 413 for more than `most`; 400 for what is no number.
    """
    said = request.headers.get("content-length")
    if said is None:
        return 0
    if not said.isdecimal():
        raise Problem(400, "the header Content-Length: no number; leave it to your HTTP library")
    if int(said) > most:
        raise _too_large(most)
    return int(said)


async def chunks(
    request: Request, most: int, stall_s: float, whole_s: float
) -> AsyncIterator[bytes]:
    """A body piece by piece; each has to come within `stall_s`, all of them within `whole_s`.

    Raises:
        Problem: 413 where it is larger than `most`, 408 where it is slower.
        ClientDisconnect: nobody is there any more.
    """
    stream = request.stream()
    end = time.monotonic() + whole_s
    count = 0
    while True:
        try:
            async with asyncio.timeout(min(stall_s, end - time.monotonic())):
                piece = await anext(stream, None)
        except TimeoutError:
            raise Problem(
                408,
                "the body: stopped on its way, or came too slowly; send it again",
                Connection="close",
            ) from None
        if piece is None:
            return
        count += len(piece)
        if count > most:
            raise _too_large(most)
        yield piece


async def whole_body(
    request: Request, settings: Settings, hold: Callable[[int], None]
) -> bytearray:
    """A request's body; Problem 413 or 408 where it is too large or too slow.

    hold: is called with the bytes of each piece before they are kept.
    """
    patience_s = settings.timeout_s
    body = bytearray()
    async for piece in chunks(request, settings.max_body, patience_s, patience_s):
        hold(len(piece))
        body += piece
    return body


def pictures(content_type: str | None, body: bytearray, most: int) -> list[Upload]:
    """The pictures in a body: one raw, several of a form, several in JSON. Of work for a thread.

    Raises:
        Problem: 415 for another type of content; 400 for what is not of its type; 422 for other
            fields, no picture or more than `most`.
    """
    kind, options = parse_options_header(content_type)
    if kind.startswith(b"image/"):
        return [Upload(None, bytes(body))]
    if kind == b"application/json":
        return _from_json(body, most)
    if kind == b"multipart/form-data":
        return _from_form(body, options.get(b"boundary"), most)
    shown = f"of type {kind.decode('latin-1')[:80]!r}" if kind else "without a Content-Type"
    raise Problem(
        415,
        f"a body {shown}: send a picture as image/..., a form as multipart/form-data, or JSON as "
        "application/json",
    )


def _from_json(body: bytearray, most: int) -> list[Upload]:
    # Signs of structure are counted first: what the parser makes of millions of them takes seconds and gigabytes.
    # A picture has one comma; an address that somebody sends in the place of its base64, three signs more.
    if sum(body.count(sign) for sign in b",:[]{}") > 4 * most + 8:
        raise Problem(
            422, f"the JSON body: more than {most} pictures, or other things than pictures; {_JSON}"
        )
    try:
        said = json.loads(body.decode())
    except json.JSONDecodeError as error:
        raise _no_json(400, "", f"{error.msg} at character {error.pos}") from None
    except (ValueError, RecursionError):  # no UTF-8; a number of more digits than Python reads
        raise _no_json(400, "", "cannot be read") from None
    if not isinstance(said, dict):
        raise _no_json(422, "", "is no object")
    for name in said:
        if name != "images":
            raise _no_json(422, name[:80], "is not known here")
    texts = said.get("images")
    if not isinstance(texts, list) or not texts:
        raise _no_json(422, "images", "has to be a list of one or more texts")
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise _no_json(422, f"images.{place}", "is no text")
    _check_count(len(texts), most)
    return [Upload(None, _from_base64(text)) for text in texts]


def _no_json(status: int, where: str, fault: str) -> Problem:
    return Problem(status, f"the JSON body{where and f', {where}'}: {fault}; {_JSON}")


def _from_base64(text: str) -> bytes | Problem:
    try:
        return from_base64(text, "the picture")
    except InputError as error:
        return Problem(400, str(error))


def _from_form(body: bytearray, boundary: bytes | None, most: int) -> list[Upload]:
    found: list[tuple[str, bytearray]] = []

    def begin(name: str) -> Callable[[bytes], object]:
        _check_count(len(found) + 1, most)
        found.append((name, bytearray()))
        return found[-1][1].extend

    form = Form(boundary, "images", begin)
    form.write(bytes(body))
    form.finish()
    _check_count(len(found), most)
    return [Upload(name, bytes(content)) for name, content in found]


class Form:
    """A form that is parsed as it comes; Problem 400 where it is none, 422 for other fields.

    Args:
        boundary: of its parts.
        field: what all of its files are called.
        begin: is given a file's name, and gives what to call with its bytes.
    """

    def __init__(
        self,
        boundary: bytes | None,
        field: str,
        begin: Callable[[str], Callable[[bytes], object]],
    ) -> None:
        if not boundary:
            raise _no_form("its Content-Type names no boundary")
        self._field = field
        self._begin = begin
        self._name = self._value = b""
        self._disposition = b""
        self._take: Callable[[bytes], object] = bytes
        self._whole = False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._part_begins,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_ends,
            "on_headers_finished": self._file_begins,
            "on_part_data": self._part_data,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise _no_form(str(error)) from None

    def write(self, piece: bytes) -> None:
        """Go on."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _no_form(str(error)) from None

    def finish(self) -> None:
        """That was all; a Problem where something is missing."""
        if not self._whole:
            raise _no_form("it ends before its last boundary")

    def _part_begins(self) -> None:
        self._disposition = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def _file_begins(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        file = options.get(b"filename")
        if name != self._field:
            raise Problem(
                422, f"the field {name[:80]!r}: not known here; files are called {self._field}"
            )
        if file is None:
            raise Problem(
                422, f"the field {name}: without a filename; send it as a file of the form"
            )
        self._take = self._begin(file.decode("utf-8", "replace"))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._take(data[start:end])

    def _end(self) -> None:
        self._whole = True


def _check_count(count: int, most: int) -> None:
    if count < 1:
        raise Problem(422, "the body: has no picture; send one or more as files called images")
    if count > most:
        raise Problem(422, f"the body: more than {most} pictures; send them in several requests")


def _too_large(most: int) -> Problem:
    return Problem(413, f"the body: more than {most / 1e6:g} MB; send less at once")


def _no_form(why: str) -> Problem:
    return Problem(400, f"the form: {why[:200]}; leave its encoding to your HTTP library")
