"""Install the built wheel without extras in a clean environment, and use it as a newcomer would.

    python tools/try_wheel.py dist

Shows that the core stands without torch, that the command works outside the checkout, and that
asking for more than was installed ends in one sentence. The environment is removed afterwards.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"


def main(folder: str) -> None:
    wheel = only_wheel(Path(folder))
    version = wheel.name.split("-")[1]
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    require("mien/py.typed" in names, "the wheel lacks py.typed: its types would be invisible")
    require(any(n.endswith("licenses/LICENSE") for n in names), "the wheel lacks its licence")
    require(
        "mien/recognise/default-licences.txt" in names,
        "the wheel lacks the notices that its model needs",
    )
    require(not any(n.startswith("tests/") for n in names), "the wheel would install the tests")
    for stem in ("default", "small"):
        require(
            f"mien/recognise/{stem}.onnx" in names,
            "the wheel lacks a model: nothing would be recognised",
        )

    with tempfile.TemporaryDirectory(prefix="mien-wheel-") as scratch:
        place = Path(scratch)
        venv.create(place / "env", with_pip=True)
        bin_folder = place / "env" / ("Scripts" if os.name == "nt" else "bin")
        python = str(bin_folder / "python")
        mien = str(bin_folder / "mien")

        def run(*command: str, expect: int = 0) -> str:
            """Run outside the checkout, so that nothing of it is imported by accident."""
            environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
            environment["MIEN_CACHE"] = str(place / "cache")
            done = subprocess.run(
                command, cwd=place, env=environment, capture_output=True, text=True, check=False
            )
            shown = " ".join(Path(part).name for part in command)
            require(
                done.returncode == expect,
                f"{shown}: exit {done.returncode}, expected {expect}\n{done.stdout}{done.stderr}",
            )
            print(f"ok  {shown}")
            return done.stdout + done.stderr

        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run(*install, "-c", str(CONSTRAINTS), str(wheel))
        said = run(python, "-c", "import mien; print(mien.__version__)").strip()
        require(said == version, f"the wheel is version {version}, the package says {said}")
        run(python, "-c", "import torch", expect=1)
        run(mien, "--help")
        run(mien, "doctor")
        advice = run(mien, "train", "four-block-cnn", "--data", "synthetic", expect=2)
        require("pip install 'mien[" in advice, f"no install command in: {advice}")
        require("Traceback" not in advice, f"a traceback in: {advice}")


def only_wheel(folder: Path) -> Path:
    wheels = sorted(folder.glob("mien-*.whl"))
    require(len(wheels) == 1, f"{folder}: {len(wheels)} wheels of mien, expected one")
    return wheels[0].resolve()


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        sys.exit(f"try_wheel: {otherwise}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
