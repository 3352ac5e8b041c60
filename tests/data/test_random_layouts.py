"""Whatever was written is read back: random layouts, with copies, junk, odd names, and splits told in many ways."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from make_layouts import NAMES, MadeUp, encoded, write_files, write_tar, write_zip

from mien.data import SPLITS, load

Files = dict[str, bytes]

SIZE = 4
#: Two ways or more to write each expression.
ALIASES = {
    "angry": ("angry", "Anger", "ANGRY"),
    "disgust": ("disgust", "Disgusted"),
    "fear": ("fear", "Fearful", "afraid"),
    "happy": ("happy", "Happiness", "joy"),
    "sad": ("sad", "Sadness", "SAD"),
    "surprise": ("surprise", "surprised"),
    "neutral": ("neutral", "Neutral"),
}
COLUMN_SPLITS = (
    ("Training", "PublicTest", "PrivateTest"),
    ("train", "val", "test"),
    ("TRAIN", "Validation", "Test"),
    ("training", "dev", "testing"),
)
FOLDER_SPLITS = (
    ("train", "validation", "test"),
    ("Training", "Val", "TEST"),
    ("FER2013Train", "FER2013Valid", "FER2013Test"),
    ("train_set", "val_set", "test_set"),
    ("images_train", "images_val", "images_test"),
)
FILE_SPLITS = (
    ("train-00000-of-00001", "validation-00000-of-00001", "test-00000-of-00001"),
    ("fer_train", "val_0", "fer_test"),
)
JUNK: Files = {
    ".DS_Store": b"x",
    "Thumbs.db": b"\0x",
    "@eaDir/happy/1.png": b"no picture",
    "__MACOSX/train/happy/._1.png": b"no picture",
    ".thumbnails/happy/2.png": b"no picture",
    "README.md": b"# Faces\n",
    "licence.txt": b"none\n",
}
#: No letters of English, for they may spell a split or an expression; none that a path cannot hold.
ODD = st.text("äßçñ 0123456789-_()[]#%&+=@~é表情笑顔😀'\"", min_size=0, max_size=12)


@st.composite
def some_faces(draw: st.DrawFn) -> list[MadeUp]:
    """Up to 20 faces, some of them copies, with other labels and in other splits too."""
    drawn = draw(
        st.lists(
            st.tuples(st.integers(0, 9), st.integers(0, 6), st.integers(0, 2)),
            min_size=1,
            max_size=20,
        )
    )
    return [MadeUp(label, split, picture(number)) for number, label, split in drawn]


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (SIZE, SIZE), np.uint8)


@st.composite
def a_table(draw: st.DrawFn, faces: Sequence[MadeUp]) -> Files:
    """A CSV, as spreadsheets and data frames write them."""
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    spelling = draw(st.sampled_from(COLUMN_SPLITS))
    as_label: Callable[[MadeUp], str] = draw(
        st.sampled_from(
            [
                lambda face: str(face.label),
                lambda face: f"{face.label}.0",
                lambda face: ALIASES[NAMES[face.label]][1],
            ]
        )
    )
    quote = draw(st.sampled_from(["", '"']))
    columns: dict[str, Callable[[MadeUp], str]] = {
        draw(st.sampled_from(["emotion", "Label", "EXPRESSION"])): as_label,
        draw(st.sampled_from(["pixels", " Pixels"])): lambda f: " ".join(map(str, f.pixels.flat)),
        draw(st.sampled_from(["Usage", "split", "Set", "subset", "usage_type", "Usagé"])): (
            lambda face: spelling[face.split]
        ),
    }
    if draw(st.booleans()):
        columns["remark"] = lambda face: f"no. {face.label}"
    names = draw(st.permutations(list(columns)))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    rows = [names, *([columns[name](face) for name in names] for face in faces)]
    text = "".join(separator.join(f"{quote}{v}{quote}" for v in row) + end for row in rows)
    data = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))
    suffix, pack = draw(
        st.sampled_from(
            [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
        )
    )
    return {f"{draw(ODD)}faces.csv{suffix}": pack(data)}


@st.composite
def a_tree(draw: st.DrawFn, faces: Sequence[MadeUp]) -> Files:
    """Class folders, perhaps a second time somewhere below."""
    spelling = draw(st.sampled_from(FOLDER_SPLITS))
    kind = draw(st.sampled_from(["png", "bmp", "tiff"]))
    above = draw(st.sampled_from(["", "images/", "data/archive (1)/", "表情/"]))
    alias = draw(st.integers(0, 2))
    files = {}
    for number, face in enumerate(faces):
        names = ALIASES[NAMES[face.label]]
        path = f"{spelling[face.split]}/{names[alias % len(names)]}"
        files[f"{path}/{draw(ODD)}{number}.{kind}"] = encoded(face.pixels, kind)
    tree = {above + name: data for name, data in files.items()}
    if draw(st.booleans()):
        tree |= {f"{above}again/{name}": data for name, data in files.items()}
        event("a doubled tree")
    return tree


@st.composite
def some_parquet(draw: st.DrawFn, faces: Sequence[MadeUp]) -> Files:
    """One file with a column of splits, or a file for each split."""
    image = draw(st.sampled_from(["image", "img"]))
    label = draw(st.sampled_from(["label", "emotion", "labels"]))
    order = draw(st.permutations(NAMES))
    by = draw(st.sampled_from(["number", "name", "own order"]))
    whole = draw(st.booleans())
    column, spelling = (
        draw(st.sampled_from(["split", "usage"])),
        draw(st.sampled_from(COLUMN_SPLITS)),
    )

    def written(some: Sequence[MadeUp]) -> bytes:
        labels: list[object] = [face.label for face in some]
        if by == "name":
            labels = [ALIASES[NAMES[face.label]][-1] for face in some]
        elif by == "own order":
            labels = [order.index(NAMES[face.label]) for face in some]
        columns: dict[str, object] = {
            image: [{"bytes": encoded(face.pixels), "path": None} for face in some],
            label: labels,
        }
        if whole:
            columns[column] = [spelling[face.split] for face in some]
        table = pa.table(columns)
        if by == "own order":
            features = {label: {"_type": "ClassLabel", "names": order}}
            about = json.dumps({"info": {"features": features}}).encode()
            table = table.replace_schema_metadata({b"huggingface": about})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, row_group_size=3)
        return sink.getvalue().to_pybytes()

    if whole:
        return {"faces.parquet": written(faces)}
    names = draw(st.sampled_from(FILE_SPLITS))
    return {
        f"data/{names[split]}.parquet": written([face for face in faces if face.split == split])
        for split in sorted({face.split for face in faces})
    }


@st.composite
def layouts(draw: st.DrawFn) -> tuple[list[MadeUp], Files, str]:
    """Faces, the files that hold them, and what these lie in."""
    faces = draw(some_faces())
    kind = draw(st.sampled_from([a_table, a_tree, some_parquet]))
    files = draw(kind(faces))
    for name in draw(st.lists(st.sampled_from(sorted(JUNK)), unique=True)):
        files[name] = JUNK[name]
    container = draw(st.sampled_from(["folder", "zip", "tar", "tar.gz", "zip in a folder"]))
    event(f"{kind.__name__} in a {container}")
    return faces, files, container


def write(root: Path, files: Files, container: str) -> Path:
    if container == "folder":
        return write_files(root / "data", files)
    if container.startswith("zip"):
        (root / "data").mkdir()
        path = write_zip(root / "data" / "faces.zip", files)
        return path if container == "zip" else path.parent
    return write_tar(root / f"faces.{container}", files, "w:gz" if "gz" in container else "w")


@pytest.mark.usefixtures("cache")
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(layouts())
def test_what_was_written_is_read_back(layout: tuple[list[MadeUp], Files, str]) -> None:
    faces, files, container = layout
    with tempfile.TemporaryDirectory() as folder:
        store = load(write(Path(folder), files, container))

        read = Counter(
            (pixels.tobytes(), store.expressions[label], SPLITS[split])
            for pixels, label, split in zip(store.pixels, store.labels, store.splits, strict=True)
        )
        assert read == Counter(
            (face.pixels.tobytes(), NAMES[face.label], SPLITS[face.split]) for face in faces
        )
        assert len(set(store.rows.tolist())) == len(faces)
        assert store.damaged == 0
        repeats = len(faces) - len({face.pixels.tobytes() for face in faces})
        told = any("exact copies of others" in note for note in store.notes)
        assert told == (repeats > 0 and repeats >= 0.2 * len(faces))
