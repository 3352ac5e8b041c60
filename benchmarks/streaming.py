"""What training from a store larger than memory costs: speed, memory of the process, page cache.

    python benchmarks/streaming.py [--gigabytes 20] [--folder DIR] [--written] [--json FILE]

Makes a store of 3x224x224 faces of that size, and one that fits into memory, and measures of each,
in a process of its own: batches a second through `FaceFeed` in a shuffled order, as the loop asks
for them, and the most memory the process had; then whole steps of a training, with which the feed
has to keep up. The large store is a sparse file, which takes no room on the disk and is read as
zeros: so this measures the way from the page cache to the batch, not the disk. `--written` fills
it with noise instead, and drops it from the page cache before each measurement.

Memory is the kernel's account of the process (/proc/self/status), looked at after each batch: what
is its own (anonymous), and pages of files that it maps. Page cache is what the system holds more
than before; it gives that back to whoever needs memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHAPE = (3, 224, 224)
BATCH = 16
#: Faces of the store that is kept in memory: 0.9 GB.
SMALL = 6_000
#: Faces of a training: enough steps to see a rate, spread over the whole store.
TRAINED = 640


def make_store(folder: Path, faces: int, written: bool) -> None:
    """A store's pixels and labels in a folder: sparse, or noise."""
    import numpy as np

    with (folder / "pixels.npy").open("wb") as file:
        about = {"descr": "|u1", "fortran_order": False, "shape": (faces, *SHAPE)}
        np.lib.format.write_array_header_1_0(file, about)
        if written:
            random = np.random.default_rng(0)
            for start in range(0, faces, 1000):
                count = min(1000, faces - start)
                file.write(random.bytes(count * int(np.prod(SHAPE))))
        else:
            file.truncate(file.tell() + faces * int(np.prod(SHAPE)))
        file.flush()
        os.fsync(file.fileno())
    np.save(folder / "labels.npy", np.random.default_rng(0).integers(0, 7, faces))


def open_store(folder: Path) -> Any:
    import numpy as np

    from mien.data.store import FaceStore
    from mien.expressions import SEVEN

    labels = np.load(folder / "labels.npy")
    numbers = np.arange(len(labels))
    return FaceStore(
        pixels=np.load(folder / "pixels.npy", mmap_mode="r"),
        labels=labels,
        splits=np.zeros(len(labels), np.uint8),
        rows=numbers.astype(str),
        digests=np.stack([numbers, numbers], axis=1).astype(np.uint64),
        expressions=SEVEN,
        fingerprint="made",
        source="made",
        path=folder,
    )


def kernel(path: str, name: str) -> int:
    """A figure of /proc in bytes."""
    for line in Path(path).read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


class Memory:
    """The most that this process had, and what the page cache grew by."""

    def __init__(self) -> None:
        self.most = {"resident": 0, "anonymous": 0, "mapped": 0}
        self.cached = kernel("/proc/meminfo", "Cached")

    def look(self) -> None:
        names = {"resident": "VmRSS", "anonymous": "RssAnon", "mapped": "RssFile"}
        for mine, its in names.items():
            self.most[mine] = max(self.most[mine], kernel("/proc/self/status", its))

    def figures(self) -> dict[str, int]:
        return {**self.most, "page_cache": kernel("/proc/meminfo", "Cached") - self.cached}


def drop_cache(folder: Path) -> None:
    """Take the store out of the page cache: what was written is on the disk by now."""
    with (folder / "pixels.npy").open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_feed(folder: Path, seconds: float) -> dict[str, Any]:
    """Batches a second in a shuffled order, up to one epoch."""
    import torch

    from mien.training.feed import FaceFeed

    store = open_store(folder)
    feed = FaceFeed(store.faces(range(len(store))), torch.device("cpu"))
    order = torch.randperm(len(feed), generator=torch.Generator().manual_seed(0))
    memory = Memory()
    started = time.perf_counter()
    count = 0
    for faces_BCHW, _ in feed.batches(torch.split(order, BATCH)):
        count += len(faces_BCHW)
        memory.look()
        if time.perf_counter() - started > seconds:
            break
    took = time.perf_counter() - started
    return {
        "resident": feed.resident,
        "faces": count,
        "batches_per_second": count / BATCH / took,
        "bytes_per_second": count * store.pixels[0].nbytes / took,
        "memory": memory.figures(),
    }


