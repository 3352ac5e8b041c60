"""The parameters of a synthetic face: the person, the expression and the photograph.

An expression is defined only by its action units, so a model that tells these faces apart has to
find brows, lids and lips under changing heads, poses and lights, as in photographs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Hair = Literal["bald", "cropped", "parted", "fringe", "long", "curly"]

#: Action units by FACS number. Each is drawn with an intensity of 0 (relaxed) to 1 (FACS level E).
ACTION_UNITS = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    15: "lip corner depressor",
    16: "lower lip depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    25: "lips part",
    26: "jaw drop",
}

#: The action units of each expression: Ekman & Friesen, Facial Action Coding System (1978), with the
#: prototypes of their EMFACS (1983).
PROTOTYPES: Mapping[str, tuple[int, ...]] = {
    "angry": (4, 5, 7, 23),
    "disgust": (9, 15, 16),
    "fear": (1, 2, 4, 5, 20, 26),
    "happy": (6, 12),
    "sad": (1, 4, 15),
    "surprise": (1, 2, 5, 26),
    "neutral": (),
}

#: Further units that some faces show, each with its probability: the variants of the prototypes in the
#: FACS Investigator's Guide (Ekman, Friesen & Hager 2002).
VARIANTS: Mapping[str, Mapping[int, float]] = {
    "angry": {10: 0.25, 17: 0.3, 25: 0.3},
    "disgust": {4: 0.4, 10: 0.5, 17: 0.3, 25: 0.3},
    "fear": {25: 0.5},
    "happy": {25: 0.6, 26: 0.2},
    "sad": {17: 0.5, 25: 0.1},
    "surprise": {},
    "neutral": {},
}


@dataclass(frozen=True)
class FaceParameters:
    """All parameters of a picture. The ranges are those of `random_parameters`."""

    units: Mapping[int, float]  # intensity of each action unit that is not relaxed, 0 to 1
    asymmetry: float  # relative change of the intensity: + on the right, - on the left, -0.2 to 0.2
    gaze: tuple[float, float]  # direction of the eyes, x and y, each -1 to 1
    droop: float  # how far the upper lids hang, 0 to 0.35
    width: float  # half the width of the head, 0.70 to 0.86
    jaw: float  # how much the head narrows to the chin, 0.10 to 0.32
    skin: float  # tone, 75 to 225
    hair_tone: float  # 15 to 200
    hair: Hair
    brow: float  # thickness of the brows, 0.02 to 0.05
    eye: float  # size relative to the usual, 0.8 to 1.2, as with the next three
    nose: float
    mouth: float
    lips: float
    beard: float  # 0 (shaven) or 0.2 (stubble) to 0.9 (full)
    glasses: bool
    yaw: float  # radians, within 0.4
    pitch: float  # radians, within 0.25
    roll: float  # radians, within 0.3
    scale: float  # half the head's height relative to the picture's side, 0.42 to 0.52
    shift: tuple[float, float]  # of the head, relative to the side, x and y, each within 0.08
    backdrop: float  # tone, 20 to 230
    clothes: float  # tone, 20 to 230
    # Direction of the light, x and y; its length is the strength, 0 to 0.75.
    light: tuple[float, float]
    gain: float  # factor of the exposure: it brings the skin to 75 to 215
    hand: tuple[float, float] | None  # position of a hand that covers the face, x and y
    blur: float  # radius in pixels of a 48 pixel picture, 0 to 0.7
    noise: float  # standard deviation of the grain in tones, 1 to 7
    grain: int  # seed of the noise

    def unit(self, number: int, side: int = 0) -> float:
        """Intensity of an action unit on the left (-1), the right (1) or both sides (0)."""
        return self.units.get(number, 0.0) * (1.0 + side * self.asymmetry)

    @property
    def brow_tone(self) -> float:
        """The tone of the hair, limited to 0.55 of the skin's, so that brows are always visible."""
        return min(self.hair_tone, 0.55 * self.skin)

    @property
    def beard_tone(self) -> float:
        return self.skin + self.beard * (self.brow_tone - self.skin)


def random_parameters(expression: str, rng: np.random.Generator) -> FaceParameters:
    """A random person showing one of the seven expressions, photographed at random."""

    def spread(middle: float, deviation: float, limit: float) -> float:
        return middle + float(np.clip(rng.normal(0.0, deviation), -limit, limit))

    skin = float(rng.uniform(75, 225))
    bearded = rng.random() < 0.18
    yaw, pitch, roll = spread(0, 0.15, 0.4), spread(0, 0.09, 0.25), spread(0, 0.09, 0.3)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.75)
    hand = (float(rng.choice((-0.6, 0.6))), spread(0.5, 0.3, 0.6))
    return FaceParameters(
        units=_random_units(expression, rng),
        asymmetry=spread(0, 0.08, 0.2),
        gaze=(spread(0, 0.35, 1), spread(0, 0.25, 1)),
        droop=float(rng.uniform(0, 0.35)),
        width=float(rng.uniform(0.70, 0.86)),
        jaw=float(rng.uniform(0.10, 0.32)),
        skin=skin,
        hair_tone=float(rng.uniform(15, 200)) if skin > 140 else float(rng.uniform(10, 50)),
        hair=get_args(Hair)[int(rng.integers(len(get_args(Hair))))],
        brow=float(rng.uniform(0.02, 0.05)),
        eye=spread(1, 0.08, 0.2),
        nose=spread(1, 0.08, 0.2),
        mouth=spread(1, 0.08, 0.2),
        lips=spread(1, 0.1, 0.2),
        beard=float(rng.uniform(0.2, 0.9)) if bearded else 0.0,
        glasses=bool(rng.random() < 0.15),
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        scale=float(rng.uniform(0.42, 0.52)),
        shift=(spread(0, 0.03, 0.08), spread(0, 0.03, 0.08)),
        backdrop=float(rng.uniform(20, 230)),
        clothes=float(rng.uniform(20, 230)),
        light=(float(strength * np.cos(angle)), float(strength * np.sin(angle))),
        gain=float(rng.uniform(75, 215)) / skin,
        hand=hand if rng.random() < 0.06 else None,
        blur=float(rng.uniform(0, 0.7)),
        noise=float(rng.uniform(1, 7)),
        grain=int(rng.integers(2**32)),
    )


def _random_units(expression: str, rng: np.random.Generator) -> dict[int, float]:
    """Draw the expression's units around one common intensity, and all others (but 25, 26) near 0."""
    intensity = 0.3 + 0.7 * float(rng.beta(1.8, 1.0))
    # No face is perfectly relaxed; but lips (25) and jaw (26) do not open without a cause.
    stirring = [number for number in ACTION_UNITS if number not in (25, 26)]
    units = {number: max(0.0, float(rng.normal(0.0, 0.06))) for number in stirring}
    for number in PROTOTYPES[expression]:
        units[number] = intensity * float(rng.uniform(0.7, 1.0))
    for number, probability in VARIANTS[expression].items():
        if rng.random() < probability:
            units[number] = max(units.get(number, 0.0), intensity * float(rng.uniform(0.4, 1.0)))
    return units
