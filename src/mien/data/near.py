"""Near copies: the same photograph once more, but not to the pixel.

Mirrored, cut or sized a few pixels differently, lighter or darker, saved again, with a watermark. Two
photographs of one person, a moment apart, are no copies. Three steps, each dearer and stricter than the one
before, lead from all pairs of faces to the copies among them. Shapes: n faces of `_SIDE` x `_SIDE` pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.callbacks import Progress
from mien.data import synthetic
from mien.data.copies import NO_PAIRS, Pairs, has_copy, identities
from mien.data.store import FaceStore, FaceView
from mien.errors import InputError
from mien.files import atomic_file
from mien.input_spec import LUMA

#: What the steps ask for, chosen on FER-2013 and on copies made of its faces (docs/data-audit.md):
#: the cosine of two descriptors, the correlation of details at the best shift, that after alignment.
ALIKE, SHIFTED, ALIGNED = 0.77, 0.77, 0.95

#: Faces of any size are compared at this one, in pixels.
_SIDE = 48
#: Frequencies of a descriptor: half waves down and across, together; and of details: waves either way.
_FREQUENCIES, _DETAILED = 7, 6
#: How far details are shifted against each other, in pixels of half the side.
_SHIFT = 2
#: Faces described, and likenesses computed, at a time.
_FACES_AT_A_TIME, _LIKENESSES_AT_A_TIME = 1024, 1 << 24
#: Counts up when the same faces may give other pairs.
_VERSION = 1


def near_copies(faces: FaceView, among: FaceView) -> NDArray[np.bool_]:
    """bool (n,): whether each face has a copy, exact or near, among others of the same store."""
    pairs = near_pairs(faces.store, faces.indices, among.indices)
    return has_copy(faces.store, faces.indices, among.indices, pairs)


def near_pairs(
    store: FaceStore,
    faces: NDArray[np.int64] | None = None,
    among: NDArray[np.int64] | None = None,
    progress: Progress | None = None,
) -> Pairs:
    """The near copies in a store. One of several exact copies stands for all of them.

    Args:
        store: gray or colour, of any size; pixels are read.
        faces, among: positions; pairs of one of `faces` and one of `among` are looked for. By default
            all of the store, which takes time that grows with the square of its size.
        progress: told now and then.

    Returns:
        int64 (P, 2), sorted. It is kept beside a store on disk; the next call for it reads it there.
    """
    if synthetic.is_named(store.source):  # each is drawn once, however alike they look
        return NO_PAIRS
    here, there = (_representatives(store, chosen) for chosen in (faces, among))
    name = f"near-{_name(store, here, there)}.npy"
    kept = store.path / name if store.path is not None else None
    if kept is not None and (known := _read(kept)) is not None:
        return known
    found = {tuple(sorted(pair)) for pair in _search(store, here, there, progress or _silence)}
    pairs = np.array(sorted(found), np.int64).reshape(-1, 2)
    if kept is not None:
        with suppress(InputError), atomic_file(kept) as file:  # a cache may be for reading only
            np.save(file, pairs)
    return pairs


def _representatives(store: FaceStore, chosen: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """The chosen positions, sorted, without all but the first of exact copies in the whole store."""
    identity = identities(store)
    first = np.unique(identity, return_index=True)[1]
    return np.unique(first[identity if chosen is None else identity[chosen]])


def _name(store: FaceStore, *sides: NDArray[np.int64]) -> str:
    """What pairs depend on: the faces on both sides, where they are, and this file."""
    whole = hashlib.blake2b(f"{_VERSION} {store.fingerprint}".encode(), digest_size=8)
    for side in sides:
        whole.update(b"|" + side.tobytes())
    return whole.hexdigest()


def _read(path: Path) -> Pairs | None:
    """The pairs in a file of the cache, or None."""
    try:
        pairs: Pairs = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    return pairs if pairs.dtype == np.int64 and pairs.shape[1:] == (2,) else None


def _silence(done: int, total: int) -> None:
    pass


def _search(
    store: FaceStore, faces: NDArray[np.int64], among: NDArray[np.int64], progress: Progress
) -> Iterator[tuple[int, int]]:
    """The near copies of `faces` in `among`; a pair may come twice."""
    there = _Described(store, among)
    within = np.array_equal(faces, among)
    step = max(1, _LIKENESSES_AT_A_TIME // max(1, len(among)))
    for start in range(0, len(faces), step):
        asked = faces[start : start + step]
        first = start if within else 0  # within one side, a pair has to be met once only
        for mirror in (False, True):
            here = _Described(store, asked, mirror)
            likeness = here.descriptors @ there.descriptors[first:].T
            i, j = np.nonzero(likeness > ALIKE)
            other = asked[i] != among[first + j]
            i, j = i[other], first + j[other]
            close = _shifted(here.spectra, i, there.spectra, j) > SHIFTED
            for a, b in zip(asked[i[close]].tolist(), among[j[close]].tolist(), strict=True):
                if _aligned(store, a, b, mirror) > ALIGNED:
                    yield a, b
        progress(min(start + step, len(faces)), len(faces))


class _Described:
    """What the first two steps compare of n faces, mirrored or not. All zeros for a face of one tone.

    Attributes:
        descriptors: float32 (n, 35), the lowest frequencies of each face's cosine transform but for its
            mean, each times its frequency (faces have the less of one the higher it is), scaled to
            length 1: light and contrast do not matter.
        spectra: complex64 (n, 91), the Fourier transform of each face's details at half the side,
            faded out towards the border, scaled to length 1.
    """

    def __init__(self, store: FaceStore, faces: NDArray[np.int64], mirror: bool = False) -> None:
        half = _SIDE // 2
        self.descriptors = np.empty((len(faces), len(_waves())), np.float32)
        self.spectra = np.empty((len(faces), len(_lags()) // 2), np.complex64)
        for start in range(0, len(faces), _FACES_AT_A_TIME):
            part = slice(start, start + _FACES_AT_A_TIME)
            gray = _gray(store, faces[part])[..., :: -1 if mirror else 1]
            self.descriptors[part] = _unit(gray.reshape(len(gray), -1) @ _waves().T)
            small = gray.reshape(-1, half, 2, half, 2).mean(axis=(2, 4))
            waves = np.fft.rfft2(_details(small, 0.0, 3.0) * _fading(half))
            rows, columns, weights = _frequencies(half)
            self.spectra[part] = _unit(waves[:, rows, columns] * weights)


def _unit(values: NDArray[Any]) -> NDArray[Any]:
    """Rows scaled to length 1, but for those that are next to nothing."""
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1.0))


def _shifted(
    one: NDArray[np.complex64],
    i: NDArray[np.int64],
    other: NDArray[np.complex64],
    j: NDArray[np.int64],
) -> NDArray[np.float32]:
    """float32 (p,): correlation of the details of i in `one` and j in `other` at the best shift.

    A shift turns the phase of each frequency by so much; the correlation at one is the sum over
    frequencies of the one's spectrum, times the other's conjugate, turned.
    """
    best = np.empty(len(i), np.float32)
    for start in range(0, len(i), _FACES_AT_A_TIME):
        part = slice(start, start + _FACES_AT_A_TIME)
        product = one[i[part]] * other[j[part]].conj()
        best[part] = (product.view(np.float32) @ _lags()).max(axis=1)
    return best


def _aligned(store: FaceStore, one: int, other: int, mirror: bool) -> float:
    """Correlation, -1..1, of two faces' details, one of them laid over the other by an affine map.

    Evangelidis & Psarakis 2008, Parametric Image Alignment Using Enhanced Correlation Coefficient
    Maximization. -1 where no map is found.
    """
    still, laid = _details(_gray(store, np.array([one, other])), 1.0, 5.0)
    still = np.ascontiguousarray(still[:, :: -1 if mirror else 1])
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-3)
    no_map = np.eye(2, 3, dtype=np.float32)
    with suppress(cv2.error):
        found = cv2.findTransformECC(laid, still, no_map, cv2.MOTION_AFFINE, stop, np.empty(0), 1)
        return float(found[0])
    return -1.0


def _gray(store: FaceStore, faces: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32 (n, `_SIDE`, `_SIDE`), 0..255: faces as luma, at the one size."""
    pixels = np.asarray(store.pixels[faces], np.float32)
    gray = (
        pixels[:, 0]
        if pixels.shape[1] == 1
        else np.tensordot(pixels, np.array(LUMA, np.float32), ([1], [0]))
    )
    if gray.shape[1:] != (_SIDE, _SIDE):
        size = (_SIDE, _SIDE)
        gray = np.stack([cv2.resize(face, size, interpolation=cv2.INTER_AREA) for face in gray])
    return np.asarray(gray, np.float32)


