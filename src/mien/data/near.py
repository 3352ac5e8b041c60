"""Find near copies: the same photograph again, with small changes.

Changes are: mirrored, cropped or resized by a few pixels, lighter or darker, compressed again, with a watermark.
Two photographs of one person, taken a moment apart, are not copies. Pairs of faces are filtered in three steps,
each slower and stricter than the one before: global descriptors, details at the best shift, and details after
an affine alignment. Shapes below are for n faces of `_SIDE` x `_SIDE` pixels.
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

#: Thresholds of the three steps, chosen on FER-2013 and on copies made of its faces (docs/data-audit.md): the
#: cosine of two descriptors, the correlation of details at the best shift, and the correlation after alignment.
ALIKE, SHIFTED, ALIGNED = 0.77, 0.77, 0.95

#: Faces of any size are resized to this side, in pixels, before they are compared.
_SIDE = 48
#: Highest frequencies: of a descriptor, vertical plus horizontal half waves; of details, waves in each direction.
_FREQUENCIES, _DETAILED = 7, 6
#: Largest shift of details against each other, in pixels at half the side.
_SHIFT = 2
#: Faces described, and pairs of descriptors compared, at a time; they bound the memory.
_FACES_AT_A_TIME, _LIKENESSES_AT_A_TIME = 1024, 1 << 24
#: Increase it when the same faces may give other pairs; kept results of older versions are then ignored.
_VERSION = 1


def near_copies(faces: FaceView, among: FaceView) -> NDArray[np.bool_]:
    """Tell for each face whether it has an exact or near copy among others of the same store: bool (n,)."""
    pairs = near_pairs(faces.store, faces.indices, among.indices)
    return has_copy(faces.store, faces.indices, among.indices, pairs)


def near_pairs(
    store: FaceStore,
    faces: NDArray[np.int64] | None = None,
    among: NDArray[np.int64] | None = None,
    progress: Progress | None = None,
) -> Pairs:
    """Find the near copies in a store. The first of several exact copies stands for all of them.

    Args:
        store: the faces, gray or RGB, of any size; their pixels are read.
        faces, among: positions; pairs of one of `faces` and one of `among` are searched. Default: all
            faces; the time then grows with the square of their number.
        progress: called with the faces done and their total.

    Returns:
        int64 (P, 2), sorted. The result is saved in the folder of the store, if it has one, and read
        from there by the next call.
    """
    if synthetic.is_named(store.source):  # drawn faces may look alike, but none is a copy
        return NO_PAIRS
    here, there = (_representatives(store, chosen) for chosen in (faces, among))
    name = f"near-{_name(store, here, there)}.npy"
    kept = store.path / name if store.path is not None else None
    if kept is not None and (known := _read(kept)) is not None:
        return known
    progress = progress or (lambda _done, _total: None)
    found = {tuple(sorted(pair)) for pair in _search(store, here, there, progress)}
    pairs = np.array(sorted(found), np.int64).reshape(-1, 2)
    if kept is not None:
        with suppress(InputError), atomic_file(kept) as file:  # the cache may be read-only
            np.save(file, pairs)
    return pairs


def _representatives(store: FaceStore, chosen: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Replace each chosen position by that of its first exact copy in the whole store; sorted, each once."""
    identity = identities(store)
    first = np.unique(identity, return_index=True)[1]
    return np.unique(first[identity if chosen is None else identity[chosen]])


def _name(store: FaceStore, *sides: NDArray[np.int64]) -> str:
    """Hash all that the pairs depend on: the store, the positions on both sides, and `_VERSION`."""
    whole = hashlib.blake2b(f"{_VERSION} {store.fingerprint}".encode(), digest_size=8)
    for side in sides:
        whole.update(b"|" + side.tobytes())
    return whole.hexdigest()


def _read(path: Path) -> Pairs | None:
    """Read pairs from a file of the cache; None if it is missing or damaged."""
    try:
        pairs: Pairs = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    return pairs if pairs.dtype == np.int64 and pairs.shape[1:] == (2,) else None


