"""What ships, under which version, and that the pins cover what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import mien

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_version_has_one_source(pyproject: dict[str, Any]) -> None:
    assert "version" not in pyproject["project"]
    assert pyproject["project"]["dynamic"] == ["version"]
    source = (ROOT / pyproject["tool"]["hatch"]["version"]["path"]).read_text(encoding="utf-8")
    assert re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE) == [mien.__version__]
    assert "\nversion:" not in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_types_ship() -> None:
    assert resources.files("mien").joinpath("py.typed").is_file()


def test_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "APPENDIX: How to apply" in text


def test_pins_satisfy_every_requirement(
    pyproject: dict[str, Any], pins: dict[str, Version]
) -> None:
    project = pyproject["project"]
    extras = project["optional-dependencies"].values()
    for line in [*project["dependencies"], *(line for extra in extras for line in extra)]:
        requirement = Requirement(line)
        if requirement.name == "mien":
            continue
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} is not pinned: run make lock"
        assert pin in requirement.specifier, f"{requirement} is not met by its pin {pin}"


def test_no_requirement_keeps_newer_versions_out(pyproject: dict[str, Any]) -> None:
    """Whoever only recognises or trains can have any newer version of what mien stands on."""
    project = pyproject["project"]
    extras = (
        project["optional-dependencies"][name] for name in ("data", "report", "train", "video")
    )
    for line in [*project["dependencies"], *(line for extra in extras for line in extra)]:
        kinds = {bound.operator for bound in Requirement(line).specifier}
        assert kinds <= {">="}, f"{line}: a newer version is kept out"
    assert project["requires-python"].startswith(">=")
    assert "<" not in project["requires-python"]


def test_pins_fit_every_platform(pins: dict[str, Version]) -> None:
    assert all(version.local is None for version in pins.values())
    assert not any(name.startswith(("nvidia-", "cuda-", "triton")) for name in pins)
