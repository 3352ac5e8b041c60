"""The core works where no extra was installed, and says how to get what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

#: Import names of what the extras bring. Taking them away is quicker than an environment without.
EXTRAS = (
    "torch",
    "safetensors",
    "matplotlib",
    "sklearn",
    "scipy",
    "jinja2",
    "pyarrow",
    "pandas",
    "kagglehub",
    "torchvision",
    "timm",
    "wandb",
    "tensorboard",
    "mlflow",
    "sqlalchemy",
    "alembic",
    "onnx",
    "onnxscript",
    "av",
    "fastapi",
    "uvicorn",
    "starlette",
    "prometheus_client",
    "optuna",
    "ray",
)

WITHOUT_EXTRAS = f"""
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""

COMMAND_LINE = WITHOUT_EXTRAS + "from mien.cli import main\nsys.argv[0] = 'mien'\nmain()\n"


def run(
    code: str, *arguments: str, cwd: Path, strict: bool = False
) -> subprocess.CompletedProcess[str]:
    warnings = ("-W", "error") if strict else ()
    return subprocess.run(
        [sys.executable, *warnings, "-c", code, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        cwd=cwd,
        env=os.environ | {"MIEN_CACHE": str(cwd / "cache"), "PYTHONUTF8": "1"},
    )


@pytest.mark.parametrize(
    "module",
    ["mien", "mien.cli", "mien.data", "mien.runs", "mien.input_spec", "mien.recognise.recognizer"],
)
def test_core_imports_without_extras(module: str, tmp_path: Path) -> None:
    done = run(WITHOUT_EXTRAS + f"import {module}", cwd=tmp_path, strict=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("doctor",), ("train", "--help")], ids=" ".join)
def test_commands_work_without_extras(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(COMMAND_LINE, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_page_is_exported_without_extras(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime.tgz"
    runtime.write_bytes(b"not the package")
    done = run(COMMAND_LINE, "export-web", "--out", "site", "--runtime", str(runtime), cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "not the npm package" in " ".join(done.stderr.split())


def test_the_module_shows_what_it_has(tmp_path: Path) -> None:
    code = "import mien, pydoc; print(dir(mien)); print(pydoc.render_doc(mien))"
    done = run(WITHOUT_EXTRAS + code, cwd=tmp_path, strict=True)
    assert done.returncode == 0, done.stderr
    names, _, shown = done.stdout.partition("\n")
    assert {"Recognizer", "train", "evaluate", "__version__"} <= set(eval(names))  # noqa: S307
    assert "os" not in eval(names)  # noqa: S307
    for verb in ("predict", "load", "train", "evaluate", "export"):
        assert f"mien.{verb}(" in shown


def test_training_without_its_extra_names_the_install_command(tmp_path: Path) -> None:
    done = run(
        COMMAND_LINE, "train", "four-block-cnn", "--data", "synthetic", "--out", "run", cwd=tmp_path
    )
    assert done.returncode == 2, done.stderr
    # The terminal may wrap the sentence.
    assert "pip install 'mien[train]'" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_importing_mien_does_not_import_torch(tmp_path: Path) -> None:
    """Where torch is installed too: an import of the core stays quick."""
    done = run("import sys, mien, mien.cli, mien.data; print('torch' in sys.modules)", cwd=tmp_path)
    assert done.stdout.strip() == "False", done.stderr


def test_recognition_reports_to_nobody(tmp_path: Path) -> None:
    """ONNX Runtime, left to itself, writes an identifier into the home and sends it to its makers."""
    home = tmp_path / "home"
    home.mkdir()
    untold = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    code = "import numpy, mien; mien.Recognizer().recognize(numpy.zeros((64, 64, 3), 'uint8'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**untold, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")},
    )
    assert done.returncode == 0, done.stderr
    assert not list(home.rglob("*"))


WITHOUT_DISK_AND_NETWORK = """
import os, sys

def refuse(event, given):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "os.mkdir", "os.rename"):
        raise RuntimeError(f"{event}: {given}")
    if event == "open" and isinstance(given[2], int) and given[0] != os.devnull:
        if given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise RuntimeError(f"written: {given[0]}")

sys.dont_write_bytecode = True
sys.addaudithook(refuse)
"""


def test_recognition_writes_nothing_and_asks_nobody(tmp_path: Path) -> None:
    """As in a container with a read-only file system, while every host of weights is down."""
    photo = resources.files("mien").joinpath("serving/page/example.jpg")
    code = f"import mien; print(len(mien.Recognizer().recognize({str(photo)!r})))"
    done = run(WITHOUT_EXTRAS + WITHOUT_DISK_AND_NETWORK + code, cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr
    assert not list(tmp_path.iterdir())


def test_the_guard_of_disk_and_network_refuses(tmp_path: Path) -> None:
    for deed in ("open('here', 'w')", "import socket; socket.create_connection(('127.0.0.1', 9))"):
        done = run(WITHOUT_DISK_AND_NETWORK + deed, cwd=tmp_path)
        assert "RuntimeError" in done.stderr
