"""What schemathesis cannot make up itself: pictures, whole and broken, where the API takes some."""

from __future__ import annotations

import base64

import numpy as np
import schemathesis
from broken_pictures import mutated
from hypothesis import strategies as st
from talk import picture

_KINDS = ("JPEG", "PNG", "WebP", "BMP", "GIF")
_WHOLE = st.sampled_from([picture(kind) for kind in _KINDS])


@st.composite
def _broken(draw: st.DrawFn) -> bytes:
    return mutated(draw(_WHOLE), np.random.default_rng(draw(st.integers(0, 2**32 - 1))))


_PICTURES = st.one_of(_WHOLE, _WHOLE, _broken(), st.binary(max_size=200))

schemathesis.openapi.format("binary", _PICTURES)
schemathesis.openapi.format("byte", _PICTURES.map(lambda one: base64.b64encode(one).decode()))
for name in _KINDS:
    schemathesis.openapi.media_type(f"image/{name.lower()}", _PICTURES)
for name in ("video/mp4", "video/webm", "video/quicktime", "application/octet-stream"):
    schemathesis.openapi.media_type(name, _PICTURES)