def measure_training(folder: Path) -> dict[str, Any]:
    """Images a second of `mien.training.train` with a network that reads 3x224x224."""
    import numpy as np
    import torch

    from mien.input_spec import InputSpec
    from mien.training import ModelSpec, Recipe, Watcher, train

    class Looker(Watcher):
        def __init__(self) -> None:
            self.memory = Memory()

        def stepped(self, moment: Any) -> None:
            self.memory.look()

    store = open_store(folder)
    spread = np.linspace(0, len(store) - 1, TRAINED + BATCH).astype(np.int64)
    recipe = Recipe(
        name="streaming",
        model=ModelSpec("basic-cnn", {"width": 0.25}),
        input=InputSpec(channels=3, height=SHAPE[1], width=SHAPE[2]),
        epochs=2,
        batch_size=BATCH,
    )
    looker = Looker()
    # A training of a few faces would be kept in memory: the budget is that of the whole store.
    streamed = store.pixels.nbytes > 1_000_000_000
    if streamed:
        from mien.training import feed

        feed.memory_for_faces = lambda _: 0
    with tempfile.TemporaryDirectory() as scratch:
        run = train(
            recipe,
            store.faces(np.sort(np.random.default_rng(0).permutation(spread)[:TRAINED])),
            store.faces(spread[:BATCH]),
            Path(scratch) / "run",
            device="cpu",
            watchers=[looker],
        )
        rates = [row["images_per_second"] for row in run.history()]
    looker.memory.look()
    return {
        "images_per_second": rates[-1],
        "threads": torch.get_num_threads(),
        "memory": looker.memory.figures(),
    }


def run_part(name: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One measurement in a process of its own."""
    if arguments.written:
        drop_cache(folder)
    command = [sys.executable, __file__, "--part", name, "--folder", str(folder)]
    command += ["--seconds", str(arguments.seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"streaming: the part {name!r} failed (see above)")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=20, help="of the large store")
    parser.add_argument("--folder", type=Path, help="where the stores are made, then deleted")
    parser.add_argument("--written", action="store_true", help="fill the large store with noise")
    parser.add_argument("--seconds", type=float, default=60, help="length of a measurement at most")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        measured = (
            measure_feed(arguments.folder, arguments.seconds)
            if arguments.part == "feed"
            else measure_training(arguments.folder)
        )
        print(json.dumps(measured))
        return

    size = SHAPE[0] * SHAPE[1] * SHAPE[2]
    results: dict[str, Any] = {"batch": BATCH, "written": arguments.written}
    with tempfile.TemporaryDirectory(prefix="mien-streaming-", dir=arguments.folder) as scratch:
        for name, faces in (
            ("in memory", SMALL),
            ("streamed", int(arguments.gigabytes * 1e9 / size)),
        ):
            folder = Path(scratch) / name
            folder.mkdir()
            make_store(folder, faces, arguments.written)
            results[name] = {
                "faces": faces,
                "bytes": faces * size,
                "feed": run_part("feed", folder, arguments),
                "training": run_part("training", folder, arguments),
            }
    show(results)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def show(results: dict[str, Any]) -> None:
    head = ("", "GB", "speed", "own MB", "mapped MB", "most MB", "page cache MB")
    print(f"{head[0]:24}" + "".join(f"{word:>15}" for word in head[1:]))
    for name in ("in memory", "streamed"):
        for part, unit in (("feed", "batches/s"), ("training", "images/s")):
            row = results[name][part]
            speed = row[f"{unit[:-2]}_per_second"]
            memory = [
                row["memory"][key] / 1e6
                for key in ("anonymous", "mapped", "resident", "page_cache")
            ]
            cells = [f"{results[name]['bytes'] / 1e9:.1f}", f"{speed:.1f} {unit}"]
            cells += [f"{figure:,.0f}" for figure in memory]
            print(f"{part}, {name:16}" + "".join(f"{cell:>15}" for cell in cells))
    streamed, kept = (results[name]["training"] for name in ("streamed", "in memory"))
    ratio = streamed["images_per_second"] / kept["images_per_second"]
    feed = results["streamed"]["feed"]
    spare = feed["batches_per_second"] * BATCH / streamed["images_per_second"]
    print(f"\ntraining from the streamed store runs at {ratio:.2f} of its speed from memory;")
    print(
        f"the feed alone gives {feed['bytes_per_second'] / 1e9:.2f} GB/s, "
        f"{spare:.0f} times what this training takes"
    )


if __name__ == "__main__":
    main()
