"""Reading the HTML model card that `mien card` writes, to serve it beside the web page."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from mien.errors import InputError, reading_from

#: Path of the card's page, relative to the web page: in the service and in a static site.
ADDRESS = "card.html"
_MOST_BYTES = 5_000_000
#: Content-Security-Policy of the card's page: its style and pictures are inline, it loads nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"


def read_card_page(given: Path | None, *, bundled: str | None) -> bytes | None:
    """Read the card's page.

    Args:
        given: the file that `mien card` wrote; None takes the packaged page if the model is a packaged one.
        bundled: the stem of the served model's file if it is in the package (`NamedModel.packaged`).

    Returns:
        HTML in UTF-8, or None if there is no page for this model.

    Raises:
        InputError: the file cannot be read, is larger than 5 MB or is not HTML.
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
