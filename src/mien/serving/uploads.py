"""Reading and parsing request bodies, within limits of size and time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
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


class _Pictures(BaseModel):
    """A body of JSON."""

    model_config = ConfigDict(extra="forbid", strict=True)
    images: list[str] = Field(min_length=1)


@dataclass(frozen=True)
class Upload:
    """An uploaded picture: its file name if it has one, and its bytes or the problem with it."""

    name: str | None
    content: bytes | Problem


def announced(request: Request, most: int) -> int:
    """The length of a body in bytes, from its header Content-Length; 0 without one.

    Raises:
        Problem: 413 if it is more than `most`; 400 if it is not a number.
    """
    said = request.headers.get("content-length")
    if said is None:
        return 0
    if not said.isdecimal():
        raise Problem(400, "the header Content-Length: not a number; let an HTTP library write it")
    if int(said) > most:
        raise _too_large(most)
    return int(said)


async def chunks(
    request: Request, most: int, stall_s: float, whole_s: float
) -> AsyncIterator[bytes]:
    """Iterate over a body's pieces as they arrive.

    Args:
        request: the request.
        most: limit of the body in bytes.
        stall_s: limit of the wait for each piece, in seconds.
        whole_s: limit for the whole body, in seconds.

    Raises:
        Problem: 413 if the body is larger, 408 if it is slower.
        ClientDisconnect: the client closed the connection.
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
                "the body: it stopped or arrived too slowly; send it again",
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
    """Read a request's whole body.

    Args:
        request: the request.
        settings: `max_body` limits its bytes, `timeout_s` its time.
        hold: called with the number of bytes of each piece before it is kept; it may raise.

    Raises:
        Problem: 413 if the body is too large, 408 if it is too slow.
    """
    patience_s = settings.timeout_s
    body = bytearray()
    async for piece in chunks(request, settings.max_body, patience_s, patience_s):
        hold(len(piece))
        body += piece
    return body


def pictures(content_type: str | None, body: bytearray, most: int) -> list[Upload]:
    """Parse the pictures of a body: one raw, several in a form or in JSON. Slow: call it in a thread.

    Raises:
        Problem: 415 for another content type; 400 if the body does not match its type; 422 for
            unknown fields, no picture or more than `most`.
    """
    kind, options = parse_options_header(content_type)
    if kind.startswith(b"image/"):
        return [Upload(None, bytes(body))]
    if kind == b"application/json":
        return _from_json(body, most)
    if kind == b"multipart/form-data":
        return _from_form(body, options.get(b"boundary"), most)
    raise unknown_type(
        kind,
        "send a picture as image/..., a form as multipart/form-data, or JSON as application/json",
    )


def unknown_type(kind: bytes, advice: str) -> Problem:
    """The refusal of a body whose Content-Type, empty if it is missing, is none of those taken."""
    shown = f"of type {kind.decode('latin-1')[:80]!r}" if kind else "without a Content-Type"
    return Problem(415, f"a body {shown}: {advice}")


def _from_json(body: bytearray, most: int) -> list[Upload]:
    # Count JSON's punctuation before parsing: objects of millions of signs take seconds and gigabytes. Each picture
    # needs one comma; a URL sent by mistake in place of base64 has three more signs, and gets a better message later.
    if sum(body.count(sign) for sign in b",:[]{}") > 4 * most + 8:
        raise Problem(
            422, f"the JSON body: more than {most} pictures, or other things than pictures; {_JSON}"
        )
    try:
        found = _Pictures.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        status = 400 if fault["type"] == "json_invalid" else 422
        where = ".".join(map(str, fault["loc"]))[:80]
        said = f"the JSON body{where and f', {where}'}: {fault['msg']}"
        raise Problem(status, f"{said}; {_JSON}") from None
    _check_count(len(found.images), most)
    return [Upload(None, _from_base64(text)) for text in found.images]


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
    """A parser of multipart/form-data that takes the body piece by piece.

    Args:
        boundary: of its parts, from the header Content-Type.
        field: the only allowed name of a field, for all its files.
        begin: called with each file's name; returns the function that takes the file's bytes.

    Raises:
        Problem: 400, also from its methods, if the body is not a form; 422 for other fields.
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
        """Parse the next piece of the body."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _no_form(str(error)) from None

    def finish(self) -> None:
        """Check that the form is complete, after the last piece."""
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
        raise Problem(422, "the body: it has no picture; send one or more as files called images")
    if count > most:
        raise Problem(422, f"the body: more than {most} pictures; send them in several requests")


def _too_large(most: int) -> Problem:
    return Problem(413, f"the body: more than {most / 1e6:g} MB; send less at once")


def _no_form(why: str) -> Problem:
    return Problem(400, f"the form: {why[:200]}; let an HTTP library encode it")
