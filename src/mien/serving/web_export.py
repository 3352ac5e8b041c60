"""The web page as a static site without a server: detector and classifier run in the browser.

index.html, style.css, *.js   the web page, the same as the service's
config.json                   selects the browser as backend, and names models and runtime
card.html                     the model's card for people, if there is one
models/                       the detector and the classifier
runtime/                      ONNX Runtime for browsers, fetched once, its digests pinned here
licences.txt                  the licences of all these parts
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from mien.callbacks import Say
from mien.card import ModelCard
from mien.errors import InputError, reading_from, writing_to
from mien.files import atomic_folder, cache_folder
from mien.recognise.model_file import checked_card
from mien.recognise.naming import fetched, find_model
from mien.recognise.yunet import browser_detector
from mien.serving.card_page import ADDRESS, read_card_page
from mien.version import __version__

#: ONNX Runtime for browsers from npm: version, digest of the package, digests of the files that are used.
RUNTIME = "1.30.0"
_PACKAGE_SHA512 = (
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
_WASM = "ort-wasm-simd-threaded.wasm"
_PARTS_SHA256 = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    _WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
_REGISTRY = "https://registry.npmjs.org/"
_PACKAGE = f"onnxruntime-web/-/onnxruntime-web-{RUNTIME}.tgz"
_INSTEAD = f"download {_REGISTRY}{_PACKAGE} and give it with --runtime FILE"

_DETECTOR = "face_detection_yunet_2023mar.onnx"


@dataclass(frozen=True)
class Site:
    """A site that was written: its folder, its size in bytes, the card of its model."""

    path: Path
    size: int
    card: ModelCard

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "path": str(self.path),
            "bytes": self.size,
            "runtime": RUNTIME,
            "model": {"name": self.card.name, "digest": self.card.digest},
        }


def export_web(
    out: Path,
    model: str | Path | None = None,
    *,
    runtime: Path | None = None,
    card_page: Path | None = None,
    say: Say = lambda _: None,
) -> Site:
    """Write a site for any static web host. Photos and frames stay in the visitor's browser.

    Args:
        out: the folder; a site of mien that is there already is replaced.
        model: a model's name, its file or a run folder; by default the packaged model. A URL works if the
            model is in the cache.
        runtime: the npm package onnxruntime-web, packed (.tgz) or as a folder; by default it is
            downloaded from the npm registry, once, and kept in the cache.
        card_page: the HTML page that `mien card` wrote for the model; by default the packaged page, for the
            packaged model only.
        say: called with lines of progress for people.

    Returns:
        The site that was written.

    Raises:
        InputError: `model` or `card_page` is not usable, the runtime is not the pinned version or cannot be
            downloaded, or `out` holds other files.
    """
    named = find_model(model, say=say)
    card = checked_card(named.content, named.where)
    about = read_card_page(card_page, bundled=named.packaged)
    _check_replaceable(out)
    parts = _parts(runtime) if runtime is not None else _kept_parts(say)
    detector = f"models/{_DETECTOR}"
    classifier = f"models/{_plain(card.name)}-{card.digest[:8]}.onnx"
    files = {
        **{file.name: file.read_bytes() for file in page_folder().iterdir() if file.is_file()},
        **{f"runtime/{name}": data for name, data in parts.items()},
        detector: browser_detector(),
        classifier: named.content,
        "licences.txt": _licences(card).encode(),
    }
    if about is not None:
        files[ADDRESS] = about
    config = {  # in place of the service's own
        "backend": "browser",
        "version": __version__,
        "runtime": "runtime",
        "detector": detector,
        "model": classifier,
        "bytes": len(files[classifier]) + len(files[detector]) + len(parts[_WASM]),
        "card_page": None if about is None else ADDRESS,
        "card": asdict(card),
    }
    files["config.json"] = json.dumps(config, indent=2, allow_nan=False).encode() + b"\n"
    replaced: Path | None = None
    with atomic_folder(out) as folder:
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        if out.exists():  # it goes only when the new one is whole
            replaced = out.rename(folder.with_suffix(".old"))
    if replaced is not None:
        shutil.rmtree(replaced)
    return Site(out, sum(map(len, files.values())), card)


def page_folder() -> Path:
    """The folder of the web page's files in the package."""
    return Path(str(resources.files("mien.serving"))) / "page"


