"""How fast mien recognises, what it takes, and how much of it is right. Beside others: `peers.py`.

    python benchmarks/recognise.py [--int8 FILE.onnx] [--data FER2013] [--rounds 3] [--seconds 10]
        [--threads 2] [--out FOLDER]

Films are made (`scenes.py`): 1, 3 and 10 people in 1280 x 720 pixels at 30 frames a second. They are
gone through as `mien predict FILM --csv ROWS` does, and with `--out` as well; opening the model is not
counted, all else is. A box of detection on every frame counts as given where the usual interval has a
box in the same frame that covers it with an intersection over union of at least 0.5.

`--int8` names what `mien export RUN --int8` wrote. With `--data` PublicTest and PrivateTest of FER-2013 are
classified as ready crops, single view.

Every measurement is a process of its own on `--threads` cores. They take turns, round after round, every
other one backwards. The best of the rounds is shown, as `timeit` does: whatever else a machine does only
makes things slower. `--out` gets recognise.md, and recognise.json with all rounds.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from parts import installed_megabytes, keep_to_cores, paced, run_part

PEOPLE = (1, 3, 10)
BATCHES = (1, 32, 256)
SIZES = (320, 640, 1280)
#: Megapixels of photos whose peak memory is looked at; 48 is the most that cameras of telephones make.
PHOTOS = (12, 48)
RATE = 30
KINDS = ("float32", "int8")
#: What becomes of a film: a table of rows alone, or an annotated copy as well.
FILMS = ("rows", "marked")
SHARED = 0.5


# The parts


def prepare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Films and faces, for all; and what they are measured on."""
    import numpy as np
    import onnxruntime
    from PIL import Image
    from scenes import Scene, write_film

    import mien
    from mien.recognise.recognizer import Recognizer

    for people in PEOPLE:
        write_film(film(folder, people), people, options.seconds, rate=RATE)
    Image.fromarray(Scene(3)(0)).save(folder / "frame.png")
    for megapixels in PHOTOS:
        width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
        picture = Image.fromarray(Scene(3)(0)).resize((width, round(width * 3 / 4)))
        picture.save(folder / f"photo-{megapixels}.jpg", quality=95)
    rng = np.random.default_rng(0)
    np.save(folder / "faces.npy", rng.integers(0, 256, (max(BATCHES), 48, 48), dtype=np.uint8))
    card = Recognizer().card
    facts: dict[str, Any] = {
        "mien": mien.__version__,
        "model": card.name,
        "processor": processor(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
    }
    if options.data:
        facts["fingerprint"] = write_crops(options.data, folder)
    return facts


def film(folder: Path, people: int) -> Path:
    return folder / f"people-{people}.mp4"


def processor() -> str:
    try:
        from mien.training.machine import processor as named
    except ModuleNotFoundError:  # without torch nobody looks further
        return platform.processor() or platform.machine()
    return named()


def write_crops(data: str, folder: Path) -> str:
    """PublicTest and PrivateTest, as any environment can read them."""
    import numpy as np

    from mien.data import load, split

    splits = split(load(data))
    for name, faces in (("PublicTest", splits.validation), ("PrivateTest", splits.test)):
        if faces is None:
            sys.exit(f"{data}: has no {name}")
        np.savez(folder / f"{name}.npz", pixels=faces.pixels(), labels=faces.labels)
    return splits.train.store.fingerprint


def measure_classifier(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Faces a second by batch; accuracy on ready crops where there are any."""
    import numpy as np

    from mien.recognise.model import FaceModel
    from mien.recognise.naming import packaged_model
    from mien.resize import fitted

    int8 = options.part == "classifier int8"
    model = FaceModel.open(options.int8 if int8 else packaged_model(), threads=options.threads)
    faces = fitted(np.load(folder / "faces.npy")[:, None], model.card.input)
    speeds = {}
    for batch in BATCHES:
        speeds[str(batch)] = batch * paced(lambda shown=faces[:batch]: model(shown))
    right = {}
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as crops:
            said = model(fitted(crops["pixels"], model.card.input)).argmax(axis=1)
            right[file.stem] = float((said == crops["labels"]).mean())
    return {"faces_per_second": speeds, "accuracy": right}


def measure_detection(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds for a 720p frame of three people, by detector size."""
    from mien.recognise.pictures import read_picture
    from mien.recognise.yunet import YuNet

    picture = read_picture(folder / "frame.png")
    times = {}
    for size in SIZES:
        detector = YuNet(size=size)
        times[str(size)] = 1000 / paced(lambda look=detector: look(picture))
    return {"milliseconds": times}


def measure_film(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Frames a second of `mien predict`, to rows alone or with the annotated copy."""
    from mien.allocator import peak_memory
    from mien.recognise.film import recognise_film
    from mien.recognise.media import Item
    from mien.recognise.recognizer import Recognizer
    from mien.recognise.rows import RowFile

    _, people, kind = options.part.split()
    source = film(folder, int(people))
    recognizer = Recognizer(threads=options.threads)
    recognizer.recognize(folder / "frame.png")
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "marked.mp4" if kind == "marked" else None
        started, worked = time.perf_counter(), time.process_time()
        with RowFile(Path(scratch) / "rows.csv", recognizer.card.expressions) as rows:
            item = Item("video", str(source), source.name)
            done = recognise_film(item, recognizer, rows=[rows.write], copy=copy)
        seconds, work = time.perf_counter() - started, time.process_time() - worked
    return {
        "frames_per_second": done.frames / seconds,
        "processor_milliseconds": 1000 * work / done.frames,
        "frames": done.frames,
        "looked_at": done.looked_at,
        "tracks": len(done.faces),
        "peak_megabytes": peak_memory() / 1e6,
    }


def measure_boxes(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Of the boxes of detection on every frame: the share that the usual interval gives as well."""
    from mien.recognise.recognizer import Recognizer
    from mien.recognise.stream import follow, usual_interval
    from mien.recognise.video import VideoReader

    recognizer = Recognizer(threads=options.threads)

    def boxes(people: int, every: int | None) -> Iterator[list[Any]]:
        with VideoReader(film(folder, people)) as movie:
            for _, faces in follow(
                movie, recognizer.for_films().recognize, every=every or usual_interval(movie)
            ):
                yield [face.box for face in faces]

    shares = {}
    for people in PEOPLE:
        given = total = 0
        pairs = zip(boxes(people, 1), boxes(people, None), strict=True)
        for wanted, had in pairs:
            total += len(wanted)
            given += sum(any(overlap(one, other) >= SHARED for other in had) for one in wanted)
        expected = people * round(options.seconds * RATE)
        shares[str(people)] = {"given": given / total, "for_each_face": total / expected}
    return {"boxes": shares}


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    common = 1.0
    for axis in (0, 1):
        ends = min(one[axis] + one[axis + 2], other[axis] + other[axis + 2])
        common *= max(0.0, ends - max(one[axis], other[axis]))
    return common / (one[2] * one[3] + other[2] * other[3] - common)


def measure_photo(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Peak memory and seconds for one photo, file to faces."""
    from mien.allocator import peak_memory
    from mien.recognise.recognizer import Recognizer

    recognizer = Recognizer(threads=options.threads)
    started = time.perf_counter()
    faces = recognizer.recognize(folder / f"photo-{options.part.split()[1]}.jpg")
    return {
        "seconds": time.perf_counter() - started,
        "faces": len(faces),
        "peak_megabytes": peak_memory() / 1e6,
    }


def measure_import(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    started = time.perf_counter()
    import mien

    imported = time.perf_counter() - started
    mien.Recognizer()
    opened = time.perf_counter() - started
    own = Path(mien.__file__).parent  # an editable installation lists none of its files
    return {
        "seconds": imported,
        "until_open_seconds": opened,
        "installed_megabytes": installed_megabytes("mien", [own]),
    }


PARTS = {
    "prepare": prepare,
    "classifier": measure_classifier,
    "detection": measure_detection,
    "film": measure_film,
    "boxes": measure_boxes,
    "photo": measure_photo,
    "import": measure_import,
}

# The frame: prepare once, measure in turns, show


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--int8", type=Path, metavar="FILE", help="an int8 model file")
    parser.add_argument("--data", metavar="PATH", help="FER-2013, for accuracies")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each speed")
    parser.add_argument("--seconds", type=float, default=10, help="length of the films")
    parser.add_argument("--threads", type=int, default=2, help="cores and threads")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for tables and figures")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_to_cores(options.threads)
    if options.part:
        measured = PARTS[options.part.split()[0]](options.folder, options)
        print(json.dumps(measured))
        return

    with tempfile.TemporaryDirectory(prefix="mien-benchmark-") as scratch:
        facts = run_part(__file__, *arguments("prepare", scratch, options))
        print("films made", file=sys.stderr)
        turns = ["import", "classifier float32", "detection"]
        turns += ["classifier int8"] if options.int8 else []
        turns += [f"film {people} {kind}" for people in PEOPLE for kind in FILMS]
        measured: dict[str, list[dict[str, Any]]] = {name: [] for name in turns}
        for number in range(options.rounds):
            for name in turns[:: 1 if number % 2 == 0 else -1]:
                measured[name].append(measure(name, scratch, options))
            print(f"round {number + 1} of {options.rounds} measured", file=sys.stderr)
        for name in ("boxes", *(f"photo {megapixels}" for megapixels in PHOTOS)):
            measured[name] = [measure(name, scratch, options)]
    results = {
        **facts,
        "threads": options.threads,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "measured": measured,
    }
    told = report(results)
    print(told)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "recognise.md").write_text(told + "\n", encoding="utf-8")
        (options.out / "recognise.json").write_text(json.dumps(results, indent=2) + "\n")


def measure(name: str, folder: str, options: argparse.Namespace) -> dict[str, Any]:
    return run_part(__file__, *arguments(name, folder, options))


def arguments(part: str, folder: str, options: argparse.Namespace) -> list[str]:
    given = ["--part", part, "--folder", folder, "--threads", str(options.threads)]
    given += ["--seconds", str(options.seconds)]
    for name in ("int8", "data"):
        value = getattr(options, name)
        given += [f"--{name}", str(value)] if value else []
    return given


def report(results: dict[str, Any]) -> str:
    """A table in Markdown: what, the figure, what is aimed at."""

    def figure(form: str, part: str, *keys: str, best: Callable[[list[float]], float] = max) -> str:
        """The best of the rounds; a dash where it was not measured."""
        values: list[Any] = []
        for turn in results["measured"].get(part, ()):
            value: Any = turn
            for key in keys:
                value = value.get(key, {})
            values += [] if value == {} else [value]
        return form.format(best(values)) if values else "-"

    def each(
        form: str, part: str, *keys: str, over: Iterable[object] = PEOPLE, best: Any = max
    ) -> str:
        """A figure for each of several; `{}` in part or keys is which."""
        told = [
            figure(form, part.format(one), *(key.format(one) for key in keys), best=best)
            for one in over
        ]
        return "-" if set(told) == {"-"} else " / ".join(told)

    def speeds(kind: str) -> str:
        return each("{:,.0f}", f"classifier {kind}", "faces_per_second", "{}", over=BATCHES)

    def accuracy(split: str) -> tuple[str, str]:
        ours, less = (figure("{:.2%}", f"classifier {k}", "accuracy", split) for k in KINDS)
        return f"{ours}, int8 {less}", ""

    people, sizes, batches = (" / ".join(map(str, of)) for of in (PEOPLE, SIZES, BATCHES))
    photos = " / ".join(map(str, PHOTOS))
    times = each("{:.1f}", "detection", "milliseconds", "{}", over=SIZES, best=min)
    given = each("{:.2%}", "boxes", "boxes", "{}", "given")
    rows = {
        f"classifier, float32, batch {batches}, faces/s": (speeds("float32"), ">= 1,000"),
        f"classifier, int8, batch {batches}, faces/s": (speeds("int8"), ">= 3,000"),
        f"detection in a 720p frame at {sizes} px, ms": (times, ""),
        f"720p film to a table, faces: {people}, frames/s": (
            each("{:.0f}", "film {} rows", "frames_per_second"), ">= 60 with 3",
        ),
        f"720p film to a table and an annotated film, faces: {people}, frames/s": (
            each("{:.0f}", "film {} marked", "frames_per_second"), ">= 30 with 3",
        ),
        "the same two with 3 faces, processor time of all threads, ms a frame": (
            each("{:.1f}", "film 3 {}", "processor_milliseconds", over=FILMS, best=min), "",
        ),
        f"looking at every frame: boxes for each face, faces: {people}": (
            each("{:.3f}", "boxes", "boxes", "{}", "for_each_face"), "",
        ),
        f"of these, at the usual interval too (IoU >= {SHARED})": (given, ">= 99 %"),
        "PublicTest, ready crops, single view": accuracy("PublicTest"),
        "PrivateTest, ready crops, single view": accuracy("PrivateTest"),
        "import, s": (figure("{:.3f}", "import", "seconds", best=min), "< 0.3"),
        "until the model is open, s": (figure("{:.2f}", "import", "until_open_seconds", best=min), ""),
        "installed with all it requires, MB": (
            figure("{:,.0f}", "import", "installed_megabytes"), "< 400",
        ),
        f"peak memory, 720p film to a table, faces: {people}, MB": (
            each("{:,.0f}", "film {} rows", "peak_megabytes"), "< 400",
        ),
        f"peak memory, 720p film to a table and an annotated film, faces: {people}, MB": (
            each("{:,.0f}", "film {} marked", "peak_megabytes"), "< 400",
        ),
        f"peak memory, a photo of {photos} megapixels, MB": (
            each("{:,.0f}", "photo {}", "peak_megabytes", over=PHOTOS), "< 400",
        ),
    }  # fmt: skip
    looked = results["measured"][f"film {PEOPLE[0]} rows"][0]
    lines = [
        f"{results['processor']}, {results['threads']} cores, Python {results['python']}, ONNX Runtime "
        f"{results['onnxruntime']}; mien {results['mien']} with `{results['model']}`; films of "
        f"{results['seconds']:g} s; the best of {results['rounds']} rounds. Default settings: detector "
        f"at 640 px on {looked['looked_at']} of {looked['frames']} frames.",
        "",
        "| | mien | aim |",
        "|---|---|---|",
        *(f"| {what} | {' | '.join(told)} |" for what, told in rows.items()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