def _details(faces: NDArray[np.float32], fine: float, coarse: float) -> NDArray[np.float32]:
    """Faces, float32 (n, s, s), less what changes slowly: difference of two Gaussian blurs, in pixels."""
    side = faces.shape[-1]
    smooth, smoother = _blur(side, fine), _blur(side, coarse)
    return np.asarray(smooth @ faces @ smooth.T - smoother @ faces @ smoother.T)


@cache
def _blur(side: int, sigma: float) -> NDArray[np.float32]:
    """float32 (s, s): a Gaussian blur of a line of pixels, as a matrix; sigma 0 leaves it as it is."""
    if sigma == 0:
        return np.eye(side, dtype=np.float32)
    steps = np.subtract.outer(np.arange(side), np.arange(side)) / sigma
    weights = np.exp(-(steps**2) / 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


@cache
def _waves() -> NDArray[np.float32]:
    """float32 (35, pixels): the waves of a descriptor, each times its frequency."""
    count = np.arange(_FREQUENCIES + 1)
    line = np.cos(np.pi * np.outer(count, np.arange(_SIDE) + 0.5) / _SIDE)
    down, across = np.nonzero(np.triu(np.ones((len(count), len(count))))[:, ::-1])
    down, across = down[1:], across[1:]
    waves = np.einsum("k,ki,kj->kij", down + across, line[down], line[across])
    return np.asarray(waves.reshape(len(waves), -1), np.float32)


@cache
def _frequencies(side: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Those of a spectrum: rows and columns in the half plane that `rfft2` gives, and what each counts.

    A column but the first stands for two frequencies, mirror images of each other. The root of the
    frequency makes up for half of what faces lack of it.
    """
    across, down = np.arange(_DETAILED + 1), np.arange(-_DETAILED, _DETAILED + 1)
    rows, columns = (both.ravel() for both in np.meshgrid(down, across, indexing="ij"))
    counts = np.where(columns > 0, 2, 1) * np.hypot(rows, columns)
    return rows % side, columns, np.sqrt(counts).astype(np.float32)


@cache
def _lags() -> NDArray[np.float32]:
    """float32 (2 x 91, 25): real and imaginary parts, in turns, of how each shift turns the phases."""
    half = _SIDE // 2
    rows, columns, _ = _frequencies(half)
    down, across = (both.ravel() for both in np.mgrid[-_SHIFT : _SHIFT + 1, -_SHIFT : _SHIFT + 1])
    angle = 2 * np.pi * (np.outer(rows, down) + np.outer(columns, across)) / half
    turned = np.stack([np.cos(angle), -np.sin(angle)], axis=1)
    return turned.reshape(-1, len(down)).astype(np.float32)


@cache
def _fading(side: int) -> NDArray[np.float32]:
    """float32 (s, s): 1 in the middle, towards 0 in the last pixels at the border, as half a cosine."""
    from_border = np.minimum(np.arange(side), np.arange(side)[::-1]) + 1
    line = np.sin(np.pi / 2 * np.minimum(1, from_border / (side // 4 + 1))) ** 2
    return np.outer(line, line).astype(np.float32)
