"""What a person sees while a network trains."""

import io

import numpy as np
import pytest
from rich.console import Console

from mien.runs import RunFolder
from mien.training import ModelSpec, Moment, Recipe, TerminalWatcher

ROW = {
    "epoch": 1,
    "step": 7,
    "learning_rate": 1e-3,
    "train_loss": 1.25,
    "train_accuracy": 0.5,
    "validation_loss": 1.5,
    "validation_accuracy": 0.375,
    "gap": 0.125,
    "seconds": 2.0,
    "images_per_second": 1234.0,
}


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_on_a_terminal_and_plain_lines_elsewhere(terminal, tmp_path):
    text = io.StringIO()
    watcher = TerminalWatcher(Console(file=text, force_terminal=terminal, width=120))
    watcher.started(RunFolder(tmp_path), Recipe(name="tiny", model=ModelSpec("basic-cnn")), 350, 0)
    watcher.stepped(Moment(epoch=1, step=4, loss=1.2, accuracy=0.4, images_per_second=1200))
    watcher.epoch_ended(ROW, np.eye(7, dtype=np.int64), best=True)
    watcher.ended()
    said = text.getvalue()
    assert "tiny -> " in said
    assert "validation 1.5000 / 37.50%" in said
    assert "1,234 img/s  kept" in said
    assert ("loss 1.200  accuracy 0.400  1,200 img/s" in said) is terminal
    assert ("time left" in said) is terminal
    assert ("\x1b" in said) is terminal


def test_the_bar_starts_anew_with_every_seed(tmp_path):
    text = io.StringIO()
    watcher = TerminalWatcher(Console(file=text, force_terminal=True, width=120))
    recipe = Recipe(name="tiny", model=ModelSpec("basic-cnn"))
    for _ in range(2):
        watcher.started(RunFolder(tmp_path), recipe, 10, 0)
        watcher.stepped(Moment(1, 10, 1.0, 0.5, 100.0))
        watcher.ended()
    watcher.started(RunFolder(tmp_path), recipe, 10, 0)
    assert watcher._bar.tasks[0].completed == 0
    assert not watcher._bar.finished
    watcher.ended()
