"""Finding a model by its name: a packaged model, a file, a run folder, or a URL with its SHA-256."""

from __future__ import annotations

import http.client
import importlib
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from mien.callbacks import Say
from mien.card import ModelCard
from mien.errors import InputError, extra_required, near_names, one_line, reading_from
from mien.files import atomic_file, cache_folder, from_home
from mien.recognise.media import is_address
from mien.recognise.model_file import checked_card, digest_of, read_model_file
from mien.runs import RunFolder
from mien.terminal import note
from mien.version import __version__

#: Largest file that is downloaded, in bytes.
MOST_FETCHED = 100_000_000
_TIMEOUT_S = 60
_PIECE = 1 << 20
#: Files of the models inside the package, without their suffix; the first is the default.
_STEMS = ("default", "small")
_DIGEST = re.compile("sha256=([0-9a-fA-F]{64})")


@dataclass(frozen=True)
class NamedModel:
    """A model that was found by its name.

    content: the bytes of its file, not yet checked; where: its name in messages.
    packaged: the stem of its file if it is in the package, as `default`; otherwise None.
    """

    content: bytes
    where: str
    packaged: str | None = None


@dataclass(frozen=True)
class Packaged:
    """A model in the package: its name, its file's stem and size in bytes, and its card."""

    name: str
    stem: str
    size: int
    card: ModelCard


def packaged_model(stem: str = _STEMS[0]) -> bytes:
    """The bytes of a model file in the package.

    Args:
        stem: the file's name without suffix; by default the model that is used if none is named.

    Raises:
        InputError: this installation has no model.
    """
    file = resources.files("mien.recognise").joinpath(f"{stem}.onnx")
    if not file.is_file():
        raise InputError("this installation of mien has no model inside; give one: model=FILE.onnx")
    return file.read_bytes()


@cache
def packaged() -> tuple[Packaged, ...]:
    """The models in the package, the default first."""
    contents = {stem: packaged_model(stem) for stem in _STEMS}
    cards = {stem: checked_card(content, stem) for stem, content in contents.items()}
    return tuple(Packaged(cards[s].name, s, len(contents[s]), cards[s]) for s in _STEMS)


def is_packaged(name: str | os.PathLike[str]) -> bool:
    """Whether a name means a packaged model; a file or folder of that name has precedence."""
    text = os.fspath(name)
    # The path first: reading and checking the packaged files takes some milliseconds.
    return not os.path.lexists(text) and any(one.name == text for one in packaged())


def find_model(
    name: str | os.PathLike[str] | None = None, *, fetch: bool = False, say: Say = note
) -> NamedModel:
    """Find a model by its name.

    Args:
        name: `mien-people` or another name of a packaged model; a model file; a run folder, which is
            exported into the cache once; a URL `https://...#sha256=...`. None is the default model in the package.
        fetch: download a URL's file if the cache lacks it; otherwise that is an error.
        say: called with a line for people before a run is exported or a file downloaded.

    Returns:
        The content of the model's file, not yet checked (but a download is checked against its SHA-256).

    Raises:
        InputError: there is no such model, a run cannot be exported, or a URL is not https, lacks its
            SHA-256, cannot be downloaded or gives another file.

    >>> find_model().packaged
    'default'
    """
    text = "" if name is None else os.fspath(name)
    if name is None:
        return NamedModel(packaged_model(), "the model", packaged=_STEMS[0])
    if is_packaged(text):
        stem = next(one.stem for one in packaged() if one.name == text)
        return NamedModel(packaged_model(stem), "the model", packaged=stem)
    if is_address(text):
        return _of_address(text, fetch, say)
    path = from_home(text)
    if os.path.isdir(path):  # noqa: PTH112 (a Path raises where a name is too long)
        return _of_run(path, say)
    if not os.path.lexists(path) and path.name == text and not path.suffix:
        raise InputError(
            f"{text}: no model file or run folder here, and no model in the package is called so "
            f"({near_names(text, (one.name for one in packaged()))}); `mien train` makes a run folder"
        )
    return NamedModel(read_model_file(path), text)


