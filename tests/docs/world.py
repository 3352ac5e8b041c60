"""What a page finds where it is run: a photo, a film, faces in every kind of folder, all embedded or drawn."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from mien.data.ferplus import ROWS
from mien.data.synthetic import synthetic_faces
from mien.expressions import SEVEN

ROOT = Path(__file__).parents[2]
MOODS = ("calm", "tense", "laughing")
#: Training, PublicTest and PrivateTest faces of the drawn fer2013.csv.
COUNTS = {"Training": 84, "PublicTest": 56, "PrivateTest": 42}
#: Columns of fer2013new.csv, by the names here.
_VOTED = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear")


def make(folder: Path) -> None:
    """Grace Hopper's portrait (matplotlib's, public domain) and drawn faces, as pages name them."""
    portrait = Path(importlib.util.find_spec("matplotlib").origin).parent / (
        "mpl-data/sample_data/grace_hopper.jpg"
    )
    shutil.copy(portrait, folder / "photo.jpg")
    (folder / "holiday").mkdir()
    photo = Image.open(portrait)
    for name, light in (("beach.jpg", 1.1), ("street.jpg", 0.9)):
        ImageEnhance.Brightness(photo).enhance(light).save(folder / "holiday" / name)
    _film(portrait, folder / "film.mp4")
    _photos(photo, folder / "photos")
    _csv(folder)
    _folders(folder / "faces")
    _own(folder / "mine")
    _list(folder)


def _film(portrait: Path, out: Path) -> None:
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        from pan_and_zoom import pan_and_zoom
    finally:
        sys.path.pop(0)
    pan_and_zoom(np.asarray(Image.open(portrait)), out, seconds=1)


def _photos(photo: Image.Image, folder: Path) -> None:
    """One portrait in many lights, for whoever needs whole photos in class folders."""
    number = 0
    for split, count in (("train", 60), ("test", 4)):
        for mood in MOODS:
            place = folder / split / mood
            place.mkdir(parents=True)
            for _ in range(count):
                number += 1
                lit = ImageEnhance.Brightness(photo).enhance(0.6 + 0.02 * (number % 40))
                lit.resize((256 + number, 300 + number)).save(place / f"{number}.jpg")


def _csv(folder: Path) -> None:
    """fer2013.csv and the votes of ten annotators who agree with it, PATH being another name of it."""
    rows = ["emotion,pixels,Usage"]
    votes = [
        "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    ]
    for seed, (usage, count) in enumerate(COUNTS.items()):
        for label, face in synthetic_faces(count, seed):
            said = ",".join("10" if SEVEN[label] == name else "0" for name in _VOTED)
            votes.append(f"{usage},fer{len(rows) - 1:07}.png,{said},0,0,0")
            rows.append(f"{label},{' '.join(map(str, face.ravel()))},{usage}")
    # FER+ speaks of all of FER-2013's rows, by their number; of what is not here it says nothing.
    votes += ["Training,,0,0,0,0,0,0,0,0,0,10"] * (ROWS + 1 - len(votes))
    (folder / "fer2013.csv").write_text("\n".join(rows) + "\n")
    shutil.copy(folder / "fer2013.csv", folder / "PATH")
    (folder / "fer2013new.csv").write_text("\n".join(votes) + "\n")


def _folders(folder: Path) -> None:
    for seed, (split, count) in enumerate(
        zip(("train", "validation", "test"), COUNTS.values(), strict=True)
    ):
        for number, (label, face) in enumerate(synthetic_faces(count, 10 + seed)):
            place = folder / split / SEVEN[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(face).save(place / f"{number}.png")


def _own(folder: Path) -> None:
    """Faces under somebody's own names for two of the expressions."""
    for number, (label, face) in enumerate(synthetic_faces(70, 20)):
        name = {"happy": "joy", "neutral": "calm"}.get(SEVEN[label])
        if name is not None:
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(face).save(folder / name / f"{number}.png")


def _list(folder: Path) -> None:
    """Pictures that a list.csv names, as somebody else might hand them out."""
    rows = ["file,expression,split"]
    (folder / "listed" / "pictures").mkdir(parents=True)
    for number, file in enumerate(sorted((folder / "faces").rglob("*.png"))):
        split, expression, _ = file.relative_to(folder / "faces").parts
        shutil.copy(file, folder / "listed" / "pictures" / f"{number}.png")
        rows.append(f"pictures/{number}.png,{expression},{split}")
    (folder / "listed" / "list.csv").write_text("\n".join(rows) + "\n")
