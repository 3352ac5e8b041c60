"""The training loop: one readable way from faces to a run folder.

Every random number is a function of the recipe's seed and a place in time: order and augmentation by
(seed, epoch), dropout and mixing by (seed, step). So a training that was stopped goes on exactly where it
was without any generator's state being stored, and nothing outside Training and validation can
touch its result. Several processes train as one: see mien.training.distributed.

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

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mien.allocator import keep_freed_memory
from mien.data.ferplus import read_votes
from mien.data.store import FaceView
from mien.errors import InputError, MienError, writing_to
from mien.evaluation.metrics import confusion_matrix, cross_entropy
from mien.evaluation.people import majority_of, people_score
from mien.files import alone, write_json
from mien.models import Classifier, create, initial_weights
from mien.models.device import on_device
from mien.models.preparing import prepare
from mien.recipe import Recipe
from mien.runs import JUDGED_BY_PEOPLE, LATE, RunFolder
from mien.training import checkpoint, record
from mien.training.augment import augmented
from mien.training.blend import blended
from mien.training.distributed import Team, join
from mien.training.feed import FaceFeed
from mien.training.machine import autocast_type, describe, peak_memory
from mien.training.mixing import mixed
from mien.training.objectives import build_objective
from mien.training.optim import LearningRate, build_optimizer, freeze_backbone
from mien.training.precise_norm import with_precise_norm
from mien.training.seeds import Stream, stream_seed
from mien.training.state import TrainingState
from mien.training.stopping import StoppedError, StopRequest, signals_noted
from mien.training.targets import Supervision
from mien.training.watch import Watcher

#: Seconds between two looks at the running figures; each look waits for the device.
_LOOK_EVERY = 0.5

_VALIDATION_BATCH = 256


def train(
    recipe: Recipe,
    train_faces: FaceView,
    validation_faces: FaceView,
    out: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    checkpoint_every: str = "10m",
    watchers: Sequence[Watcher] = (),
    notes: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Train a recipe; never sees a test face.

    Args:
        recipe: what to train and how.
        train_faces: the faces to fit; validation_faces: those that select the checkpoint.
        out: the run folder; must not hold a run unless `resume`.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.
        resume: go on where the run in `out` was stopped; its recipe, its data and the number of
            processes must be the same.
        checkpoint_every: how often to save, within an epoch too, what resuming goes on from: `200`
            (steps), `10m` (minutes) or `none`. The end of an epoch and a signal always save it.
        watchers: told of every epoch.
        notes: more entries for environment.json (the command, for example).

    Returns:
        The finished run.

    Raises:
        InputError: a recipe or data that cannot be trained, a folder that is taken.
        StoppedError: SIGINT or SIGTERM arrived; the run can be resumed.
        MienError: the loss became NaN or infinite; the best weights so far are kept. Or another
            process of this training ended.
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
                training.announce(notes or {})
            training.run_to_end()
    return training.run


def refuse_silent_judge(recipe: Recipe) -> None:
    """InputError if a recipe is to be selected by people's votes and has none."""
    if recipe.select == "people" and recipe.targets.votes is None:
        raise InputError(
            f"{recipe.name}: select=people judges by FER+'s votes; give them "
            "(--set targets.votes=fer2013new.csv, from github.com/microsoft/FERPlus)"
        )


def _hold(run: RunFolder, held: ExitStack) -> None:
    """Keep other trainings out of a run folder; InputError where one is at work there."""
    with writing_to(run.path):
        run.path.mkdir(parents=True, exist_ok=True)
        held.enter_context(alone(run.path, "is training"))