def _search(
    store: FaceStore, faces: NDArray[np.int64], among: NDArray[np.int64], progress: Progress
) -> Iterator[tuple[int, int]]:
    """Yield the near copies of `faces` in `among`; a pair may be yielded twice."""
    there = _Described(store, among)
    within = np.array_equal(faces, among)
    step = max(1, _LIKENESSES_AT_A_TIME // max(1, len(among)))
    for start in range(0, len(faces), step):
        asked = faces[start : start + step]
        first = start if within else 0  # both sides are equal: compare each pair only once
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
    """The features of n faces, mirrored or not, that the first two steps compare; 0 for a face of one tone.

    Attributes:
        descriptors: float32 (n, 35), the lowest frequencies of each face's cosine transform without its
            mean. Each is multiplied by its frequency, because faces contain less of higher ones; then
            scaled to length 1, so that brightness and contrast do not matter.
        spectra: complex64 (n, 91), the Fourier transform of each face's details at half the side,
            faded to 0 at the border, scaled to length 1.
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
    """Scale rows to length 1; rows shorter than 1 stay as they are, because they are mostly noise."""
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1.0))


def _shifted(
    one: NDArray[np.complex64],
    i: NDArray[np.int64],
    other: NDArray[np.complex64],
    j: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Correlate the details of pairs (i in `one`, j in `other`) at their best shift: float32 (p,), -1..1.

    A shift rotates the phase of each frequency. The correlation at a shift is therefore the sum, over
    frequencies, of one spectrum times the conjugate of the other times the rotation.
    """
    best = np.empty(len(i), np.float32)
    for start in range(0, len(i), _FACES_AT_A_TIME):
        part = slice(start, start + _FACES_AT_A_TIME)
        product = one[i[part]] * other[j[part]].conj()
        best[part] = (product.view(np.float32) @ _lags()).max(axis=1)
    return best


def _aligned(store: FaceStore, one: int, other: int, mirror: bool) -> float:
    """Correlate the details of two faces, -1..1, after an affine alignment; -1 if none is found.

    Source: Evangelidis & Psarakis 2008, Parametric Image Alignment Using Enhanced Correlation
    Coefficient Maximization.
    """
    still, laid = _details(_gray(store, np.array([one, other])), 1.0, 5.0)
    still = np.ascontiguousarray(still[:, :: -1 if mirror else 1])
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-3)
    no_map = np.eye(2, 3, dtype=np.float32)
    with suppress(cv2.error):  # raised if the alignment does not converge
        found = cv2.findTransformECC(laid, still, no_map, cv2.MOTION_AFFINE, stop, np.empty(0), 1)
        return float(found[0])
    return -1.0


def _gray(store: FaceStore, faces: NDArray[np.int64]) -> NDArray[np.float32]:
    """Read faces as luma at the common size: float32 (n, `_SIDE`, `_SIDE`), 0..255."""
    pixels = np.asarray(store.read(faces), np.float32)
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
    """Keep the details of faces, float32 (n, s, s): the difference of two Gaussian blurs.

    `fine` and `coarse` are their standard deviations in pixels; `fine` 0 does not blur.
    """
    side = faces.shape[-1]
    smooth, smoother = _blur(side, fine), _blur(side, coarse)
    return np.asarray(smooth @ faces @ smooth.T - smoother @ faces @ smoother.T)


@cache
def _blur(side: int, sigma: float) -> NDArray[np.float32]:
    """The matrix, float32 (s, s), of a Gaussian blur of a line of pixels; sigma 0 gives the identity."""
    if sigma == 0:
        return np.eye(side, dtype=np.float32)
    steps = np.subtract.outer(np.arange(side), np.arange(side)) / sigma
    weights = np.exp(-(steps**2) / 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


@cache
def _waves() -> NDArray[np.float32]:
    """The cosine waves of a descriptor, float32 (35, pixels), each multiplied by its frequency."""
    count = np.arange(_FREQUENCIES + 1)
    line = np.cos(np.pi * np.outer(count, np.arange(_SIDE) + 0.5) / _SIDE)
    down, across = np.nonzero(np.triu(np.ones((len(count), len(count))))[:, ::-1])
    down, across = down[1:], across[1:]
    waves = np.einsum("k,ki,kj->kij", down + across, line[down], line[across])
    return np.asarray(waves.reshape(len(waves), -1), np.float32)


@cache
def _frequencies(side: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The frequencies of a spectrum: rows and columns in the result of `rfft2`, and the weight of each.

    Each column but the first counts twice, because `rfft2` gives only one of two mirrored frequencies.
    The weight is the root of count times frequency, because faces contain less of higher frequencies.
    """
    across, down = np.arange(_DETAILED + 1), np.arange(-_DETAILED, _DETAILED + 1)
    rows, columns = (both.ravel() for both in np.meshgrid(down, across, indexing="ij"))
    counts = np.where(columns > 0, 2, 1) * np.hypot(rows, columns)
    return rows % side, columns, np.sqrt(counts).astype(np.float32)


@cache
def _lags() -> NDArray[np.float32]:
    """The phase rotations of each shift, float32 (2 x 91, 25): real and imaginary parts alternate by row."""
    half = _SIDE // 2
    rows, columns, _ = _frequencies(half)
    down, across = (both.ravel() for both in np.mgrid[-_SHIFT : _SHIFT + 1, -_SHIFT : _SHIFT + 1])
    angle = 2 * np.pi * (np.outer(rows, down) + np.outer(columns, across)) / half
    turned = np.stack([np.cos(angle), -np.sin(angle)], axis=1)
    return turned.reshape(-1, len(down)).astype(np.float32)


@cache
def _fading(side: int) -> NDArray[np.float32]:
    """A window, float32 (s, s): 1 in the middle, falling to 0 in the outer quarter like half a cosine."""
    from_border = np.minimum(np.arange(side), np.arange(side)[::-1]) + 1
    line = np.sin(np.pi / 2 * np.minimum(1, from_border / (side // 4 + 1))) ** 2
    return np.outer(line, line).astype(np.float32)
