"""Distillation: the probabilities of an ensemble of teachers on views of the training faces, kept in a folder.

A student is trained on exactly the same views, so that teacher and student always see the same picture
(Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent").

Shapes: N training faces, B of a batch, K expressions, U uniform numbers of a view.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mien.callbacks import Progress
from mien.data.store import FaceView
from mien.errors import InputError
from mien.expressions import Expressions
from mien.files import atomic_file, claim, read_json, refuse_another
from mien.models import load_classifier, pick_device
from mien.models.preparing import in_gray, normalise, resize
from mien.recipe import Recipe
from mien.recognise.model import FaceModel
from mien.resize import fitted
from mien.runs import RunFolder
from mien.training.augment import changed, draw_views
from mien.training.feed import FaceFeed
from mien.training.machine import autocast_type
from mien.training.seeds import Stream, stream_seed

_BATCH = 256


@dataclass(frozen=True)
class Teaching:
    """A folder of soft targets, one file for each view of all faces.

    Attributes:
        path: the folder.
        views: number of views of each face.
        seed: seed of the views; each view is drawn by (seed, number of the view).
        shape: (N, K) of each view.
    """

    path: Path
    views: int
    seed: int
    shape: tuple[int, int]

    @classmethod
    def open(cls, path: Path | str, recipe: Recipe, train: FaceView) -> Teaching:
        """Open the finished soft targets in a folder, for a student trained with `recipe` on `train`.

        Raises:
            InputError: the folder has none, they are not finished, or they were made for other faces,
                labels, augmentation or input.
        """
        folder = Path(path)
        about = finished(folder)
        refuse_another(
            str(folder),
            about,
            _made_for(recipe, train),
            "soft targets",
            "make new ones with `mien teach`, in another folder",
        )
        return cls(folder, about["views"], about["seed"], (len(train), len(train.expressions)))

    def view_of(self, epoch: int) -> int:
        """The view of an epoch, counted from 1: all views in turn, then again from the first."""
        return (epoch - 1) % self.views

    def generator(self, view: int) -> torch.Generator:
        """The random generator of a view, the same for teacher and student."""
        return torch.Generator().manual_seed(stream_seed(self.seed, Stream.VIEWS, view))

    def probabilities(self, view: int) -> NDArray[np.float16]:
        """The teachers' mean probabilities of a view: float16 (N, K), in the order of the training faces.

        Raises:
            InputError: the file of the view is missing or damaged.
        """
        path = _file(self.path, view)
        try:
            values: NDArray[np.float16] = np.load(path, allow_pickle=False)
            if values.dtype != np.float16 or values.shape != self.shape:
                raise ValueError(f"{values.dtype} {values.shape} instead of float16 {self.shape}")
            if not np.isfinite(values).all():
                raise ValueError("values that are not finite")
        except (OSError, EOFError, ValueError) as error:
            raise InputError(
                f"{path}: damaged ({error}); delete it and run the same `mien teach` again"
            ) from None
        return values


def teach(
    teachers: Sequence[RunFolder | FaceModel],
    recipe: Recipe,
    train: FaceView,
    out: Path,
    *,
    views: int,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
    notes: dict[str, Any] | None = None,
) -> Teaching:
    """Compute and write the mean probabilities of trained networks on views of the training faces.

    Views that are already in the folder are kept, so an interrupted call can be repeated to continue.

    Args:
        teachers: finished runs and open model files with the same expressions, in any order. A model file's
            probabilities are its calibrated ones.
        recipe: the student's recipe; its augmentation and input define the views.
        train: the student's training faces.
        out: the folder.
        views: number of views of each face, 1 or more.
        seed: seed of the views.
        device: of the runs and of the views: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        progress: called after each batch with the faces done and their total over all views.
        notes: further entries for teaching.json (the command, for example).

    Raises:
        InputError: `views` is below 1, a teacher has other expressions, cannot be loaded or is given twice,
            or the folder holds something else.
    """
    if views < 1:
        raise InputError(f"--views {views}: give 1 or more")
    picked = pick_device(device)
    asked = [
        _Teacher.of_model(one) if isinstance(one, FaceModel) else _Teacher.of_run(one, picked)
        for one in teachers
    ]
    for one in asked:
        _refuse_others(one, train)
    named: dict[str, str] = {}
    for one in asked:
        if one.digest in named:
            raise InputError(
                f"{one.name}: the same network as {named[one.digest]}, which would count twice; give each once"
            )
        named[one.digest] = one.name
    about = _made_for(recipe, train) | {"views": views, "seed": seed, "teachers": sorted(named)}
    names = {"names": [named[digest] for digest in sorted(named)]}
    claim(out / _ABOUT, about, "soft targets", lambda: names | (notes or {}))
    teaching = Teaching(out, views, seed, (len(train), len(train.expressions)))
    feed = FaceFeed(train, picked)
    done, total = 0, views * len(train)
    for view in range(views):
        # An interrupted call continues after its last complete view.
        if not _file(out, view).is_file():
            views_NU = draw_views(len(train), teaching.generator(view))
            said_NK = np.empty((len(train), len(train.expressions)), np.float16)
            for positions_B in torch.split(torch.arange(len(train)), _BATCH):
                faces_BCHW, _ = feed.batch(positions_B)
                unit_BCHW = changed(faces_BCHW, views_NU[positions_B], recipe.input, recipe.augment)
                said = [one.on(unit_BCHW, train) for one in asked]
                said_NK[positions_B.numpy()] = np.mean(said, axis=0)
                if progress is not None:
                    progress(done + int(positions_B[-1]) + 1, total)
            with atomic_file(_file(out, view)) as handle:
                np.save(handle, said_NK)
        done += len(train)
    return teaching


@dataclass(frozen=True)
class _Teacher:
    """A trained network that is asked about views.

    Attributes:
        name: in messages.
        digest: the SHA-256 of its weights, or of the model file.
        expressions: the columns of its answers.
        answer: its probabilities, float32 (B, K), for faces on the device, float32 (B, C, H, W) in 0..1, not
            normalised.
    """

    name: str
    digest: str
    expressions: Expressions
    answer: Callable[[torch.Tensor], NDArray[np.float32]]

    @classmethod
    def of_run(cls, run: RunFolder, device: torch.device) -> _Teacher:
        classifier = load_classifier(run, str(device))
        spec = classifier.spec
        dtype = autocast_type("auto", device, classifier.network)

        @torch.inference_mode()
        def answer(unit_BCHW: torch.Tensor) -> NDArray[np.float32]:
            gray_BCHW = in_gray(unit_BCHW, spec.channels)
            inputs_BCHW = normalise(resize(gray_BCHW, spec.height, spec.width), spec)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                logits_BK = classifier.network(inputs_BCHW)
            said_BK: NDArray[np.float32] = logits_BK.float().softmax(dim=1).cpu().numpy()
            return said_BK

        return cls(str(run.path), str(run.weights_digest()), classifier.expressions, answer)

    @classmethod
    def of_model(cls, model: FaceModel) -> _Teacher:
        card = model.card

        def answer(unit_BCHW: torch.Tensor) -> NDArray[np.float32]:
            faces_BCHW = (unit_BCHW * 255).round().to(torch.uint8).cpu().numpy()
            return model(fitted(faces_BCHW, card.input))

        return cls(card.name, card.digest, card.expressions, answer)

    def on(self, unit_BCHW: torch.Tensor, train: FaceView) -> NDArray[np.float32]:
        """Its probabilities for views, in the order of the training faces' expressions."""
        columns = [self.expressions.index(name) for name in train.expressions]
        return self.answer(unit_BCHW)[:, columns]


