"""The scripts do what they say, with the model inside the package and no torch."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
#: Grace Hopper, 512 x 600 pixels, public domain.
PHOTOS = Path(importlib.util.find_spec("matplotlib").origin).parent / "mpl-data" / "sample_data"
PHOTO = PHOTOS / "grace_hopper.jpg"


def run(name, argument):
    code = (
        "import runpy, sys; sys.modules['torch'] = None; "  # an import of it would fail
        "script = sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(EXAMPLES / name), str(argument)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_photo():
    (line,) = run("recognise_photo.py", PHOTO).splitlines()

    assert line.startswith("face of 170 x 212 pixels at 183, 120: ")
    assert line.count("%") == 3


def test_a_folder():
    lines = run("recognise_folder.py", PHOTOS).splitlines()

    assert [line.split()[-1] for line in lines] == ["1"]


def test_a_detector_of_ones_own():
    (line,) = run("own_detector.py", PHOTO).splitlines()

    assert 1 / 7 < float(line.split()[1]) <= 1


@pytest.mark.slow
def test_a_video_made_of_a_photo(tmp_path):
    run("pan_and_zoom.py", tmp_path / "portrait.mp4")

    lines = run("recognise_video.py", tmp_path / "portrait.mp4").splitlines()

    assert len(lines) == 150  # one face in each frame of six seconds, always the same
    assert {line.split("face ")[1].split()[0] for line in lines} == {"1"}
    assert [float(line.split()[0]) for line in lines] == [round(n / 25, 2) for n in range(150)]


@pytest.mark.parametrize(
    "name",
    ["recognise_photo.py", "recognise_folder.py", "own_detector.py", "recognise_video.py"],
)
def test_they_are_short(name):
    code = [line for line in (EXAMPLES / name).read_text().splitlines() if line.strip()]

    assert len(code) <= 14
