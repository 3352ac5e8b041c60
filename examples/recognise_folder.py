"""The expressions in a folder of photos, counted:  python examples/recognise_folder.py photos"""

import sys
from collections import Counter
from pathlib import Path

import mien

recognizer = mien.Recognizer()
counts = Counter(
    "uncertain" if face.uncertain else face.expression
    for photo in sorted(Path(sys.argv[1]).rglob("*.jpg"))
    for face in recognizer.recognize(photo)
)
for expression, count in counts.most_common():
    print(f"{expression:<10} {count:>5}")
