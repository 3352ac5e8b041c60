"""Faces found by a function of one's own:  python examples/own_detector.py photo.jpg"""

import sys

import mien


def middle(picture):
    """One face, in the middle of an RGB array (H, W, 3); a detector of yours goes here."""
    height, width = picture.shape[:2]
    side = min(height, width) / 2
    return [mien.Detection(box=((width - side) / 2, (height - side) / 2, side, side))]


for face in mien.Recognizer(detector=middle).recognize(sys.argv[1]):
    print(face.expression, round(face.probability, 2))
