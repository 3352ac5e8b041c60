"""The faces of a photo and their expressions:  python examples/recognise_photo.py photo.jpg"""

import sys

import mien

for face in mien.Recognizer().recognize(sys.argv[1]):
    x, y, width, height = map(round, face.box)
    guesses = ", ".join(f"{name} {probability:.0%}" for name, probability in face.top(3))
    doubt = "  (uncertain)" if face.uncertain else ""
    print(f"face of {width} x {height} pixels at {x}, {y}: {guesses}{doubt}")
