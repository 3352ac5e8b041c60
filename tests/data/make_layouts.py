"""Made-up faces written in every layout that the readers know. Shares no code with the readers."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
USAGES = ("Training", "PublicTest", "PrivateTest")
FOLDERS = ("train", "validation", "test")


@dataclass(frozen=True)
class MadeUp:
    label: int
    split: int
    pixels: np.ndarray  # uint8 (H, W) or (H, W, 3)


def made_up(count: int = 42, height: int = 8, width: int = 8, seed: int = 0) -> list[MadeUp]:
    generator = np.random.default_rng(seed)
    return [
        MadeUp(n % 7, n // 7 % 3, generator.integers(0, 256, (height, width), np.uint8))
        for n in range(count)
    ]


def encoded(pixels: np.ndarray, kind: str = "png", **options: object) -> bytes:
    out = io.BytesIO()
    if kind == "png":
        options = {"compress_level": 0} | options  # noise does not compress: quick to write
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def csv_text(faces: list[MadeUp], header: str = "emotion,pixels,Usage", gap: str = "") -> str:
    names = [name.strip() for name in header.split(",")]
    lines = [header]
    for face in faces:
        fields = {
            "emotion": str(face.label),
            "pixels": gap + " ".join(map(str, face.pixels.ravel())),
            "Usage": gap + USAGES[face.split],
        }
        lines.append(",".join(fields[name] for name in names))
    return "\n".join(lines) + "\n"


def image_files(faces: list[MadeUp], *, challenge_names: bool) -> dict[str, bytes]:
    """Path -> PNG: split in the file's name (train/ and test/ only), or in three folders."""
    files = {}
    for n, face in enumerate(faces):
        if challenge_names:
            folder = "train" if face.split == 0 else "test"
            name = f"{USAGES[face.split]}_{n}.png"
        else:
            folder, name = FOLDERS[face.split], f"{n}.png"
        files[f"{folder}/{NAMES[face.label]}/{name}"] = encoded(face.pixels)
    return files