def _of_run(path: Path, say: Say) -> NamedModel:
    """A run's model file from the cache; exported into it if the run has changed."""
    if not (path / "recipe.json").is_file():
        seeds = sorted(path.glob("seed-*/recipe.json"))
        what = (
            f"holds runs of several seeds; give one, as {seeds[0].parent}"
            if seeds
            else "a folder without a run in it; give a model file, or a folder that `mien train` wrote"
        )
        raise InputError(f"{path}: {what}")
    run = RunFolder.open(path)
    if not run.best_weights.is_file():
        raise InputError(f"{path}: no weights there; has the first epoch of training ended?")
    kept = cache_folder() / "models" / f"run-{_digest_of_run(run)}.onnx"
    content = _kept(kept)
    if content is None:
        say(f"{path} is exported once for recognition, into {kept}")
        with extra_required("train", "opening a run folder"):
            # By name: `mien.api` is a layer above this one, and importing it needs torch.
            importlib.import_module("mien.api.model_files").export(run, kept)
        content = read_model_file(kept)
    return NamedModel(content, str(path))


def _digest_of_run(run: RunFolder) -> str:
    """A key of the run's model file in the cache: a digest of its weights, recipe and mien's version."""
    with reading_from(str(run.path)):
        recipe = run.recipe_path.read_bytes()
        told = f"{run.weights_digest()} {digest_of(recipe)} {__version__}"
    return digest_of(told.encode())


def _kept(file: Path) -> bytes | None:
    """The content of a model file in the cache; None if it is missing or damaged."""
    if not file.is_file():
        return None
    try:
        content = read_model_file(file)
        checked_card(content, str(file))
    except InputError:  # damaged, or of an earlier version
        return None
    return content


def _of_address(address: str, fetch: bool, say: Say) -> NamedModel:
    """The file of a URL, checked against its SHA-256 before it is parsed."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise InputError(f"--model: not an address ({one_line(error)}); check it") from error
    host = parts.netloc.rpartition("@")[2]
    shown = (
        f"{parts.scheme}://{host}{parts.path}"  # without a password, and without a key behind a `?`
    )
    if parts.scheme != "https" or not host:
        raise InputError(f"{shown}: models are fetched over https alone; save it, give the file")
    told = _DIGEST.fullmatch(parts.fragment)
    if told is None:
        raise InputError(
            f"{shown}: add the file's digest, so that it cannot be another one: "
            f"{shown}#sha256=, then its 64 hex digits, which whoever offers the file should tell"
        )
    digest = told[1].lower()
    kept = cache_folder() / "models" / f"{digest}.onnx"
    if kept.is_file():
        content = read_model_file(kept)
        if digest_of(content) == digest:
            return NamedModel(content, shown)
    if not fetch:
        raise InputError(
            f"{shown}: addresses are not fetched here; fetch it once with "
            f"`mien predict PHOTO --model {shown}#sha256=...`, or save it and give the file"
        )
    say(f"fetching {shown}, once, into {kept}")
    address = parts._replace(fragment="").geturl()
    content = fetched(
        address, shown, "check the address and the network, or save it and give the file"
    )
    if digest_of(content) != digest:
        raise InputError(
            f"{shown}: another file than sha256={digest} stands for ({digest_of(content)}); "
            "nothing of it was opened or kept: ask whoever offers it"
        )
    with atomic_file(kept) as file:
        file.write(content)
    return NamedModel(content, shown)


class _HttpsAlone(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to https URLs."""

    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https":
            fp.close()
            raise InputError("it leads to an address that is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetched(address: str, shown: str, advice: str) -> bytes:
    """Download an https URL, at most `MOST_FETCHED` bytes; redirects lead to https only.

    Args:
        address: the URL; the caller has checked that it is https.
        shown: its name in messages.
        advice: the end of a message.

    Raises:
        InputError: it cannot be fetched, or is too large.
    """
    opener = urllib.request.build_opener(_HttpsAlone)
    too_large = InputError(f"larger than {MOST_FETCHED / 1e6:,.0f} MB")
    try:
        request = urllib.request.Request(address, headers={"User-Agent": f"mien/{__version__}"})  # noqa: S310 (https, by the caller)
        content = bytearray()
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            told = int(answer.headers.get("Content-Length") or 0)
            if told > MOST_FETCHED:
                raise too_large
            while piece := answer.read(_PIECE):
                content += piece
                if len(content) > MOST_FETCHED:
                    raise too_large
            if len(content) < told:
                raise InputError("the connection ended early")
    except (OSError, ValueError, InputError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):  # it holds the connection
            error.close()
        reason = getattr(error, "reason", None) or error
        why = one_line(reason) if isinstance(reason, Exception) else str(reason)
        raise InputError(f"{shown}: cannot be fetched ({why}); {advice}") from error
    return bytes(content)
