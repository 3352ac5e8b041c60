"""Inspect a store: counts, copies, and a picture of sample faces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mien.data.copies import Copies, count_copies
from mien.data.store import SPLITS, FaceStore
from mien.errors import quantity
from mien.expressions import Expressions
from mien.files import atomic_file


@dataclass(frozen=True)
class Inspection:
    """The figures of a store; most are those of `FaceStore`.

    Attributes:
        cache: the folder of the store; None if it is only in memory.
        images: number of faces; `channels`, `height` and `width` are the shape of each.
        counts: split -> expression -> number of faces.
        copies: exact copies among the faces.
    """

    source: str
    layout: str
    notes: tuple[str, ...]
    damaged: int
    cache: str | None
    fingerprint: str
    images: int
    channels: int
    height: int
    width: int
    expressions: Expressions
    counts: dict[str, dict[str, int]]
    copies: Copies


def inspect(store: FaceStore) -> Inspection:
    """Count the faces and the exact copies of a store. Pixels are not read.

    >>> from mien.data import load
    >>> inspect(load("synthetic:7")).counts["train"]["happy"]
    1
    """
    table = np.zeros((len(SPLITS), len(store.expressions)), np.int64)
    np.add.at(table, (store.splits, store.labels), 1)
    count, channels, height, width = store.pixels.shape
    return Inspection(
        source=store.source,
        layout=store.layout,
        notes=store.notes,
        damaged=store.damaged,
        cache=str(store.path) if store.path else None,
        fingerprint=store.fingerprint,
        images=count,
        channels=channels,
        height=height,
        width=width,
        expressions=store.expressions,
        counts={
            split: dict(zip(store.expressions, row.tolist(), strict=True))
            for split, row in zip(SPLITS, table, strict=True)
        },
        copies=count_copies(store),
    )


_FACE, _GAP, _MARGIN, _NAMES, _HEAD = 76, 6, 28, 132, 88
_PAPER, _INK, _FAINT, _BAR, _TRACK = "#fbfaf7", "#22262b", "#7a8087", "#3c6e91", "#e6e3dc"


def contact_sheet(store: FaceStore, path: Path, *, columns: int = 12, seed: int = 0) -> None:
    """Save the picture of `draw_samples`; the file appears complete or not at all.

    Args:
        store: the faces.
        path: the file; its suffix decides the format (any that Pillow writes, else PNG).
        columns: faces in each line.
        seed: seed of the random choice of faces.
    """
    sheet = draw_samples(store, columns=columns, seed=seed)
    with atomic_file(path) as file:
        sheet.save(file, format=Image.registered_extensions().get(path.suffix.lower(), "PNG"))


def draw_samples(store: FaceStore, *, columns: int = 12, seed: int = 0) -> Image.Image:
    """Draw a picture of the store: for each expression a line with its count and `columns` faces.

    The faces are chosen at random, by `seed`, from all splits. A notebook shows the picture if it is the
    last value of a cell.
    """
    expressions = store.expressions
    counts = np.bincount(store.labels, minlength=len(expressions))
    width = 2 * _MARGIN + _NAMES + columns * (_FACE + _GAP) - _GAP
    height = _HEAD + len(expressions) * (_FACE + _GAP) - _GAP + _MARGIN
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _, channels, face_height, face_width = store.pixels.shape
    kind = "gray" if channels == 1 else "colour"
    title, text, small = (ImageFont.load_default(size) for size in (22, 17, 13))
    draw.text((_MARGIN, 20), Path(store.source).name, _INK, title)
    draw.text(
        (_MARGIN, 52),
        f"{quantity(len(store), 'face')}, {face_width} x {face_height} {kind}, {store.fingerprint[:12]}",
        _FAINT,
        small,
    )
    generator = np.random.default_rng(seed)
    for label, name in enumerate(expressions):
        top = _HEAD + label * (_FACE + _GAP)
        share = counts[label] / max(1, len(store))
        draw.text((_MARGIN, top + 12), name, _INK, text)
        draw.text((_MARGIN, top + 34), f"{counts[label]:,}  ({share:.1%})", _FAINT, small)
        bar = (_MARGIN, top + 56, _MARGIN + _NAMES - 28, top + 60)
        draw.rectangle(bar, _TRACK)
        draw.rectangle((*bar[:2], bar[0] + round(share * (bar[2] - bar[0])), bar[3]), _BAR)
        members = np.flatnonzero(store.labels == label)
        chosen = generator.choice(members, min(columns, len(members)), replace=False)
        for column, index in enumerate(np.sort(chosen)):
            left = _MARGIN + _NAMES + column * (_FACE + _GAP)
            sheet.paste(_tile(store.pixels[index]), (left, top))
    return sheet


def _tile(pixels: NDArray[np.uint8]) -> Image.Image:
    """Fit a face, uint8 (C, H, W), into a square tile of `_FACE` pixels; the aspect ratio is kept."""
    face = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    tile = Image.new("RGB", (_FACE, _FACE), _TRACK)
    scale = _FACE / max(face.size)
    size = (max(1, round(face.width * scale)), max(1, round(face.height * scale)))
    face = face.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    tile.paste(face, ((_FACE - face.width) // 2, (_FACE - face.height) // 2))
    return tile