def _refuse_others(teacher: _Teacher, train: FaceView) -> None:
    """InputError if a teacher has other expressions than the labels of the faces."""
    if sorted(teacher.expressions) != sorted(train.expressions):
        raise InputError(
            f"{teacher.name}: this teacher knows {', '.join(teacher.expressions)}, the faces are labelled "
            f"{', '.join(train.expressions)}; give teachers of the same expressions"
        )


_ABOUT = "teaching.json"


def _file(folder: Path, view: int) -> Path:
    return folder / f"view-{view:03d}.npy"


def _made_for(recipe: Recipe, train: FaceView) -> dict[str, Any]:
    """The settings that must be equal for teachers and student, so that both see the same views."""
    return {
        "augment": dataclasses.asdict(recipe.augment),
        "input": dataclasses.asdict(recipe.input),
        "split": dataclasses.asdict(recipe.split),
        "data": {
            "fingerprint": train.store.fingerprint,
            "train": len(train),
            "order": train.order,  # a view has one row for each face
        },
        "expressions": list(train.expressions),
    }


def finished(folder: Path) -> dict[str, Any]:
    """What soft targets were made for: the content of their teaching.json.

    Raises:
        InputError: the folder has none, or they are damaged or not finished.
    """
    path = folder / _ABOUT
    if not path.exists():
        raise InputError(f"{folder}: holds no soft targets; make them with `mien teach`")
    about = read_json(path, "choose another folder")
    try:
        views, _ = int(about["views"]), int(about["seed"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error!r}); choose another folder") from None
    missing = sum(not _file(folder, view).is_file() for view in range(views))
    if missing:
        raise InputError(
            f"{folder}: {missing} of its {views} views are missing; "
            "run the same `mien teach` again to complete them"
        )
    return about
