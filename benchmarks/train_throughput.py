"""How fast mien trains `four-block-cnn`, beside the plain way, on one machine in one run.

    python benchmarks/train_throughput.py [--data PATH] [--rounds 3] [--before SRC] [--json FILE]

The plain way is what tutorials show: class folders of JPEGs, PIL transforms, `DataLoader`,
float32. Its transforms do what torchvision's do, call for call (torchvision itself is not needed);
it is spared torchvision's detour over RGB, and its workers' start is not counted. It runs with
0, 1 and 2 workers, each with 1 and 2 threads. Ours is `mien.training.train`, unchanged, timed by
its own history.csv: whole epochs of training, without their validation.

Every measurement is a fresh process, so that no thread pool, allocator setting or page of memory
is passed on. They take turns, round after round, so that a busy moment of the machine hits all
alike; medians over the rounds are compared. The machine's own matrix-multiply rate is measured in
the same rounds: the ceiling under which both work. `--before` adds another state of mien by its `src`
(`git worktree add ../before COMMIT`). One round takes some two minutes of two cores; a figure to be written
down wants three.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BATCH = 64
CLASSES = 7
WARMUP_STEPS = 10
#: Epochs of ours in one measurement; the first warms up and is left out.
EPOCHS = 3
PLAIN = [f"plain, {w} workers, {t} threads" for w in (0, 1, 2) for t in (1, 2)]
OURS = ["mien", "mien, float32"]
BEFORE = "mien before"
MATMUL = "matrix multiply"
#: A forward pass, as much again for each of the gradients (of inputs, of weights); two operations
#: a multiply-add.
OPERATIONS_PER_MULTIPLY_ADD = 3 * 2


# The plain way


def plain_network() -> Any:
    from torch import nn

    layers: list[nn.Module] = []
    channels = 1
    for filters in (32, 64, 128, 256):
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters)]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
        channels = filters
    layers += [nn.Flatten(), nn.Linear(2304, 256), nn.ReLU(), nn.Dropout(0.4)]
    return nn.Sequential(*layers, nn.Linear(256, CLASSES))


class ImageFolder:
    """Class folders of images, opened and transformed one by one when asked for."""

    def __init__(self, root: Path) -> None:
        names = sorted(folder.name for folder in root.iterdir())
        self.samples = [
            (str(file), label)
            for label, name in enumerate(names)
            for file in sorted((root / name).iterdir())
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        path, label = self.samples[index]
        with open(path, "rb") as handle:  # noqa: PTH123 (as torchvision does)
            image = Image.open(handle).convert("L")
        return plain_transform(image), label


def plain_transform(image: Any) -> Any:
    """RandomHorizontalFlip, RandomRotation(10), ToTensor, Normalize([0.5], [0.5])."""
    import numpy as np
    import torch
    from PIL import Image

    if torch.rand(1) < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    angle = float(torch.empty(1).uniform_(-10, 10).item())
    image = image.rotate(angle, Image.Resampling.NEAREST, expand=False, fillcolor=0)
    tensor = torch.from_numpy(np.array(image, np.uint8, copy=True))
    tensor = tensor.view(image.size[1], image.size[0], 1).permute(2, 0, 1).contiguous()
    tensor = tensor.to(torch.get_default_dtype()).div(255)
    mean, std = torch.as_tensor([0.5]).view(-1, 1, 1), torch.as_tensor([0.5]).view(-1, 1, 1)
    return tensor.clone().sub_(mean).div_(std)


def measure_plain(workers: int, threads: int, folder: Path, seconds: float) -> dict[str, Any]:
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(threads)
    network = plain_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    criterion = torch.nn.CrossEntropyLoss()
    loader: DataLoader[Any] = DataLoader(
        ImageFolder(folder),  # type: ignore[arg-type] # torch asks for its own base class
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )

    def steps() -> Iterator[None]:
        while True:
            for images, labels in loader:
                optimizer.zero_grad()
                loss = criterion(network(images), labels)
                loss.backward()
                optimizer.step()
                loss.item()
                yield

    training = steps()
    for _ in range(WARMUP_STEPS):
        next(training)
    started = time.perf_counter()
    count = 0
    while time.perf_counter() - started < seconds:
        next(training)
        count += 1
    return {
        "images_per_second": count * BATCH / (time.perf_counter() - started),
        "parameters": sum(p.numel() for p in network.parameters()),
    }


# Ours


def measure_ours(precision: str, data: str, faces: int) -> dict[str, Any]:
    import torch

    from mien.data import load, split
    from mien.recipes import find
    from mien.runs import RunFolder
    from mien.training import override, train

    recipe = override(
        find("four-block-cnn"), [f"epochs={EPOCHS}", f"precision={precision}", "input.channels=1"]
    )
    store = load(data)
    splits = split(store, recipe.split)
    with tempfile.TemporaryDirectory() as scratch:
        run: RunFolder = train(
            recipe,
            store.faces(splits.train.indices[:faces]),
            store.faces(splits.validation.indices[:BATCH]),
            Path(scratch) / "run",
            device="cpu",
        )
        rates = [row["images_per_second"] for row in run.history()[1:]]
        environment = run.environment()
    return {
        "images_per_second": statistics.harmonic_mean(rates),
        "precision": environment["precision"],
        "threads": torch.get_num_threads(),
        "peak_bytes": environment["peak_memory_bytes"],
    }


# The ceiling


def measure_matmul() -> dict[str, Any]:
    """Operations per second of square matrix products, the best of several sizes and repeats.

    In bfloat16 only where the machine multiplies it itself: emulated, a product of this size takes minutes.
    """
    import torch

    from mien.models.device import has_bfloat16

    kinds = {"float32": torch.float32}
    if has_bfloat16(torch.device("cpu")):
        kinds["bfloat16"] = torch.bfloat16
    rates = {}
    for name, dtype in kinds.items():
        rates[name] = 0.0
        for size in (1024, 2048):
            left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
            out = torch.mm(left, right)
            for _ in range(3):
                started = time.perf_counter()
                torch.mm(left, right, out=out)
                rate = 2 * size**3 / (time.perf_counter() - started)
                rates[name] = max(rates[name], rate)
    return rates


# The frame: prepare once, measure in turns, compare


def write_folders(data: str, faces: int, folder: Path) -> dict[str, Any]:
    """The training faces as JPEGs in class folders; what a user of the plain way starts from."""
    import torch
    from PIL import Image

    from mien import models
    from mien.data import load, split
    from mien.recipes import find
    from mien.training.machine import processor

    store = load(data)
    shape = store.pixels.shape[1:]
    if shape != (1, 48, 48):
        sys.exit(f"{data}: the plain way's network takes 1x48x48 faces, these are {shape}")
    train = split(store, find("four-block-cnn").split).train
    chosen = store.faces(train.indices[:faces])
    for name in store.expressions:
        (folder / name).mkdir()
    for number, (pixels, label) in enumerate(zip(chosen.pixels(), chosen.labels, strict=True)):
        file = folder / store.expressions[label] / f"{number:06d}.jpg"
        Image.fromarray(pixels[0]).save(file, "jpeg", quality=95)
    return {
        "faces": len(chosen),
        "fingerprint": store.fingerprint,
        "multiply_adds": models.cost("four-block-cnn").multiply_adds,
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }


def run_part(name: str, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One part of the benchmark in a process of its own."""
    command = [sys.executable, __file__, "--part", name, "--folder", str(folder)]
    command += ["--data", arguments.data, "--faces", str(arguments.faces)]
    command += ["--seconds", str(arguments.seconds)]
    environment = dict(os.environ)
    if name == BEFORE:
        environment["PYTHONPATH"] = str(arguments.before.resolve())
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"train_throughput: the part {name!r} failed (see above)")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def do_part(arguments: argparse.Namespace) -> dict[str, Any]:
    name, folder = arguments.part, arguments.folder
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "prepare": lambda: write_folders(arguments.data, arguments.faces, folder),
        MATMUL: measure_matmul,
        "mien": lambda: measure_ours("auto", arguments.data, arguments.faces),
        BEFORE: lambda: measure_ours("auto", arguments.data, arguments.faces),
        "mien, float32": lambda: measure_ours("float32", arguments.data, arguments.faces),
    }
    if name in parts:
        return parts[name]()
    workers, threads = (int(word.split()[0]) for word in name.split(", ")[1:])
    return measure_plain(workers, threads, folder, arguments.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="synthetic:3200", help="any source that mien reads")
    parser.add_argument("--faces", type=int, default=3200, help="training faces to use at most")
    parser.add_argument("--rounds", type=int, default=1, help="measurements of each variant")
    parser.add_argument("--seconds", type=float, default=4, help="length of a plain measurement")
    parser.add_argument("--before", type=Path, metavar="SRC", help="another state's `src`")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(do_part(arguments)))
        return

    with tempfile.TemporaryDirectory(prefix="mien-benchmark-") as scratch:
        folder = Path(scratch)
        facts = run_part("prepare", arguments, folder)
        rounds: list[dict[str, dict[str, Any]]] = []
        for number in range(arguments.rounds):
            # Every other round runs backwards: none always follows the same neighbour.
            ours = [*OURS, BEFORE] if arguments.before else OURS
            order = [*PLAIN, *ours, MATMUL][:: 1 if number % 2 == 0 else -1]
            rounds.append({name: run_part(name, arguments, folder) for name in order})
            print(f"round {number + 1} of {arguments.rounds} measured", file=sys.stderr)
    results = compare(facts, rounds)
    show(results)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def compare(facts: dict[str, Any], rounds: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Medians, ratios of ours to each, and the share of the machine's matrix-multiply rate."""

    def median(name: str, field: str = "images_per_second") -> float:
        return float(statistics.median(turn[name][field] for turn in rounds))

    ours = [name for name in (*OURS, BEFORE) if name in rounds[0]]
    speeds = {name: median(name) for name in [*PLAIN, *ours]}
    best = max(PLAIN, key=lambda name: speeds[name])
    per_round = [
        turn["mien"]["images_per_second"] / max(turn[name]["images_per_second"] for name in PLAIN)
        for turn in rounds
    ]
    operations = facts["multiply_adds"] * OPERATIONS_PER_MULTIPLY_ADD
    ceilings = {kind: median(MATMUL, kind) for kind in rounds[0][MATMUL]}
    return {
        **facts,
        "batch": BATCH,
        "rounds": rounds,
        "images_per_second": speeds,
        "precision": rounds[0]["mien"]["precision"],
        "ratio_to": {name: speeds["mien"] / speeds[name] for name in speeds},
        "plain_at_its_best": best,
        "ratio": speeds["mien"] / speeds[best],
        "ratio_range": [min(per_round), max(per_round)],
        "matmul_operations_per_second": ceilings,
        "step_operations_per_image": operations,
        "share_of_matmul": {
            name: {kind: speeds[name] * operations / rate for kind, rate in ceilings.items()}
            for name in [*ours, best]
        },
        "peak_bytes": max(turn["mien"]["peak_bytes"] for turn in rounds),
    }


def show(results: dict[str, Any]) -> None:
    machine, rounds = results["machine"], results["rounds"]
    print(f"four-block-cnn, batch {BATCH}, {results['faces']} faces, {len(rounds)} rounds")
    print(f"{machine['processor']}, {machine['cores']} cores, torch {machine['torch']}\n")
    print(f"{'images/s':28}{'median':>9}{'lowest':>9}{'highest':>9}{'mien is':>10}")
    for name, speed in results["images_per_second"].items():
        measured = [turn[name]["images_per_second"] for turn in rounds]
        ratio = "" if name == "mien" else f"{results['ratio_to'][name]:.2f} x"
        print(f"{name:28}{speed:9.0f}{min(measured):9.0f}{max(measured):9.0f}{ratio:>10}")
    low, high = results["ratio_range"]
    print(
        f"\nmien ({results['precision']}) trains {results['ratio']:.2f} times as fast as the plain "
        f"way at its best ({results['plain_at_its_best']}); by round {low:.2f} to {high:.2f}."
    )
    rates = {kind: rate / 1e9 for kind, rate in results["matmul_operations_per_second"].items()}
    needed = results["step_operations_per_image"] / 1e6
    reached = " and ".join(f"{rate:.0f} GFLOP/s in {kind}" for kind, rate in rates.items())
    print(f"\nMatrix multiply reaches {reached}; training takes {needed:.1f} MFLOP an image.\n")
    print(f"{'share of that rate':28}" + "".join(f"{kind:>9}" for kind in rates))
    for name, shares in results["share_of_matmul"].items():
        print(f"{name:28}" + "".join(f"{share:9.0%}" for share in shares.values()))
    print(f"\nmien's training process held {results['peak_bytes'] / 1e9:.2f} GB at its peak.")


if __name__ == "__main__":
    main()