def write_files(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def class_label(names: tuple[str, ...]) -> dict[bytes, bytes]:
    """The schema metadata that Hugging Face's datasets writes."""
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def write_parquet(
    path: Path,
    faces: list[MadeUp],
    *,
    struct: bool = True,
    usage: bool = True,
    row: bool = False,
    names: tuple[str, ...] | None = None,
    text_labels: bool = False,
    row_group: int = 10,
    dictionary: bool = True,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [encoded(face.pixels) for face in faces]
    labels: list[object] = [face.label for face in faces]
    if names:
        labels = [names.index(NAMES[face.label].capitalize()) for face in faces]
    if text_labels:
        labels = [NAMES[face.label] for face in faces]
    columns: dict[str, object] = {
        "image": [{"bytes": data, "path": None} for data in images] if struct else images,
        "label": labels,
    }
    if usage:
        columns["Usage"] = [USAGES[face.split] for face in faces]
    if row:
        columns["row"] = list(range(len(faces)))
    table = pa.table(columns)
    if names:
        table = table.replace_schema_metadata(class_label(names))
    pq.write_table(table, path, row_group_size=row_group, use_dictionary=dictionary)
    return path


def _of_split(faces: list[MadeUp], split: int) -> list[MadeUp]:
    return [face for face in faces if face.split == split]


def _csv(root: Path, faces: list[MadeUp]) -> Path:
    return write_files(root, {"a.csv": csv_text(faces).encode()}) / "a.csv"


def _csv_windows(root: Path, faces: list[MadeUp]) -> Path:
    text = csv_text(faces).replace("\n", "\r\n").rstrip()
    return write_files(root, {"a.csv": b"\xef\xbb\xbf" + text.encode()}) / "a.csv"


def _icml(root: Path, faces: list[MadeUp]) -> Path:
    text = csv_text(faces, "emotion, Usage, pixels", gap=" ")
    return write_files(root, {"no_suffix": text.encode()}) / "no_suffix"


def _quoted(root: Path, faces: list[MadeUp]) -> Path:
    lines = csv_text(faces).splitlines()
    text = "\n".join(",".join(f'"{field}"' for field in line.split(",")) for line in lines)
    return write_files(root, {"a.csv": text.encode()}) / "a.csv"


def _csv_gz(root: Path, faces: list[MadeUp]) -> Path:
    return write_files(root, {"a.csv.gz": gzip.compress(csv_text(faces).encode())}) / "a.csv.gz"


def _challenge_tar(root: Path, faces: list[MadeUp]) -> Path:
    files = {"fer2013/fer2013.csv": csv_text(faces).encode(), "fer2013/README": b"hello\n"}
    return write_tar(root / "fer2013.tar.gz", files, "w:gz")


def _challenge_files(faces: list[MadeUp]) -> dict[str, bytes]:
    """What the challenge's page hands out, all of it."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as archive:
        data = csv_text(faces).encode()
        info = tarfile.TarInfo("fer2013/fer2013.csv")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    training = _of_split(faces, 0)
    return {
        "example_submission.csv": b"id,emotion\n1,0\n",
        "fer2013.tar.gz": tar.getvalue(),
        "icml_face_data.csv": csv_text(faces, "emotion, Usage, pixels", gap=" ").encode(),
        "test.csv": b"pixels\n1 2 3 4\n",
        "train.csv": csv_text(training, "emotion,pixels").encode(),
    }


def _challenge_folder(root: Path, faces: list[MadeUp]) -> Path:
    return write_files(root, _challenge_files(faces))


def _challenge_zip(root: Path, faces: list[MadeUp]) -> Path:
    return write_zip(root / "challenge.zip", _challenge_files(faces))


def _tar_in_zip(root: Path, faces: list[MadeUp]) -> Path:
    files = {"fer2013.tar.gz": _challenge_files(faces)["fer2013.tar.gz"]}
    return write_zip(root / "challenge.zip", files)


def _folder(root: Path, faces: list[MadeUp]) -> Path:
    clutter = {".DS_Store": b"x", "train/Thumbs.db": b"x", "README.md": b"Faces.\n"}
    return write_files(root, image_files(faces, challenge_names=True) | clutter)


def _images_folder(root: Path, faces: list[MadeUp]) -> Path:
    files = image_files(faces, challenge_names=False)
    files = {
        f"images/{name.replace('angry', 'ANGER').replace('happy', 'Happiness')}": data
        for name, data in files.items()
    }
    return write_files(root, files)


def _other_split_names(root: Path, faces: list[MadeUp]) -> Path:
    files = image_files(faces, challenge_names=False)
    return write_files(
        root,
        {name.replace("validation", "Val").replace("test", "TEST"): d for name, d in files.items()},
    )


def _folder_zip(root: Path, faces: list[MadeUp]) -> Path:
    files = image_files(faces, challenge_names=True)
    return write_zip(root / "archive.zip", files | {"__MACOSX/train/angry/._1.png": b"x"})


def _folder_tar(root: Path, faces: list[MadeUp]) -> Path:
    return write_tar(root / "faces.tar", image_files(faces, challenge_names=False))


def _folder_tgz(root: Path, faces: list[MadeUp]) -> Path:
    files = {f"./data/{k}": v for k, v in image_files(faces, challenge_names=False).items()}
    return write_tar(root / "faces.tgz", files, "w:gz")


def _parquet(root: Path, faces: list[MadeUp]) -> Path:
    return write_parquet(root / "a.parquet", faces, row=True)


def _parquet_shards(root: Path, faces: list[MadeUp]) -> Path:
    for split, name in enumerate(FOLDERS):
        part = _of_split(faces, split)
        half = len(part) // 2
        for shard, some in enumerate((part[:half], part[half:])):
            path = root / "data" / f"{name}-0000{shard}-of-00002.parquet"
            write_parquet(path, some, struct=False, usage=False)
    return root


def _parquet_class_names(root: Path, faces: list[MadeUp]) -> Path:
    names = tuple(sorted(name.capitalize() for name in NAMES))
    return write_parquet(root / "a.parquet", faces, names=names)


def _parquet_text_labels(root: Path, faces: list[MadeUp]) -> Path:
    return write_parquet(root / "a.parquet", faces, text_labels=True)


def _parquet_zip(root: Path, faces: list[MadeUp]) -> Path:
    data = write_parquet(root / "a.parquet", faces).read_bytes()
    return write_zip(root / "a.zip", {"faces/a.parquet": data})


#: Layout -> what writes it into a folder and returns the path to give to `load`.
LAYOUTS: dict[str, Callable[[Path, list[MadeUp]], Path]] = {
    "csv": _csv,
    "csv of Windows": _csv_windows,
    "csv quoted": _quoted,
    "icml csv": _icml,
    "csv.gz": _csv_gz,
    "challenge tar.gz": _challenge_tar,
    "challenge folder": _challenge_folder,
    "challenge zip": _challenge_zip,
    "tar.gz in a zip": _tar_in_zip,
    "class folders": _folder,
    "images folders": _images_folder,
    "other split names": _other_split_names,
    "class folders zip": _folder_zip,
    "class folders tar": _folder_tar,
    "class folders tgz": _folder_tgz,
    "parquet": _parquet,
    "parquet shards": _parquet_shards,
    "parquet class names": _parquet_class_names,
    "parquet text labels": _parquet_text_labels,
    "parquet in a zip": _parquet_zip,
}
