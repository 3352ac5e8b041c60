"""15 corruptions of faces at 5 severities each: effects of cameras, codecs, hands and detectors.

Adapted from Hendrycks & Dietterich 2019, Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations (arXiv:1903.12261), whose corruptions are for photographs 224 pixels wide. Noise, blur and compression
are between their severities for 32 and for 224 pixels, so that people still recognise most faces at severity 3, and
few at severity 5. Covering and moving faces replaces their weather. Lengths are shares of the side.

Random numbers depend only on the seed, the corruption's name and the face's digest, not on the severity: with
higher severity a face is turned in the same direction, only further.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Face = NDArray[np.uint8]
"""uint8 (H, W, C), gray or RGB."""
Levels = NDArray[np.float32]
"""float32 (H, W, C), gray levels, not yet clipped to 0..255 and rounded."""

SEVERITIES = (1, 2, 3, 4, 5)

#: Top and bottom of the eyes and of the mouth in faces of FER-2013, as shares of the height.
_EYES, _MOUTH = (0.26, 0.52), (0.64, 0.92)


@dataclass(frozen=True)
class Corruption:
    """A corruption of faces.

    Attributes:
        name: its name, with dashes.
        unit: the unit of the amounts, for people.
        amounts: the amounts of severities 1 to 5.
        apply: (face, amount, generator) -> face.

    >>> face = np.full((1, 48, 48), 100, np.uint8)
    >>> darker = next(one for one in CORRUPTIONS if one.name == "darker")
    >>> int(darker(face, severity=2, digest=np.array([1, 2], np.uint64)).mean())
    50
    """

    name: str
    unit: str
    amounts: tuple[float, ...]
    apply: Callable[[Face, float, np.random.Generator], NDArray[Any]]

    def __call__(
        self, face: NDArray[np.uint8], severity: int, digest: NDArray[np.uint64], seed: int = 0
    ) -> NDArray[np.uint8]:
        """Corrupt a face.

        Args:
            face: uint8 (C, H, W), gray or RGB.
            severity: 1 to 5.
            digest: uint64 (2,), the digest of the face.
            seed: 0 or more.

        Returns:
            uint8 (C, H, W).
        """
        entropy = (seed, zlib.crc32(self.name.encode()), *digest.tolist())
        generator = np.random.default_rng(entropy)
        image = np.ascontiguousarray(face.transpose(1, 2, 0))
        changed = self.apply(image, self.amounts[severity - 1], generator).reshape(image.shape)
        levels = changed if changed.dtype == np.uint8 else np.rint(changed).clip(0, 255)
        return np.ascontiguousarray(levels.transpose(2, 0, 1), np.uint8)

    def of_all(
        self,
        faces_NCHW: NDArray[np.uint8],
        severity: int,
        digests_N2: NDArray[np.uint64],
        seed: int = 0,
    ) -> NDArray[np.uint8]:
        """Corrupt faces, uint8 (N, C, H, W), each by its own digest, uint64 (N, 2); returns the same shape."""
        return np.stack(
            [
                self(face, severity, digest, seed)
                for face, digest in zip(faces_NCHW, digests_N2, strict=True)
            ]
        )


def _gaussian_noise(face: Face, amount: float, generator: np.random.Generator) -> Levels:
    noise = generator.standard_normal(face.shape, np.float32)
    return _float(face) + np.float32(amount) * noise


def _impulse_noise(face: Face, amount: float, generator: np.random.Generator) -> Face:
    chance, white = generator.random(face.shape[:2]), generator.random(face.shape[:2]) < 0.5
    salted: Face = np.where(white, 255, 0).astype(np.uint8)[..., None]
    return np.asarray(np.where((chance < amount)[..., None], salted, face), np.uint8)


def _blur(face: Face, amount: float, _: np.random.Generator) -> NDArray[Any]:
    return cv2.GaussianBlur(_float(face), (0, 0), amount * face.shape[0])


def _motion_blur(face: Face, amount: float, generator: np.random.Generator) -> NDArray[Any]:
    """Average over a line in a random direction; its length is a share of the side."""
    angle, length = generator.uniform(0, np.pi), amount * face.shape[0]
    reach = int(np.ceil(length / 2))
    steps = np.linspace(-length / 2, length / 2, 8 * reach + 1)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    places = np.rint(reach + np.outer((np.sin(angle), np.cos(angle)), steps)).astype(int)
    np.add.at(kernel, tuple(places), 1 / len(steps))
    return cv2.filter2D(_float(face), -1, kernel, borderType=cv2.BORDER_REPLICATE)


def _jpeg(face: Face, amount: float, _: np.random.Generator) -> Face:
    buffer = io.BytesIO()
    Image.fromarray(face[..., 0] if face.shape[2] == 1 else face).save(
        buffer, "JPEG", quality=int(amount)
    )
    return np.asarray(Image.open(buffer))


def _brighter(face: Face, amount: float, _: np.random.Generator) -> Levels:
    return _float(face) + np.float32(255 * amount)


def _darker(face: Face, amount: float, _: np.random.Generator) -> Levels:
    return _float(face) * np.float32(1 - amount)


def _contrast(face: Face, amount: float, _: np.random.Generator) -> Levels:
    mean = np.float32(face.mean())
    return mean + (_float(face) - mean) * np.float32(1 - amount)


def _low_resolution(face: Face, amount: float, _: np.random.Generator) -> NDArray[Any]:
    height, width = face.shape[:2]
    small = [max(1, round(side * amount)) for side in (width, height)]
    shrunk = cv2.resize(_float(face), small, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)


def _covered(place: tuple[float, float]) -> Callable[[Face, float, np.random.Generator], Face]:
    """Make a corruption that covers a band of the height with a bar of one random gray level.

    The amount is the bar's share of the width; its middle varies by 5 % of the width.
    """

    def cover(face: Face, amount: float, generator: np.random.Generator) -> Face:
        height, width = face.shape[:2]
        level, middle = generator.integers(0, 256), 0.5 + generator.uniform(-0.05, 0.05)
        top, bottom = (round(share * height) for share in place)
        left, right = (round((middle + side * amount / 2) * width) for side in (-1, 1))
        changed = face.copy()
        changed[top:bottom, max(0, left) : max(0, right)] = level
        return changed

    return cover


def _rotation(face: Face, amount: float, generator: np.random.Generator) -> Face:
    return _moved(face, turn=amount * generator.choice((-1, 1)))


def _shift(face: Face, amount: float, generator: np.random.Generator) -> Face:
    angle = generator.uniform(0, 2 * np.pi)
    return _moved(face, shift=(amount * np.cos(angle), amount * np.sin(angle)))


def _scale(face: Face, amount: float, generator: np.random.Generator) -> Face:
    return _moved(face, zoom=amount ** generator.choice((-1, 1)))


def _crop_error(face: Face, amount: float, generator: np.random.Generator) -> Face:
    """Move, scale and turn a face by normally distributed errors, as an inaccurate face detector does."""
    right, down, larger, turn = generator.normal(size=4) * amount
    return _moved(face, shift=(right, down), zoom=float(np.exp(2 * larger)), turn=100 * turn)


def _moved(
    face: Face, *, shift: tuple[float, float] = (0, 0), zoom: float = 1, turn: float = 0
) -> Face:
    """Shift a face right and down by shares of its sides, enlarge it, turn it by degrees; borders are repeated."""
    height, width = face.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), float(turn), float(zoom))
    matrix[:, 2] += np.multiply(shift, (width, height))
    moved = cv2.warpAffine(
        face, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8)


def _float(face: Face) -> Levels:
    return face.astype(np.float32)


#: All corruptions, in the order of the tables.
CORRUPTIONS = tuple(
    Corruption(*fields)
    for fields in (
        ("gaussian-noise", "standard deviation, gray levels", (8, 13, 19, 27, 38), _gaussian_noise),
        ("impulse-noise", "share of pixels", (0.01, 0.02, 0.04, 0.07, 0.12), _impulse_noise),
        ("blur", "standard deviation, share of side", (0.011, 0.017, 0.024, 0.033, 0.045), _blur),
        ("motion-blur", "length, share of side", (0.05, 0.08, 0.12, 0.17, 0.23), _motion_blur),
        ("jpeg", "quality", (50, 30, 18, 11, 7), _jpeg),
        ("brighter", "share of white added", (0.1, 0.2, 0.3, 0.4, 0.5), _brighter),
        ("darker", "share of light lost", (0.3, 0.5, 0.65, 0.78, 0.88), _darker),
        ("contrast", "share of contrast lost", (0.3, 0.5, 0.65, 0.78, 0.88), _contrast),
        ("low-resolution", "share of side left", (0.67, 0.5, 0.4, 0.3, 0.23), _low_resolution),
        ("eyes-covered", "share of width", (0.2, 0.4, 0.6, 0.8, 1.1), _covered(_EYES)),
        ("mouth-covered", "share of width", (0.15, 0.3, 0.45, 0.6, 0.8), _covered(_MOUTH)),
        ("rotation", "degrees", (6, 12, 18, 25, 35), _rotation),
        ("shift", "share of side", (0.05, 0.09, 0.13, 0.18, 0.25), _shift),
        ("scale", "factor, or one over it", (1.08, 1.16, 1.25, 1.36, 1.5), _scale),
        ("crop-error", "share of side, sd; twice in size, degrees x 100", (0.02, 0.04, 0.06, 0.085, 0.12), _crop_error),
    )
)  # fmt: skip
