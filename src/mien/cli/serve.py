"""mien serve: run the REST service and the web page."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import options
from mien.errors import InputError, extra_required, reading_from
from mien.terminal import note

if TYPE_CHECKING:
    from mien.serving.settings import Settings

app = typer.Typer()

_MB = 1_000_000


Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="A model file, a run folder or a name; by default the packaged model.",
    ),
]
Host = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS", help="Address to listen on; by default only for this computer."
    ),
]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="0 takes any free port.")]
OpenPage = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]
Threads = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="By default one for each core.")
]
MaxBody = Annotated[int, typer.Option(metavar="MB", min=1, help="Largest request.")]
MaxPixels = Annotated[int, typer.Option(metavar="MEGAPIXELS", min=1, help="Largest picture.")]
MaxVideo = Annotated[int, typer.Option(metavar="MB", min=1, help="Largest video.")]
Timeout = Annotated[
    float, typer.Option(metavar="SECONDS", min=1, help="Limit for a request, and for its answer.")
]
Rate = Annotated[
    float,
    typer.Option(metavar="N", min=0, help="Requests a second for each client; 0 is no limit."),
]
ApiKeys = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="API keys, one in each line; or one in MIEN_API_KEY."),
]
AllowHost = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="An additional host name of the service.")
]
AllowOrigin = Annotated[
    list[str] | None,
    typer.Option(metavar="https://SITE", help="A site whose pages may send requests."),
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
    """Serve recognition to browsers and programs, by default of this computer only. Ctrl-C ends it.

    Pictures are not stored; a video's results are deleted after half an hour.
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
    """Open the web page's camera tab, served to this computer only on a free port, until Ctrl-C."""
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

    `started` is called with the model's name, the URL, and whether it is a loopback address.
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
        # `Settings` refuses keys that are not ASCII.
        content = file.read_text("utf-8-sig", errors="replace")
    keys = tuple(line.strip() for line in content.splitlines() if line.strip())
    if not keys:
        raise InputError(f"{file}: it has no key; write one in each line")
    return keys
