"""The page that `mien card` wrote of a model, beside the page that recognises with it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from mien.errors import InputError, reading_from

#: Its address: of the service, and in a static site.
ADDRESS = "card.html"
_MOST_BYTES = 5_000_000
#: It carries its style with it, and needs nothing else.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"


def read_card_page(given: Path | None, *, bundled: str | None) -> bytes | None:
    """The page given, or else that of a model inside the package; or None.

    Args:
        given: a page that `mien card` wrote.
        bundled: the stem of the model's file if it is inside the package (`NamedModel.packaged`).

    Raises:
        InputError: for a file that cannot be read or is no page.
    """
    if given is None:
        if bundled is None:
            return None
        file = resources.files("mien.recognise").joinpath(f"{bundled}-card.html")
        return file.read_bytes() if file.is_file() else None
    with reading_from(str(given)):
        if given.stat().st_size > _MOST_BYTES:
            raise InputError(f"{given}: larger than any card; give the page that `mien card` wrote")
        content = given.read_bytes()
    if not content.lstrip()[:15].lower().startswith(b"<!doctype html"):
        raise InputError(
            f"{given}: not an HTML page; give the model-card.html that `mien card` wrote"
        )
    return content
