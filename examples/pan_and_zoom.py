"""A short video made of one photo by panning and zooming, to try mien on:

python examples/pan_and_zoom.py portrait.mp4      # Grace Hopper, from matplotlib (public domain)
mien predict portrait.mp4 --out marked --timeline
"""

import math
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from mien.recognise.pictures import read_picture
from mien.recognise.video_writer import VideoWriter

SIZE = (640, 480)
#: Where in the photo the face is, as shares of its width and height.
FACE = (0.52, 0.38)


def view(photo, share):
    """What is seen of a photo at a share of the way, 0..1: around the face, nearer and farther."""
    height, width = photo.shape[:2]
    turn = 2 * math.pi * share
    scale = (1.2 - 0.2 * math.cos(turn)) * max(SIZE[0] / width, SIZE[1] / height)
    left = width * (FACE[0] + 0.08 * math.sin(turn)) - SIZE[0] / scale / 2
    top = height * (FACE[1] + 0.03 * math.sin(2 * turn)) - SIZE[1] / scale / 2
    left = min(max(left, 0), width - SIZE[0] / scale)
    top = min(max(top, 0), height - SIZE[1] / scale)
    matrix = np.array([[scale, 0, -scale * left], [0, scale, -scale * top]])
    return cv2.warpAffine(photo, matrix, SIZE, flags=cv2.INTER_CUBIC)


def pan_and_zoom(photo, out, seconds=6, rate=25):
    """Write the video: `photo` is uint8 RGB (H, W, 3)."""
    with VideoWriter(Path(out), time_base=Fraction(1, rate)) as video:
        for index in range(round(seconds * rate)):
            video.write(view(photo, index / (seconds * rate)), index / rate)


if __name__ == "__main__":
    import matplotlib

    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    pan_and_zoom(read_picture(hopper), sys.argv[1])
