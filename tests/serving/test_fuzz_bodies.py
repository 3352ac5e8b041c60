"""Bodies by chance: JSON is read as Python's own parser reads it or refused in one sentence, and so are forms.

MIEN_EXAMPLES=20000 pytest tests/serving/test_fuzz_bodies.py
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from talk import check_problem

from mien.serving import uploads
from mien.serving.problems import Problem

MOST = 4
MANY = settings(max_examples=int(os.environ.get("MIEN_EXAMPLES", "60")), deadline=None)

SIGNS = st.text(
    st.sampled_from('{}[]",:\\ \n\t\x00\x1b0123456789.eE+-aimgestrufnl=/\u202e\ud800é'), max_size=40
)
BASE64 = st.binary(max_size=12).map(lambda content: base64.b64encode(content).decode())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | SIGNS | BASE64,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(SIGNS, inner, max_size=4),
    max_leaves=12,
)
BODIES = (
    st.fixed_dictionaries({"images": st.lists(BASE64 | SIGNS, max_size=MOST + 2)}).map(json.dumps)
    | st.fixed_dictionaries({"images": VALUES}).map(json.dumps)
    | st.dictionaries(SIGNS | st.just("images"), VALUES, max_size=3).map(json.dumps)
    | VALUES.map(json.dumps)
    | SIGNS
).map(lambda text: text.encode("utf-8", "surrogatepass"))


def read(kind: str, body: bytes) -> list[uploads.Upload] | None:
    """What is made of a body; None where it is refused, in one sentence."""
    try:
        return uploads.pictures(kind, bytearray(body), MOST)
    except Problem as problem:
        told: dict[str, Any] = json.loads(problem.response().body)
        check_problem(told, problem.status)
        return None


def meant(body: bytes) -> list[bytes | None] | None:
    """The pictures that Python's parser finds, None in the place of what is not base64; None for other bodies."""
    try:
        said = json.loads(body.decode())
    except (ValueError, RecursionError):
        return None
    texts = said.get("images") if isinstance(said, dict) and set(said) == {"images"} else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return None
    if not 1 <= len(texts) <= MOST or any(re.search("[\ud800-\udfff]", text) for text in texts):
        return None  # halves of a surrogate pair are no Unicode
    return [in_base64(text) for text in texts]


def in_base64(text: str) -> bytes | None:
    """Wrapped or not; the URL-safe alphabet, with or without padding, if nothing is of the usual one."""
    digits = re.sub(r"\s", "", text)
    try:
        if re.search("[+/]", digits):
            return base64.b64decode(digits, validate=True)
        padded = digits.ljust(-(-len(digits) // 4) * 4, "=")
        return base64.b64decode(padded, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None


@MANY
@given(BODIES)
@example(b'{"a\\nb": 1}')  # a name with a line's end, which the sentence repeated
@example(b'{"\\ud800": 1}')  # a name that cannot be written as UTF-8
@example(b'{"images": ["\\ud800"]}')
@example(b'{"images":[' + b"1," * 100_000 + b"1]}")
@example(b'{"images": ' + b"[" * 100_000)
@example(b'{"images": [' + b"9" * 5000 + b"]}")
@example(b"\xff\xfe{")
@example(b'{"images": ["0w"]}')  # without padding
@example(b'{"images": ["0 w\\n=="]}')
def test_json_is_read_as_it_is_meant_or_refused_in_a_sentence(body):
    found, wanted = read("application/json", body), meant(body)
    if found is None:
        # More signs of structure than so many pictures have are refused unparsed.
        assert wanted is None or sum(body.count(sign) for sign in b",:[]{}") > 4 * MOST + 8
        return
    assert wanted is not None
    contents = [one.content for one in found]
    assert [one if isinstance(one, bytes) else None for one in contents] == wanted


PARTS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b'Content-Disposition: form-data; name="images"; filename="a.png"',
                b'content-disposition: form-data; name="images"',
                b'Content-Disposition: form-data; name="ima\xffges"; filename=""',
                b"Content-Disposition: form-data; name=images; filename*=UTF-8''%1b%0a",
                b"Content-Disposition",
                b"Content-Disposition: form-data; " + b"a=b; " * 50,
                b"",
            ]
        ),
        st.binary(max_size=30),
        st.sampled_from([b"\r\n", b"\n", b""]),
    ),
    max_size=MOST + 2,
)


@MANY
@given(PARTS, st.sampled_from([b"--b--\r\n", b"--b--", b"", b"--b"]), st.integers(0, 400), SIGNS)
@example([], b"--b--\r\n", 400, "")
def test_forms_are_read_or_refused_in_a_sentence(parts, end, cut, boundary):
    body = b"".join(
        b"--b" + line + head + line + line + content + line for head, content, line in parts
    )
    found = read('multipart/form-data; boundary="b"', (body + end)[:cut])
    assert found is None or 1 <= len(found) <= MOST
    header = boundary.encode("utf-8", "surrogatepass").decode("latin-1")  # as servers read it
    read(f'multipart/form-data; boundary="{header}"', body + end)