class _Training:
    """The parts of one training and the three things done with them: announce or restore, run."""

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
        recipe = record.with_all_options(recipe)  # so that a run says all that it was made with
        self.recipe = recipe
        self.run = run
        self.team = team
        self.device = team.device
        self.watchers = watchers if team.rank == 0 else ()
        self.data = record.data_facts(train_faces, validation_faces)
        self.validation = validation_faces
        if train_faces.expressions != recipe.expressions:
            raise InputError(
                f"{self.data['source']}: its expressions are {', '.join(train_faces.expressions)}, the "
                f"recipe's are {', '.join(recipe.expressions)}; give the data's set with --labels"
            )

        torch.manual_seed(stream_seed(recipe.seed, Stream.WEIGHTS))
        network = create(
            recipe.model.name, recipe.input, len(recipe.expressions), recipe.model.options
        )
        self.init: dict[str, Any] | None = None
        if recipe.init is not None and not run.has_state:  # which has weights of its own
            initial = initial_weights(
                recipe.init, recipe.input, recipe.model.name, recipe.model.options
            )
            self.init = initial.start(network, recipe.expressions)
        self.dtype = autocast_type(recipe.precision, self.device, network)
        self.network = team.synchronised(on_device(network, self.device))
        self.start: dict[str, Tensor] | None = None
        if recipe.init_share:
            self.start = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.spread = team.spread(self.network)
        self.average: AveragedModel | None = None
        if recipe.ema is not None:
            multi_average = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(self.network, multi_avg_fn=multi_average, use_buffers=True)
        self.feed = FaceFeed(train_faces, self.device)
        self.supervision = Supervision(recipe, train_faces, self.feed.labels)
        self.objective = build_objective(
            recipe.objective,
            self.feed.labels,
            len(recipe.expressions),
            self.supervision.targets(1),
        )
        self.majority_N = self._majority()
        self.steps_per_epoch = math.ceil(len(self.feed) / recipe.batch_size)
        self.steps = self.steps_per_epoch * recipe.epochs
        self.optimizer = build_optimizer(recipe.optimizer, self.network)
        self.rate = LearningRate(recipe.schedule, self.optimizer, self.steps)
        self.progress = TrainingState()
        self.timer = checkpoint.Timer(interval)
        self.asked = StopRequest()
        self.stopping: int | None = None  # the signal, once all processes know of it

    def _majority(self) -> NDArray[np.int64] | None:
        """What most annotators name on the validation faces, if the recipe has their votes."""
        refuse_silent_judge(self.recipe)
        if self.recipe.targets.votes is None:
            return None
        majority_N = majority_of(read_votes(self.recipe.targets.votes), self.validation)
        if (majority_N >= 0).any():
            return majority_N
        if self.recipe.select == "people":
            raise InputError(
                f"{self.recipe.targets.votes}: no majority on any validation face, so it cannot judge; "
                "give more validation faces, or select=accuracy"
            )
        return None

    def _judged(self) -> nn.Module:
        """The network that is validated and kept: the moving average where there is one.

        Whatever is done to it is done to a copy: training goes on from `network` and `average`.
        """
        module: nn.Module = self.network if self.average is None else self.average.module
        self.team.align(module)
        if self.start is not None:
            module = blended(module, self.start, self.recipe.init_share)
        if self.recipe.precise_norm is None:
            return module
        generator = torch.Generator().manual_seed(stream_seed(self.recipe.seed, Stream.NORM))
        chosen = torch.randperm(len(self.feed), generator=generator)[: self.recipe.precise_norm]
        # Of one size, or nearly: a batch of a single face has no variance.
        parts = torch.tensor_split(chosen, math.ceil(len(chosen) / _VALIDATION_BATCH))
        batches = self.feed.batches(parts)
        return with_precise_norm(
            module, (prepare(faces, self.recipe.input) for faces, _ in batches)
        )

    def announce(self, notes: Mapping[str, Any]) -> None:
        """Write down what is about to be trained."""
        environment = {**self._machine(), **notes, "data": self.data, "init": self.init}
        self.team.lead(lambda: record.announce(self.run, self.recipe, environment))

    def _machine(self) -> dict[str, Any]:
        return {**describe(self.device, self.dtype), "processes": self.team.size}

    def restore(self) -> None:
        """Take over the state of an earlier training of the same recipe on the same data."""

        def saved() -> tuple[dict[str, Any] | None, str | None]:
            run = RunFolder.open(self.run.path)
            record.refuse_another(run, self.recipe, self.data, self.team.size)
            checkpoint.sweep_run(run)
            if run.has_state:
                return checkpoint.load_state(run)
            # It ended before its first save: from the start, then.
            if run.environment().get("init") != self.init:
                raise InputError(f"{run.path}: {self.recipe.init} has changed since; train again")
            return None, None

        state, remark = self.team.lead(saved)
        if state is not None:
            self._take_over(state)
        self.timer.restart(self.progress.step)
        if remark is not None:
            for watcher in self.watchers:
                watcher.noted(remark)
        self.team.lead(lambda: record.resumed(self.run, self.progress.step, self._machine()))

    def _take_over(self, state: dict[str, Any]) -> None:
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.rate.load_state_dict(state["rate"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            self.start = state["start"]
            self.progress = TrainingState(**state["progress"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{self.run.state_path}: not a state of this version ({error}); train again"
            ) from error

    def run_to_end(self) -> None:
        """Train the epochs that are left."""
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
        ended = {
            "seconds": round(sum(row["seconds"] for row in self.progress.history), 1),
            "peak_memory_bytes": peak_memory(),
        }
        self.team.lead(
            lambda: write_json(self.run.environment_path, self.run.environment() | ended)
        )
        if self.asked.signal is not None:  # it came too late for this run, but not for what follows
            message = f"stopped; {self.run.path} had just finished"
            raise self.team.alike(StoppedError(message, self.asked.signal))

    def _train_epoch(self) -> None:
        """Take the steps that are left of the current epoch."""
        progress, recipe = self.progress, self.recipe
        generator = torch.Generator().manual_seed(
            stream_seed(recipe.seed, Stream.ORDER, progress.epoch)
        )
        order = torch.randperm(len(self.feed), generator=generator)
        batches = torch.split(order, recipe.batch_size)
        views_NU = self.supervision.views(progress.epoch)
        targets_N = self.supervision.targets(progress.epoch)
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        looked = started = time.perf_counter()
        before = progress.seconds

        def take_stock() -> None:
            progress.loss_sum += loss_sum.item()
            progress.correct += int(correct.item())
            loss_sum.zero_()
            correct.zero_()
            progress.seconds = before + time.perf_counter() - started

        self.network.train()
        if recipe.freeze_epochs:
            freeze_backbone(self.network, frozen=self.progress.epoch <= recipe.freeze_epochs)
        left = batches[progress.step % self.steps_per_epoch :]
        for positions_B, (faces_BCHW, labels_B) in zip(left, self.feed.batches(left), strict=True):
            torch.manual_seed(stream_seed(recipe.seed, Stream.STEP, progress.step))
            inputs_BCHW = augmented(faces_BCHW, views_NU[positions_B], recipe.input, recipe.augment)
            targets_B = targets_N[positions_B.to(self.device)]
            inputs_BCHW, targets_B = mixed(
                inputs_BCHW, targets_B, recipe.mixing, len(recipe.expressions)
            )
            with torch.autocast(
                self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16
            ):
                logits_BK = self.spread(inputs_BCHW).float()
            loss = self.objective(logits_BK, targets_B)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if recipe.clip_norm is not None:
                nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip_norm)
            self.optimizer.step()
            self.rate.after_step()
            if self.average is not None:
                self.average.update_parameters(self.network)
            loss_sum += loss.detach() * len(labels_B)
            correct += (logits_BK.detach().argmax(1) == labels_B).sum()
            progress.step += 1
            progress.seen += len(labels_B)
            now = time.perf_counter()
            if now - looked > _LOOK_EVERY:
                looked = now
                take_stock()
                self._tell()
            if self._is_time_to_save() and progress.step % self.steps_per_epoch:
                take_stock()
                self._save_state()
                self._stop_if_asked()
        take_stock()
        self._tell()

    def _end_epoch(self) -> None:
        """Validate, write the history, keep the best and the last."""
        progress = self.progress
        train_loss = progress.loss_sum / progress.seen
        self._refuse_divergence(train_loss)
        learning_rate = self.rate.current
        started = time.perf_counter()
        judged = self._judged()
        probabilities_NK = self._validate(judged)
        labels_N = self.validation.labels
        loss = cross_entropy(probabilities_NK, labels_N)
        # The last step alone may have ruined the weights; probabilities are then NaN.
        self._refuse_divergence(float(probabilities_NK.sum()))
        accuracy = float((probabilities_NK.argmax(axis=1) == labels_N).mean())
        self.rate.after_epoch(loss, accuracy)
        values = {"accuracy": accuracy, "loss": -loss, "last": progress.epoch}
        score = None
        if self.majority_N is not None:
            score = people_score(probabilities_NK.argmax(axis=1), self.majority_N)
            early = progress.epoch <= LATE * self.recipe.epochs
            # Until then each epoch takes the place of the one before.
            values["people"] = progress.epoch - self.recipe.epochs - 1 if early else score
        value = values[self.recipe.select]
        is_best = value > progress.best_value
        row = {
            "epoch": self.progress.epoch,
            "step": progress.step,
            "learning_rate": learning_rate,
            "train_loss": train_loss,
            "train_accuracy": progress.correct / progress.seen,
            "validation_loss": loss,
            "validation_accuracy": accuracy,
            "gap": progress.correct / progress.seen - accuracy,
            "seconds": progress.seconds + time.perf_counter() - started,
            "images_per_second": progress.seen / max(progress.seconds, 1e-9),
        }
        if score is not None:
            row[JUDGED_BY_PEOPLE] = score
        if is_best:
            progress.best_epoch, progress.best_value = self.progress.epoch, value
            self._save_weights(self.run.best_weights, judged)
        progress.end_epoch(row)
        self._save_weights(self.run.last_weights, self.network)
        self.team.lead(lambda: checkpoint.save_history(self.run, progress.history))
        self._save_state()  # the last of all: whatever is resumed from, the rest is written before
        predicted_N = probabilities_NK.argmax(axis=1)
        confusion_KK = confusion_matrix(labels_N, predicted_N, len(self.recipe.expressions))
        for watcher in self.watchers:
            watcher.epoch_ended(row, confusion_KK, best=is_best)

    def _validate(self, judged: nn.Module) -> NDArray[np.float32]:
        """float32 (N, K): a network's probabilities of the validation faces."""
        classify = Classifier(judged, self.recipe.input, self.recipe.expressions)
        store, indices = self.validation.store, self.validation.indices
        batches = [
            indices[start : start + _VALIDATION_BATCH]
            for start in range(0, len(indices), _VALIDATION_BATCH)
        ]
        return np.concatenate(
            self.team.map(lambda batch: classify(store.faces(batch).pixels()), batches)
        )

    def _refuse_divergence(self, figure: float) -> None:
        if math.isfinite(figure):
            return
        best = self.progress.best_epoch
        kept = f"the weights of epoch {best} are kept in {self.run.path}"
        raise self.team.alike(
            MienError(
                f"training diverged in epoch {self.progress.epoch} (the loss is not finite); "
                f"{kept if best else 'nothing was learnt'}; try a lower optimizer.lr"
            )
        )

    def _save_weights(self, path: Path, network: nn.Module) -> None:
        """For whoever wants to use or to look at them; resuming does not need them."""
        self.team.lead(lambda: checkpoint.save_weights(path, network))

    def _save_state(self) -> None:
        """All that the next step depends on, in one file: never half of one step, half of another."""
        if self.progress.seen:
            self._refuse_divergence(self.progress.loss_sum)
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rate": self.rate.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "start": self.start,
            "progress": asdict(self.progress),
        }
        self.team.lead(lambda: checkpoint.save_state(self.run, state))
        self.timer.restart(self.progress.step)

    def _is_time_to_save(self) -> bool:
        """Whether the interval is over, or a signal asks any process to stop."""
        is_over = self.timer.is_over(self.progress.step)
        over, signal = self.team.agree(is_over, self.asked.signal or 0)
        self.stopping = signal or None
        return bool(over or signal)

    def _is_finished(self) -> bool:
        """Whether all steps were taken, or early stopping's patience is over."""
        patience = self.recipe.early_stopping
        waited = len(self.progress.history) - self.progress.best_epoch
        return self.progress.step == self.steps or (patience is not None and waited >= patience)

    def _tell(self) -> None:
        for watcher in self.watchers:
            watcher.stepped(self.progress.moment())

    def _stop_if_asked(self) -> None:
        """Leave where a signal asked for it; the state is saved."""
        if self.stopping is None or self._is_finished():
            return
        self._save_weights(self.run.last_weights, self.network)
        if not self.progress.history:  # so that what was learnt can be evaluated
            self._save_weights(self.run.best_weights, self._judged())
        progress = self.progress
        raise self.team.alike(
            StoppedError(
                f"stopped in epoch {progress.epoch} after step {progress.step} of {self.steps}; "
                f"all is saved: go on with the same command and --out {self.run.path} --resume",
                self.stopping,
            )
        )
