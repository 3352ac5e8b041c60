"""Networks of a person's own file: run because it was named, known by its digest, never run from a run folder."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from mien.errors import InputError, one_line, reading_from
from mien.models.networks import names
from mien.runs import RunFolder

#: Network -> sha256 of the file that registered it, of those that `import_own` ran.
_FROM: dict[str, str] = {}
#: sha256 of the files that were run.
_DONE: set[str] = set()


@dataclass(frozen=True)
class OwnFile:
    """A file with networks or recipes: its name, its content, and the content's sha256."""

    name: str
    content: bytes
    sha256: str

    @classmethod
    def read(cls, path: str | Path) -> OwnFile:
        """The file, not yet run; InputError where it cannot be read."""
        with reading_from(str(path)):
            content = Path(path).read_bytes()
        return cls(Path(path).name, content, sha256(content).hexdigest())

    def to_dict(self) -> dict[str, Any]:
        """What environment.json keeps of it."""
        return {"file": self.name, "sha256": self.sha256}


def import_own(path: str | Path, run: RunFolder | None = None) -> OwnFile:
    """Run a file that registers networks or recipes, once in a process.

    Args:
        path: the file; whatever stands in it is run.
        run: where it is given, the file is run only if it is the very one that this run was trained with.

    Raises:
        InputError: where it cannot be read or run, lies in a run folder, or is another file than the run's.
    """
    own = OwnFile.read(path)
    if RunFolder(Path(path).resolve().parent).recipe_path.exists():
        raise InputError(
            f"--import {path}: lies in a run folder, where it is a record and is not run; read it, and give "
            "a copy of yours from elsewhere"
        )
    if run is not None:
        _refuse_another(run, own)
    if own.sha256 in _DONE:
        return own
    before = set(names())
    module = types.ModuleType(f"mien_own_{own.sha256[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look themselves up there
    try:
        # The bytes whose digest was taken, so that no other ones are run.
        exec(compile(own.content, str(path), "exec"), module.__dict__)  # noqa: S102
    except Exception as error:
        sys.modules.pop(module.__name__)
        raise InputError(
            f"--import {path}: it cannot be imported ({type(error).__name__}: {one_line(error)}); mend "
            "the file, or start again if it was imported before in another state"
        ) from error
    _FROM.update(dict.fromkeys(set(names()) - before, own.sha256))
    _DONE.add(own.sha256)
    return own


def refuse_unknown(run: RunFolder) -> None:
    """InputError where a run's network comes from a file of somebody's that was not imported."""
    told = run.imported()
    if told is None:
        return
    network = run.recipe().model.name
    if network in names() and _FROM.get(network, told.get("sha256")) == told.get("sha256"):
        return
    raise InputError(
        f"{run.path}: its network is of a file, {told.get('file')}, whose copy there is a record and never "
        f"run; if you trust your own, give it: --import {told.get('file')}"
    )


def _refuse_another(run: RunFolder, own: OwnFile) -> None:
    told = run.imported()
    if told is None:
        raise InputError(f"{run.path}: was trained without --import; leave it out")
    if told.get("sha256") != own.sha256:
        raise InputError(
            f"--import {own.name}: not the file that {run.path} was trained with "
            f"({told.get('file')}, sha256 {str(told.get('sha256'))[:12]}, not {own.sha256[:12]}); "
            f"compare it with {run.imported_path}"
        )
