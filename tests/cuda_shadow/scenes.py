"""What mien does on a device that is not there, one scene after the other. Prints what became of each as JSON.

python scenes.py FOLDER [SCENE ...]
"""

from __future__ import annotations

import json
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import shadow
import torch

import mien
from mien import api
from mien.training import Watcher, feed, loop

torch.set_num_threads(1)
OUT = Path(sys.argv[1])
DATA = "synthetic:200"
SMALL = ["model.width=0.25", "model.depth=1", "epochs=2", "batch_size=32", "precise_norm=50"]
SCENES: dict[str, Callable[[], object]] = {}


def scene(act: Callable[[], object]) -> Callable[[], object]:
    SCENES[act.__name__] = act
    return act


class Break(Watcher):
    """Ends a training with nothing saved for it."""

    def stepped(self, moment):
        if moment.step == 5:
            raise InterruptedError


def train(name: str, recipe: str, *sets: str, device: str = "cuda", **options: object):
    options = {"watchers": [], **options}
    return mien.train(recipe, DATA, OUT / name, overrides=[*sets], device=device, **options)


@scene
def train_with_muon():
    train("muon", "mien-s", *SMALL)


@scene
def train_with_sgd_cutmix_clipping_and_balance():
    sets = ["mixing.name=cutmix", "mixing.probability=1", "clip_norm=1", "optimizer.name=sgd"]
    balance = ["objective.class_weights=balanced", "augment.noise=0.1", "augment.blur=1"]
    train("sgd", "mien-s", *SMALL, *sets, *balance, "optimizer.momentum=0.9")


@scene
def train_with_adam_and_plateau_in_float32():
    train("adam", "basic-cnn", "epochs=2", "model.width=0.25", "precision=float32")


@scene
def train_in_colour():
    train("colour", "enhanced-cnn", "epochs=1", "model.width=0.25")


@scene
def train_in_float16():
    assert train("half", "mien-s", *SMALL, "precision=float16").environment()["precision"] == (
        "float16"
    )


@scene
def fine_tune_a_share_of_the_way():
    train("share", "mien-s-robust", *SMALL, "init_share=0.4", init=OUT / "muon")


@scene
def fine_tune_frozen_and_more_slowly():
    train("frozen", "mien-s", *SMALL, "freeze_epochs=1", "optimizer.backbone_lr=0.1", init=OUT / "muon")  # fmt: skip


@scene
def evaluate_with_ten_views():
    mien.evaluate(OUT / "muon", DATA, "validation", tta="ten", device="cuda")


@scene
def evaluate_corrupted():
    api.evaluate_corrupted(OUT / "muon", DATA, "validation", device="cuda")


@scene
def teach_and_learn():
    teachers = [OUT / "muon", OUT / "sgd"]
    mien.teach(teachers, "mien-s", DATA, out=OUT / "said", views=2, overrides=SMALL, device="cuda")
    train("student", "mien-s", *SMALL, f"targets.teacher={OUT / 'said'}")


def resume(begun: str, goes_on: str) -> None:
    name = f"{begun}-{goes_on}"
    try:
        train(name, "mien-s", *SMALL, device=begun, checkpoint_every="2", watchers=[Break()])
    except InterruptedError:
        train(name, "mien-s", *SMALL, device=goes_on, resume=True)


@scene
def resume_on_the_device():
    resume("cuda", "cuda")


@scene
def resume_on_the_cpu():
    resume("cuda", "cpu")


@scene
def resume_from_the_cpu():
    resume("cpu", "cuda")


@scene
def train_on_faces_that_do_not_fit():
    plain = feed.FaceFeed.batch

    def batch(self, positions_B):
        if threading.current_thread() is threading.main_thread():
            return plain(self, positions_B)
        with shadow.Shadow():
            return plain(self, positions_B)

    feed.FaceFeed.batch = batch
    room, torch.cuda.mem_get_info = torch.cuda.mem_get_info, lambda *_: (1000, 2000)
    try:
        train("streamed", "mien-s", *SMALL)
    finally:
        torch.cuda.mem_get_info = room


@scene
def steps():
    """Operators and waits a step of the second epoch."""
    counted = {}
    plain = loop._Training._train_epoch

    def train_epoch(self):
        shadow.operators.clear()
        shadow.waits.clear()
        first = self.progress.step
        plain(self)
        taken = self.progress.step - first
        counted["operators"] = shadow.operators.total() / taken
        counted["most"] = {name: n / taken for name, n in shadow.operators.most_common(20)}
        counted["waits"] = {f"{what} {line}": n for (what, line), n in shadow.waits.items()}
        counted["steps"] = taken

    loop._Training._train_epoch = train_epoch
    loop._LOOK_EVERY = 1e9
    try:
        sets = ["batch_size=40", "epochs=2", "precise_norm=20", "select=last"]
        train(
            "steps", "mien-s", *sets, checkpoint_every="none"
        )  # or a slow machine saves meanwhile
    finally:
        loop._Training._train_epoch = plain
    return counted


@scene
def fault_of_device():
    torch.ones(3, device="cuda") + torch.ones(3)


@scene
def fault_of_index():
    torch.ones(3)[torch.tensor([0], device="cuda")]


@scene
def fault_of_generator():
    torch.rand(3, device="cuda", generator=torch.Generator())


@scene
def fault_of_numpy():
    np.asarray(torch.ones(3, device="cuda"))


def main() -> None:
    shadow.install()
    outcomes = {}
    for name in sys.argv[2:] or SCENES:
        try:
            with shadow.Shadow():
                outcomes[name] = {"result": SCENES[name]()}
        except Exception as error:
            traceback.print_exc(limit=-12)
            outcomes[name] = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main()
