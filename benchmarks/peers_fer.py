"""The package `fer` at the work of `peers.py`, in an environment of its own:

    PYTHON benchmarks/peers_fer.py FOLDER THREADS

`fer` asks for all of TensorFlow; its quantised network needs the interpreter alone, so that is put in
TensorFlow's place and fer's own code runs as it is. Ready crops go to its network past its finder;
photos go through `detect_emotions` with its defaults (a Haar cascade). See `peers_node.cjs`.
"""

from __future__ import annotations

import json
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

FOLDER, THREADS = Path(sys.argv[1]), int(sys.argv[2])


def opened() -> tuple[Any, str]:
    """A `FER` on LiteRT, and its version."""
    lite = types.SimpleNamespace(
        Interpreter=lambda model_path: Interpreter(model_path=model_path, num_threads=THREADS)
    )
    for name, content in (
        ("tensorflow", {"lite": lite}),
        ("tensorflow.keras", {}),
        ("tensorflow.keras.models", {"load_model": None}),
    ):
        module = types.ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module
    import fer
    from fer.fer import FER

    return FER(), fer.__version__


def pictures(sizes: list[list[int]]) -> Iterator[np.ndarray]:
    """uint8 RGB (H, W, 3) each."""
    with (FOLDER / "pictures.bin").open("rb") as file:
        for height, width in sizes:
            content = np.frombuffer(file.read(height * width * 3), np.uint8)
            yield content.reshape(height, width, 3)


def main() -> None:
    cv2.setNumThreads(THREADS)
    recognizer, version = opened()
    order = list(recognizer._get_labels().values())
    look = json.loads((FOLDER / "pictures.json").read_text())

    def crop(picture: np.ndarray) -> list[dict[str, Any]]:
        gray = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (64, 64)).astype(np.float32)
        said = recognizer._classify_emotions(((gray / 255 - 0.5) * 2)[None])[0]
        return [{"box": [0, 0, 1, 1], "said": dict(zip(order, said.tolist(), strict=True))}]

    def photo(picture: np.ndarray) -> list[dict[str, Any]]:
        found = recognizer.detect_emotions(picture[..., ::-1].copy())
        return [{"box": [int(v) for v in one["box"]], "said": one["emotions"]} for one in found]

    answers, seconds = [], 0.0
    for picture in pictures(look["sizes"]):
        started = time.perf_counter()
        answers.append((crop if look["crops"] else photo)(picture))
        seconds += time.perf_counter() - started
    each = 1000 * seconds / max(1, len(answers))
    print(json.dumps({"version": version, "answers": answers, "milliseconds": each}))


if __name__ == "__main__":
    main()
