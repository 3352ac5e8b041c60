"""mien serve: a REST service and a page in the browser."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import options
from mien.cli.output import note
from mien.errors import InputError, extra_required, reading_from

if TYPE_CHECKING:
    from mien.serving.settings import Settings

app = typer.Typer()

_MB = 1_000_000


Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="A model file, a run folder or a name; by default the model inside the package.",
    ),
]
Host = Annotated[
    str, typer.Option(help="Where to listen; by default only this computer gets there.")
]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="0 is any free one.")]
OpenPage = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]
Threads = Annotated[int | None, typer.Option(metavar="N", min=1, help="By default one a core.")]
MaxBody = Annotated[int, typer.Option(metavar="MB", min=1, help="Largest request.")]
MaxPixels = Annotated[int, typer.Option(metavar="MEGAPIXELS", min=1, help="Largest picture.")]
MaxVideo = Annotated[int, typer.Option(metavar="MB", min=1, help="Largest video.")]
Timeout = Annotated[
    float, typer.Option(metavar="SECONDS", min=1, help="For a request, and for its answer.")
]
Rate = Annotated[
    float, typer.Option(metavar="N", min=0, help="Requests a second and client; 0 is any.")
]
ApiKeys = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Keys, one a line; or one in MIEN_API_KEY."),
]
AllowHost = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="A name it may be asked by.")
]
AllowOrigin = Annotated[
    list[str] | None,
    typer.Option(metavar="https://SITE", help="Another site whose pages may ask it."),
]


@app.command()
def serve(
    model: Model = None,
    card: options.CardPage = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    open_page: OpenPage = False,
    threads: Threads = None,
    device: options.Device = "cpu",
    max_body: MaxBody = 20,
    max_pixels: MaxPixels = 25,
    max_video: MaxVideo = 200,
    timeout: Timeout = 30,
    rate: Rate = 0,
    api_keys: ApiKeys = None,
    allow_host: AllowHost = None,
    allow_origin: AllowOrigin = None,
) -> None:
    """Serve recognition to this computer's browsers and programs. Ctrl-C ends it.

    Pictures are answered and forgotten; videos' results are gone after half an hour.
    """
    with extra_required("serve", "the service"):
        from mien.serving import server  # noqa: F401 (what is missing is said first)
    from mien.serving.settings import Settings

    settings = Settings(
        threads=threads or 0,
        max_body=max_body * _MB,
        max_held=max(Settings.max_held, max_body * _MB),
        max_pixels=max_pixels * 1_000_000,
        max_video=max_video * _MB,
        timeout_s=timeout,
        rate=rate,
        api_keys=_keys(api_keys),
        allow_hosts=tuple(allow_host or ()),
        allow_origins=tuple(allow_origin or ()),
    )

    def started(name: str, address: str, loopback: bool) -> None:
        note(f"{name} is served at {address} (its API: {address}/docs); Ctrl-C ends it")
        if not loopback and not settings.api_keys:
            note("anyone who reaches this computer may ask it; --api-keys FILE asks for a key")
        if open_page:
            typer.launch(address)

    _run(model, settings, device, (host, port), started, card=card)


def show_camera(model: str | None, device: str) -> None:
    """Open the page at its camera, served to this computer alone on a free port, until Ctrl-C."""
    with extra_required("serve", "the page of a camera"):
        from mien.serving import server  # noqa: F401 (what is missing is said first)
    from mien.serving.settings import Settings

    def started(_name: str, address: str, _loopback: bool) -> None:
        page = f"{address}/#camera"
        note(f"the camera is shown at {page}, where it can be chosen; Ctrl-C ends it")
        typer.launch(page)

    _run(model, Settings(), device, ("127.0.0.1", 0), started, fetch=True)


def _run(
    model: str | None,
    settings: Settings,
    device: str,
    place: tuple[str, int],
    started: Callable[[str, str, bool], None],
    *,
    card: Path | None = None,
    fetch: bool = False,
) -> None:
    """Serve a model at a (host, port) until Ctrl-C.

    `started` is told the model's name, the address, and whether only this computer gets there.
    """
    from mien.allocator import share_heaps
    from mien.recognise.model import FaceModel
    from mien.recognise.naming import find_model
    from mien.serving import server
    from mien.serving.app import create_app
    from mien.serving.card_page import read_card_page
    from mien.serving.guard import is_loopback

    share_heaps(settings.workers)  # before anything starts threads
    named = find_model(model, fetch=fetch, say=note)
    about = read_card_page(card, bundled=named.packaged)
    opened = FaceModel.open(named.content, device=device, threads=1, where=named.where)
    listening = server.listen(*place)
    loopback = is_loopback(listening.getsockname()[0])
    made = create_app(opened, settings, loopback=loopback, card=about)
    address = server.address(listening)
    tell = partial(started, opened.card.name, address, loopback)
    server.Server(made, settings, tell).run(sockets=[listening])


def _keys(file: Path | None) -> tuple[str, ...]:
    if file is None:
        key = os.environ.get("MIEN_API_KEY")
        return (key,) if key else ()
    with reading_from(str(file)):
        content = file.read_text("utf-8-sig", errors="replace")  # no text is no key either
    keys = tuple(line.strip() for line in content.splitlines() if line.strip())
    if not keys:
        raise InputError(f"{file}: no key in it; write one a line")
    return keys
