"""How many photos a second `mien.predict_on_ray.recognise` does, against workers, and what Ray itself costs.

    python benchmarks/scale.py [--workers 1 2] [--photos 400] [--rounds 2] [--json FILE]

Photos are the one face that ships inside matplotlib (512x600), each at a size of its own, on this
machine's disk and, after the first round, in its page cache. The plain loop is `Recognizer` on one
thread, picture by picture, in this process; the others are jobs on a cluster of so many cores, whose
start is not counted: it is told apart. They take turns, every other round backwards; medians are shown.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: Photos in a shard: so many that a shard takes some seconds.
SHARD = 50


def write_photos(folder: Path, count: int) -> None:
    import matplotlib
    from PIL import Image

    folder.mkdir()
    sample = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(sample) as photo:
        for number in range(count):
            size = (448 + number % 128, 525 + number % 128)
            photo.resize(size).save(folder / f"{number:06d}.jpg", quality=90)


def measure_plain(folder: Path) -> float:
    """Photos a second of one recogniser on one thread."""
    import cv2

    from mien.recognise.recognizer import Recognizer

    cv2.setNumThreads(1)
    recognizer = Recognizer(threads=1)
    paths = sorted(folder.iterdir())
    recognizer.recognize(paths[0])
    started = time.perf_counter()
    for path in paths:
        recognizer.recognize(path)
    return len(paths) / (time.perf_counter() - started)


def measure_job(folder: Path, workers: int, scratch: Path) -> tuple[float, float]:
    """Photos a second of a job on warm workers, and the seconds of Ray's start and a first shard each."""
    from mien.predict_on_ray import recognise
    from mien.predict_on_ray.job import ray_cluster

    begun = time.perf_counter()
    with ray_cluster("This benchmark", workers):
        recognise(scratch.parent / "few", scratch / "warm", shard=2, workers=workers)
        started = time.perf_counter()
        found = recognise(folder, scratch / "out", shard=SHARD, workers=workers)
        took = time.perf_counter() - started
    return found.counts.pictures / took, started - begun


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = parser.parse_args()
    rates: dict[str, list[float]] = {}
    warm: list[float] = []
    with tempfile.TemporaryDirectory(prefix="mien-scale-") as place:
        folder = Path(place) / "photos"
        write_photos(folder, arguments.photos)
        write_photos(Path(place) / "few", 4 * max(arguments.workers))
        for number in range(arguments.rounds):
            for workers in [0, *arguments.workers][:: 1 if number % 2 == 0 else -1]:
                if workers == 0:
                    rates.setdefault("plain loop", []).append(measure_plain(folder))
                    continue
                with tempfile.TemporaryDirectory(dir=place) as scratch:
                    rate, seconds = measure_job(folder, workers, Path(scratch))
                rates.setdefault(f"{workers} workers", []).append(rate)
                warm.append(seconds)
            print(f"round {number + 1} of {arguments.rounds} measured", file=sys.stderr)
    results: dict[str, Any] = {
        "photos": arguments.photos,
        "shard": SHARD,
        "cores": os.cpu_count(),
        "photos_per_second": rates,
        "seconds_to_warm_workers": warm,
    }
    print(f"{'photos/s':16}{'median':>10}{'lowest':>10}{'highest':>10}")
    for name, values in rates.items():
        cells = (statistics.median(values), min(values), max(values))
        print(f"{name:16}" + "".join(f"{value:>10.1f}" for value in cells))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
