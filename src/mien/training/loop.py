"""The training loop: from faces to a run folder.

Random numbers depend only on the recipe's seed and the time: order and augmentation on (seed, epoch),
dropout and mixing on (seed, step). So a stopped training can resume exactly, without stored generator
states, and nothing but training and validation faces can influence the result. Several processes train
as one: see mien.training.distributed.

Shapes: B faces of a batch, C channels, H height, W width, K expressions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.allocator import keep_freed_memory, peak_memory
from mien.data.store import FaceView
from mien.errors import InputError, MienError, writing_to
from mien.files import alone, write_json
from mien.models import OwnFile
from mien.recipe import Recipe
from mien.runs import JUDGED_BY_PEOPLE, KEPT_EPOCH, RunFolder, worth
from mien.training import checkpoint, record
from mien.training.augment import augmented
from mien.training.distributed import Team, join
from mien.training.feed import FaceFeed
from mien.training.growing import spec_in
from mien.training.judging import Judge
from mien.training.machine import describe, peak_device_memory
from mien.training.mixing import mixed
from mien.training.objectives import build_objective
from mien.training.optim import freeze_backbone
from mien.training.parts import Parts
from mien.training.seeds import Stream, stream_seed
from mien.training.state import Tally, TrainingState
from mien.training.stopping import StoppedError, StopRequest, signals_noted
from mien.training.targets import Supervision
from mien.training.watch import Watcher

#: Seconds between two reads of the running figures; each read waits for the device.
_LOOK_EVERY = 0.5
#: Least seconds between two saves at ends of epochs: on a GPU an epoch may take less time than saving.
_WRITE_EVERY = 10.0
#: Steps between two agreements of several processes on GPUs; their steps are short, and an agreement waits.
_AGREE_EVERY = 16


def train(
    recipe: Recipe,
    train_faces: FaceView,
    validation_faces: FaceView,
    out: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    checkpoint_every: str = "10m",
    compiled: bool = False,
    watchers: Sequence[Watcher] = (),
    notes: Mapping[str, Any] | None = None,
    own: OwnFile | None = None,
    exclusions: bytes | None = None,
) -> RunFolder:
    """Train a recipe. Test faces are never passed to this function.

    Args:
        recipe: all settings of the training.
        train_faces: the faces to fit.
        validation_faces: the faces that select the checkpoint.
        out: the run folder; must not hold a run unless `resume`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        resume: continue the stopped run in `out`; its recipe, its data and the number of processes must
            be the same.
        checkpoint_every: the interval between saves of the state for resuming, also within an epoch: `200`
            (steps), `10m` (minutes) or `none`. The state is also saved on a signal, and at the end of an
            epoch if the last save is 10 seconds old.
        compiled: compile the step's passes with torch, with CUDA graphs on CUDA: faster steps after about a
            minute, and slightly different rounding. If it fails, watchers get a note and training
            continues without.
        watchers: notified of the progress, see `Watcher`.
        notes: further entries for environment.json (the command, for example).
        own: the user's file that registers the network; a new run keeps a copy, as a record.
        exclusions: the list of the faces that were left out; a new run keeps a copy.

    Returns:
        The finished run.

    Raises:
        InputError: the recipe or data cannot be trained, or the folder is taken.
        StoppedError: SIGINT or SIGTERM arrived; the run can be resumed.
        MienError: the loss became NaN or infinite (the best weights so far are kept), the device's memory is
            full, or another process of this training ended.
    """
    keep_freed_memory()
    interval = checkpoint.Interval.parse(checkpoint_every)
    team = join(device)
    with team.bound():
        training = _Training(
            recipe, train_faces, validation_faces, RunFolder(out), team, interval, watchers
        )
        with ExitStack() as held:
            team.lead(lambda: _hold(training.run, held))
            if resume:
                training.restore()
            else:
                training.announce(notes or {}, own, exclusions)
            if compiled:
                training.capture()
            training.run_to_end()
    return training.run


def _hold(run: RunFolder, held: ExitStack) -> None:
    """Lock a run folder against other trainings.

    Raises:
        InputError: another training is at work there, or the folder cannot be written.
    """
    with writing_to(run.path):
        run.path.mkdir(parents=True, exist_ok=True)
        held.enter_context(alone(run.path, "is training"))


class _Training:
    """One training: call `announce` for a new run or `restore` for a stopped one, then `run_to_end`."""

    def __init__(
        self,
        recipe: Recipe,
        train_faces: FaceView,
        validation_faces: FaceView,
        run: RunFolder,
        team: Team,
        interval: checkpoint.Interval,
        watchers: Sequence[Watcher],
    ) -> None:
        # So that the run records defaults too, which may change.
        recipe = record.with_all_options(recipe)
        self.recipe = recipe
        self.run = run
        self.team = team
        self.device = team.device
        self.watchers = watchers if team.rank == 0 else ()
        self.data = record.data_facts(train_faces, validation_faces)
        if train_faces.expressions != recipe.expressions:
            raise InputError(
                f"{self.data['source']}: its expressions are {', '.join(train_faces.expressions)}, the "
                f"recipe's are {', '.join(recipe.expressions)}; give the data's set with --labels"
            )

        self.feed = FaceFeed(train_faces, self.device)
        self.supervision = Supervision(recipe, train_faces, self.feed.labels)
        objective = build_objective(
            recipe.objective,
            self.feed.labels,
            len(recipe.expressions),
            self.supervision.targets(1),
        )
        self.steps_per_epoch = math.ceil(len(self.feed) / recipe.batch_size)
        self.steps = self.steps_per_epoch * recipe.epochs
        self.parts = Parts(recipe, objective, self.steps, team, begun=run.has_state)
        self.compiled = False
        self.judge = Judge(recipe, validation_faces, self.feed, team)
        self.progress = TrainingState()
        self.timer = checkpoint.Timer(interval)
        self.asked = StopRequest()
        self.stopping: int | None = None  # the signal, once all processes know of it
        self.had_ended = False  # before it was resumed; its record then stays as it is
        self.written = 0  # epochs whose end is in the run folder
        self.best: dict[str, Tensor] | None = None  # the weights to keep

    def _kept(self) -> nn.Module:
        """The network that is validated and kept; changes to it are made to a copy, not to the one in training."""
        return self.judge.kept(self.parts.judged, self.parts.start)

    def announce(
        self, notes: Mapping[str, Any], own: OwnFile | None, exclusions: bytes | None
    ) -> None:
        """Write the recipe and the environment of a new run into its folder."""
        environment = {
            **self._machine(),
            **notes,
            "data": self.data,
            "init": self.parts.init,
            "targets_sha256": self.supervision.digest,
        }
        self.team.lead(lambda: record.announce(self.run, self.recipe, environment, own, exclusions))

    def _machine(self) -> dict[str, Any]:
        return {**describe(self.device, self.parts.dtype), "processes": self.team.size}

    def restore(self) -> None:
        """Load the saved state of the stopped run.

        Raises:
            InputError: the run has another recipe, data or number of processes, or its state is damaged.
        """

        def saved() -> tuple[dict[str, Any] | None, str | None]:
            run = RunFolder.open(self.run.path)
            record.refuse_another(
                run, self.recipe, self.data, self.supervision.digest, self.team.size
            )
            checkpoint.sweep_run(run)
            if run.has_state:
                return checkpoint.load_state(run)
            # The run ended before its first save, so it starts again from the beginning.
            if run.environment().get("init") != self.parts.init:
                raise InputError(f"{run.path}: {self.recipe.init} has changed since; train again")
            return None, None

        state, remark = self.team.lead(saved)
        if state is not None:
            self._take_over(state)
        self.timer.restart(self.progress.step)
        self._note(remark)
        if self._is_finished() and self.team.lead(self.run.is_finished):
            self.had_ended = True
            return
        changed = self.team.lead(
            lambda: record.resumed(self.run, self.progress.step, self._machine())
        )
        self._note(changed)
        if state is not None:
            # The process may have been killed before it wrote these, or after those of a later epoch.
            self._write_files()

    def _take_over(self, state: dict[str, Any]) -> None:
        try:
            self.parts.load_state_dict(state)
            self.progress = TrainingState(**state["progress"])
            self.best = state.get("best")  # a state of mien 0.1 has none
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{self.run.state_path}: not a state of this version ({error}); train again"
            ) from error

    def capture(self) -> None:
        """Compile the passes of a step, if possible on this machine; else note the reason."""
        fault = self.parts.capture()
        self.compiled = fault is None
        self._note(fault)

    def run_to_end(self) -> None:
        """Train the remaining epochs, then complete environment.json."""
        for watcher in self.watchers:
            watcher.started(self.run, self.recipe, self.steps, self.progress.step)
        try:
            with signals_noted(self.asked, patient=self.team.size > 1):
                while not self._is_finished():
                    self._train_epoch()
                    self._end_epoch()
                    self._is_time_to_save()
                    self._stop_if_asked()
        except torch.OutOfMemoryError as error:
            raise MienError(
                f"{self.run.path}: the memory of {self.device} is full; set a smaller batch_size, "
                "or use another --device"
            ) from error
        finally:
            for watcher in self.watchers:
                watcher.ended()
        if not self.had_ended:
            self._record_end()
        # Too late to stop this run, but the caller must not start another.
        if self.asked.signal is not None:
            message = f"stopped; {self.run.path} had just finished"
            raise self.team.alike(StoppedError(message, self.asked.signal))

    def _record_end(self) -> None:
        """Complete environment.json."""
        ended = {
            "seconds": round(sum(row["seconds"] for row in self.progress.history), 1),
            "peak_memory_bytes": peak_memory(),
            "peak_device_memory_bytes": peak_device_memory(self.device),
            "compiled": self.compiled,
            KEPT_EPOCH: self.progress.best_epoch,
        }
        self.team.lead(
            lambda: write_json(self.run.environment_path, self.run.environment() | ended)
        )

    def _train_epoch(self) -> None:
        """Take the remaining steps of the current epoch."""
        progress, recipe = self.progress, self.recipe
        generator = torch.Generator().manual_seed(
            stream_seed(recipe.seed, Stream.ORDER, progress.epoch)
        )
        order_N = torch.randperm(len(self.feed), generator=generator)
        # A resumed epoch skips the faces that it has already seen.
        order_N = order_N[recipe.batch_size * (progress.step % self.steps_per_epoch) :]
        # Everything for the epoch's steps is copied to the device at once, so that no step waits for a copy.
        views_NU = self.supervision.views(progress.epoch)[order_N].to(self.device)
        targets_N = self.supervision.targets(progress.epoch)[order_N.to(self.device)]
        views, targets, positions = (
            torch.split(values, recipe.batch_size) for values in (views_NU, targets_N, order_N)
        )
        spec = spec_in(recipe, progress.epoch)
        tally, looked = Tally(progress, self.device), time.perf_counter()
        self.parts.network.train()
        if recipe.freeze_epochs:
            freeze_backbone(self.parts.network, frozen=progress.epoch <= recipe.freeze_epochs)
        for views_BU, targets_B, (faces_BCHW, labels_B) in zip(
            views, targets, self.feed.batches(positions), strict=True
        ):
            # For dropout and mixing, which draw from torch's default generator.
            torch.manual_seed(stream_seed(recipe.seed, Stream.STEP, progress.step))
            inputs_BCHW = augmented(faces_BCHW, views_BU, spec, recipe.augment)
            inputs_BCHW, targets_B = mixed(
                inputs_BCHW, targets_B, recipe.mixing, len(recipe.expressions)
            )
            tally.add(*self.parts.move(inputs_BCHW, targets_B), labels_B)
            now = time.perf_counter()
            if now - looked > _LOOK_EVERY:
                looked = now
                tally.take_stock()
                self._tell()
            if self._is_time_to_save() and progress.step % self.steps_per_epoch:
                tally.take_stock()
                self._save()
                self._stop_if_asked()
        tally.take_stock()
        self._tell()

    def _end_epoch(self) -> None:
        """Validate if it is due, add a row to the history, note the best weights, and save if it is time."""
        progress = self.progress
        row = {
            "epoch": progress.epoch,
            "step": progress.step,
            "learning_rate": self.parts.rate.current,
            "train_loss": progress.loss_sum / progress.seen,
            "train_accuracy": progress.correct / progress.seen,
        }
        self._refuse_divergence(row["train_loss"])
        started, is_best, confusion_KK = time.perf_counter(), False, None
        if progress.epoch % self.recipe.validate_every == 0 or progress.step == self.steps:
            kept = self._kept()
            found = self.judge.validate(kept)
            confusion_KK = found.confusion
            self._refuse_divergence(found.loss)
            self.parts.rate.after_epoch(found.loss, found.accuracy)
            row["validation_loss"], row["validation_accuracy"] = found.loss, found.accuracy
            row["gap"] = row["train_accuracy"] - found.accuracy
            if found.people is not None:
                row[JUDGED_BY_PEOPLE] = found.people
            value = worth(row, self.recipe)
            is_best = value > progress.best_value
            if is_best:
                progress.best_epoch, progress.best_value = progress.epoch, value
                self.best = {name: value.clone() for name, value in kept.state_dict().items()}
        row["seconds"] = progress.seconds + time.perf_counter() - started
        row["images_per_second"] = progress.seen / max(progress.seconds, 1e-9)
        progress.end_epoch(row)
        is_late = self.timer.seconds >= _WRITE_EVERY
        if self._is_time_to_save() or any(self.team.agree(is_late)) or self._is_finished():
            self._save()
        for watcher in self.watchers:
            watcher.epoch_ended(row, confusion_KK, best=is_best)

    def _refuse_divergence(self, figure: float) -> None:
        if math.isfinite(figure):
            return
        self._write_epochs()
        best = self.progress.best_epoch
        kept = f"the weights of epoch {best} are kept in {self.run.path}"
        raise self.team.alike(
            MienError(
                f"training diverged in epoch {self.progress.epoch} (the loss is not finite); "
                f"{kept if best else 'nothing was learnt'}; try a lower optimizer.lr"
            )
        )

    def _save_weights(self, path: Path, tensors: dict[str, Tensor]) -> None:
        """Write weights for use and inspection; resuming writes them again from the state."""
        self.team.lead(lambda: checkpoint.save_weights(path, tensors))

    def _write_epochs(self) -> None:
        """Write the best weights and the history, if the run folder does not have them yet."""
        progress, written = self.progress, self.written
        if self.best is not None and progress.best_epoch > written:
            self._save_weights(self.run.best_weights, self.best)
        if len(progress.history) > written:
            self.team.lead(lambda: checkpoint.save_history(self.run, progress.history))
        self.written = len(progress.history)

    def _write_files(self) -> None:
        """Write the files that follow from the state."""
        self._write_epochs()
        self._save_weights(self.run.last_weights, self.parts.network.state_dict())

    def _save(self) -> None:
        """Save everything. The state comes first and holds all of it, so a kill between two files loses nothing:
        a resume writes the files that follow from the state again."""
        if self.progress.seen:
            self._refuse_divergence(self.progress.loss_sum)
        state = {**self.parts.state_dict(), "best": self.best, "progress": asdict(self.progress)}
        self.team.lead(lambda: checkpoint.save_state(self.run, state))
        self._write_files()
        self.timer.restart(self.progress.step)

    def _is_time_to_save(self) -> bool:
        """Whether the interval between saves is over, or any process got a signal to stop."""
        step = self.progress.step
        if self.team.size > 1 and self.device.type != "cpu" and step % _AGREE_EVERY:
            return False
        is_over = self.timer.is_over(step)
        over, signal = self.team.agree(is_over, self.asked.signal or 0)
        self.stopping = signal or None
        return bool(over or signal)

    def _is_finished(self) -> bool:
        """Whether all steps were taken, or early stopping's patience is over."""
        patience = self.recipe.early_stopping
        waited = len(self.progress.history) - self.progress.best_epoch
        return self.progress.step == self.steps or (patience is not None and waited >= patience)

    def _note(self, *sentences: str | None) -> None:
        for sentence in filter(None, sentences):
            for watcher in self.watchers:
                watcher.noted(sentence)

    def _tell(self) -> None:
        for watcher in self.watchers:
            watcher.stepped(self.progress.moment())

    def _stop_if_asked(self) -> None:
        """If a signal asked to stop, save everything and raise StoppedError."""
        if self.stopping is None or self._is_finished():
            return
        progress = self.progress
        if self.timer.step != progress.step:
            self._save()
        # No epoch was validated yet: save weights that can be evaluated.
        if not progress.best_epoch:
            self._save_weights(self.run.best_weights, self._kept().state_dict())
        raise self.team.alike(
            StoppedError(
                f"stopped in epoch {progress.epoch} after step {progress.step} of {self.steps}; "
                f"all is saved: go on with the same command and --out {self.run.path} --resume",
                self.stopping,
            )
        )