def _plain(name: str) -> str:
    """A model's name as a file name that every web host serves: other characters become `-`."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name)


def _check_replaceable(out: Path) -> None:
    with writing_to(out):
        if out.is_dir() and any(out.iterdir()) and not (out / "config.json").is_file():
            raise InputError(f"{out}: holds other things than a site of mien; choose a new folder")
        if out.exists() and not out.is_dir():
            raise InputError(f"{out}: a file; give the name of a folder")


def _kept_parts(say: Say) -> dict[str, bytes]:
    """The runtime's files from the cache; downloads them if they are missing or damaged."""
    folder = cache_folder() / f"onnxruntime-web-{RUNTIME}"
    if folder.is_dir():
        try:
            return _parts(folder)
        except InputError:  # damaged
            shutil.rmtree(folder, ignore_errors=True)
    parts = _unpacked(_fetched(say), f"onnxruntime-web {RUNTIME}")
    with atomic_folder(folder, shared=True) as part:
        for name, data in parts.items():
            (part / name).write_bytes(data)
    return parts


def _parts(given: Path) -> dict[str, bytes]:
    """The runtime's files from the npm package, packed or as a folder."""
    with reading_from(str(given)):
        if not given.is_dir():
            return _unpacked(given.read_bytes(), str(given))
        folder = given / "dist" if (given / "dist").is_dir() else given
        found = {name: (folder / name).read_bytes() for name in _PARTS_SHA256}
    return _checked(found, str(given))


def _unpacked(package: bytes, where: str) -> dict[str, bytes]:
    if base64.b64encode(hashlib.sha512(package).digest()).decode() != _PACKAGE_SHA512:
        raise InputError(
            f"{where}: not the npm package onnxruntime-web {RUNTIME} (its digest differs); {_INSTEAD}"
        )
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        found = {}
        for name in _PARTS_SHA256:
            part = archive.extractfile(f"package/dist/{name}")
            found[name] = part.read() if part is not None else b""
    return _checked(found, where)


def _checked(parts: Mapping[str, bytes], where: str) -> dict[str, bytes]:
    for name, data in parts.items():
        if hashlib.sha256(data).hexdigest() != _PARTS_SHA256[name]:
            raise InputError(f"{where}: {name} is not from onnxruntime-web {RUNTIME}; {_INSTEAD}")
    return dict(parts)


def _fetched(say: Say) -> bytes:
    registry = _registry()
    address = f"{registry.rstrip('/')}/{_PACKAGE}"
    if not address.startswith("https://"):
        raise InputError(f"npm's registry {registry} does not use https; {_INSTEAD}")
    say(f"fetching onnxruntime-web {RUNTIME} (33 MB, once) from {registry}")
    return fetched(address, f"onnxruntime-web {RUNTIME} from {registry}", _INSTEAD)


def _registry() -> str:
    """The registry of npm's settings, if there are any; else the public one."""
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if named := os.environ.get(name):
            return named
    npm = shutil.which("npm")
    if npm is None:
        return _REGISTRY
    try:
        asked = subprocess.run(  # noqa: S603 (fixed words)
            [npm, "config", "get", "registry"], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return _REGISTRY
    return asked.stdout.strip() or _REGISTRY


def _licences(card: ModelCard) -> str:
    template = resources.files("mien.serving").joinpath("templates/licences.txt")
    return template.read_text("utf-8").format(
        version=__version__,
        name=card.name,
        licence=card.licence,
        detector=_DETECTOR,
        runtime=RUNTIME,
        ours=importlib.metadata.distribution("mien").read_text("licenses/LICENSE") or "",
    )
