"""Networks and recipes in a user's own file.

Such a file is run only if the user names it, and is identified by its SHA-256. The copy of it in a run folder is
never run, because run folders are shared.
"""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from mien.errors import InputError, one_line, reading_from
from mien.files import atomic_file
from mien.models.networks import names
from mien.runs import RunFolder

#: Network -> SHA-256 of the user's file that registered it.
_FROM: dict[str, str] = {}
#: SHA-256 of the files that were run in this process.
_DONE: set[str] = set()


@dataclass(frozen=True)
class OwnFile:
    """A user's file with networks or recipes: its path, its content, and the SHA-256 of the content in hex."""

    path: Path
    content: bytes
    sha256: str

    @classmethod
    def read(cls, path: str | Path) -> OwnFile:
        """Read the file without running it.

        Raises:
            InputError: the file cannot be read.
        """
        with reading_from(str(path)):
            content = Path(path).read_bytes()
        return cls(Path(path), content, sha256(content).hexdigest())

    def run(self) -> None:
        """Run the file, once in a process.

        Raises:
            InputError: its code fails.
        """
        if self.sha256 in _DONE:
            return
        before = set(names())
        module = types.ModuleType(f"mien_own_{self.sha256[:16]}")
        module.__file__ = str(self.path)
        sys.modules[module.__name__] = module  # dataclasses look up their own module there
        try:
            # Run the bytes that were hashed, not the file, which may have changed since.
            exec(compile(self.content, str(self.path), "exec"), module.__dict__)  # noqa: S102
        except Exception as error:
            sys.modules.pop(module.__name__)
            raise InputError(
                f"--import {self.path}: it cannot be imported ({type(error).__name__}: {one_line(error)}); mend "
                "the file, or start again if it was imported before in another state"
            ) from error
        _FROM.update(dict.fromkeys(set(names()) - before, self.sha256))
        _DONE.add(self.sha256)

    def keep(self, run: RunFolder) -> None:
        """Write a copy into a run folder, as a record that is never run."""
        with atomic_file(run.imported_path) as file:
            file.write(self.content)

    @property
    def notes(self) -> dict[str, Any]:
        """Its entry in a run's environment.json: file name and SHA-256, which identify the file later."""
        return {"imported": {"file": self.path.name, "sha256": self.sha256}}


def import_own(path: str | Path, run: RunFolder | None = None) -> OwnFile:
    """Run a file that registers networks or recipes, once in a process.

    Args:
        path: the file; all code in it is run.
        run: if given, the file is run only if it has the same content as the file of this run's training.

    Raises:
        InputError: the file cannot be read or run, is in a run folder, or is not the run's file.
    """
    own = OwnFile.read(path)
    if RunFolder(Path(path).resolve().parent).recipe_path.exists():
        raise InputError(
            f"--import {path}: lies in a run folder, where it is a record and is not run; read it, and give "
            "a copy of yours from elsewhere"
        )
    if run is not None:
        refuse_another_file(run, own)
    own.run()
    return own


def refuse_unknown(run: RunFolder) -> None:
    """Refuse a run whose network comes from a file that was not imported.

    Raises:
        InputError: the network is not registered, or by another file than the run's.
    """
    told = run.imported()
    if told is None:
        return
    network = run.recipe().model.name
    if network in names() and _FROM.get(network, told.get("sha256")) == told.get("sha256"):
        return
    raise InputError(
        f"{run.path}: its network is of a file, {told.get('file')}, whose copy there is a record and never "
        f"run; if you trust your own, give it: --import {told.get('file')} (to recognise with it, give the file "
        f"that `mien export {run.path} --import {told.get('file')}` writes)"
    )


def refuse_another_file(run: RunFolder, own: OwnFile) -> None:
    """Refuse a file that is not the one that a run was trained with.

    Raises:
        InputError: the run was trained without such a file, or with another one.
    """
    told = run.imported()
    if told is None:
        raise InputError(f"{run.path}: was trained without --import; leave it out")
    if told.get("sha256") != own.sha256:
        raise InputError(
            f"--import {own.path.name}: not the file that {run.path} was trained with "
            f"({told.get('file')}, sha256 {str(told.get('sha256'))[:12]}, not {own.sha256[:12]}); "
            f"compare it with {run.imported_path}"
        )
