"""The package `fer` at the work of `recognise.py`, which runs this in fer's own environment:

    FERS_PYTHON benchmarks/recognise_fer.py FOLDER THREADS

Its defaults: a Haar cascade on the whole frame, a quantised network of 64 x 64 pixels. Its code hands the
network one face at a time on one thread, whatever it is given; what the network could do in a batch and
on all threads is measured past that code. Frames are read with OpenCV, as its own `Video` does.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()

import cv2  # noqa: E402
import fer  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from fer.fer import FER  # noqa: E402

IMPORTED = time.perf_counter() - STARTED

from parts import installed_megabytes, keep_to_cores, paced, peak_megabytes  # noqa: E402

BATCHES = (1, 32, 256)
#: Seconds of each film that it is given: looking at every frame, it is not quick.
FILM_S = 2.0


def shown(faces: np.ndarray) -> np.ndarray:
    """uint8 (N, 48, 48) -> what fer makes of a face that it cut out, float32 (N, 64, 64), -1..1."""
    large = np.stack([cv2.resize(face, (64, 64)) for face in faces])
    return (large.astype(np.float32) / 255 - 0.5) * 2


def network_speed(faces: np.ndarray, threads: int) -> float:
    """Faces a second of its network in one batch of 32 on all threads, past fer's own code."""
    model = Path(fer.__file__).parent / "data" / "emotion_model_quantized.tflite"
    interpreter = tf.lite.Interpreter(model_path=str(model), num_threads=threads)
    taken = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(taken, (32, 64, 64, 1))
    interpreter.allocate_tensors()
    interpreter.set_tensor(taken, shown(faces[:32])[..., None])
    return 32 * paced(interpreter.invoke)


def film_speed(recognizer: FER, file: Path, people: int, every: int) -> tuple[float, float]:
    """Frames a second, and how many boxes it gave for each face that there is."""
    film = cv2.VideoCapture(str(file))
    most = round(FILM_S * film.get(cv2.CAP_PROP_FPS))
    frames = looked = found = 0
    started = time.perf_counter()
    while frames < most:
        read, frame = film.read()
        if not read:
            break
        if frames % every == 0:
            found += len(recognizer.detect_emotions(frame))
            looked += 1
        frames += 1
    return frames / (time.perf_counter() - started), found / (looked * people)


def main() -> None:
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    keep_to_cores(threads)
    recognizer = FER()
    opened = time.perf_counter() - STARTED
    faces = np.load(folder / "faces.npy")
    frame = cv2.imread(str(folder / "frame.png"))
    result: dict[str, Any] = {"version": fer.__version__, "import_seconds": IMPORTED}
    result["until_open_seconds"] = opened
    result["frames_per_second"], result["frames_per_second_every_third"] = {}, {}
    result["for_each_face"] = {}
    for file in sorted(folder.glob("people-*.mp4")):
        people = file.stem.split("-")[1]
        speed, share = film_speed(recognizer, file, int(people), 1)
        result["frames_per_second"][people], result["for_each_face"][people] = speed, share
        speed, _ = film_speed(recognizer, file, int(people), 3)
        result["frames_per_second_every_third"][people] = speed
    result["peak_megabytes"] = peak_megabytes()
    ready = shown(faces)
    result["faces_per_second"] = {
        str(n): n * paced(lambda n=n: recognizer._classify_emotions(ready[:n])) for n in BATCHES
    }
    result["network_faces_per_second"] = network_speed(faces, threads)
    result["detection_milliseconds"] = 1000 / paced(lambda: recognizer.find_faces(frame))
    result["accuracy"] = {}
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as crops:
            said = recognizer._classify_emotions(shown(crops["pixels"][:, 0])).argmax(axis=1)
            result["accuracy"][file.stem] = float((said == crops["labels"]).mean())
    result["installed_megabytes"] = installed_megabytes("fer")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
