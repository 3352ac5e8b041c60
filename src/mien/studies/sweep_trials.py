"""The trials of a sweep: the job that all workers share, and the training of one point of the space after another."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from mien import api
from mien.callbacks import Say
from mien.data.splits import needed, split
from mien.data.store import FaceStore, FaceView
from mien.errors import MienError, extra_required
from mien.files import alone
from mien.models import OwnFile
from mien.runs import RunFolder, validated
from mien.studies.sweep_space import Space, assignments
from mien.training import Recipe, StoppedError, Watcher, override, train
from mien.training.stopping import StopRequest, signals_noted

with extra_required("sweep", "mien sweep"):
    import optuna
    from filelock import FileLock
    from optuna.storages import journal

_STOPPED = "stopped; all is saved: the same command goes on"
#: Share of its epochs after which a trial may be pruned.
_GRACE = 0.2
#: Names of the attributes of a trial in the journal.
FOLDER, INSTEAD_OF, PROBLEM = "folder", "instead_of", "problem"
#: States of a trial that ended.
_ENDED = (
    optuna.trial.TrialState.COMPLETE,
    optuna.trial.TrialState.PRUNED,
    optuna.trial.TrialState.FAIL,
)


@dataclass(frozen=True)
class SweepJob:
    """The job of a worker on this machine or another.

    Attributes:
        recipe: the recipe whose fields the space changes; its expressions are those of the data.
        space: the fields and their ranges.
        trials: number of trials in all, on all machines.
        data: a path, `synthetic`, `synthetic:N`, or a store.
        labels, skip_damaged: as for `train`.
        out: folder of journal, runs and report.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, `mps`.
        threads: threads per trial; None leaves the number to torch.
        command: the command line, for the record.
        own: the user's file that registers the network. Every worker executes these bytes, not the file as it is
            by then.
    """

    recipe: Recipe
    space: Space
    trials: int
    data: str | Path | FaceStore
    labels: Sequence[str] | None
    skip_damaged: bool
    out: Path
    device: str
    threads: int | None
    command: str | None
    own: OwnFile | None = None

    @property
    def plan_path(self) -> Path:
        """The file that identifies the sweep of the folder. All processes that work on it hold its lock."""
        return self.out / "plan.json"

    @property
    def log_path(self) -> Path:
        """The journal of the trials."""
        return self.out / "journal.log"

    def take_up(self) -> None:
        """Repair the journal and queue the interrupted trials again. To be called while no other process works.

        A killed process leaves half a line at the end of the journal.

        Raises:
            InputError: workers of a killed sweep are still training; they end with their epoch.
        """
        if self.log_path.is_file():
            content = self.log_path.read_bytes()
            os.truncate(self.log_path, content.rfind(b"\n") + 1)
        study = self.study()
        begun = running_trials(study)
        for taken in filter(Path.is_dir, map(self.run_folder, begun)):
            with alone(taken, "of a sweep that was killed is still training"):
                pass
        for trial in begun:
            attributes = {FOLDER: self.run_folder(trial).name, INSTEAD_OF: trial.number}
            study.enqueue_trial(trial.params, user_attrs=attributes)
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def study(self) -> optuna.Study:
        """Open the study in the journal, or create it."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # Optuna's own locks outlive a killed process, and are taken from a live one that pauses for 30 s.
        lock = cast("journal.JournalFileOpenLock", FileLock(self.out / ".journal.lock"))
        backend = journal.JournalFileBackend(str(self.log_path), lock)
        grace = max(1, round(_GRACE * self.recipe.epochs))
        return optuna.create_study(
            study_name="sweep",
            storage=journal.JournalStorage(backend),
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=grace),
        )

    def turn(self) -> FileLock:
        """Create a lock that one worker at a time can hold, over all machines."""
        return FileLock(self.out / ".turn.lock")

    def left(self, study: optuna.Study) -> int:
        """Count the trials that have not begun."""
        return max(0, self.trials - len(ended_trials(study)) - len(running_trials(study)))

    def next_trial(self, study: optuna.Study) -> optuna.Trial | None:
        """Ask Optuna for a trial to train; None if all have begun."""
        with self.turn():
            if not self.left(study):
                return None
            # A constant seed would draw the same points again after each start.
            study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))
            return study.ask(self.space.distributions())

    def faces(self) -> tuple[FaceView, FaceView]:
        """Load the training faces, and the validation faces that judge every trial.

        Raises:
            InputError: data that cannot be read, or an empty split.
        """
        store = api.load_for(self.recipe, self.data, self.labels, skip_damaged=self.skip_damaged)
        splits = split(store, self.recipe.split)
        return needed(splits.train, "train"), needed(splits.validation, "validation")

    def run_folder(self, trial: optuna.Trial | optuna.trial.FrozenTrial) -> Path:
        """The run folder of a trial; a resumed trial keeps its first folder."""
        name: str = trial.user_attrs.get(FOLDER, f"trial-{trial.number:04d}")
        return self.out / "trials" / name


def train_trials(job: SweepJob, workers: int, say: Say) -> None:
    """Train the remaining trials.

    Args:
        job: the sweep.
        workers: trials at a time, each in a process of its own if there are several.
        say: told of every trial.

    Raises:
        MienError: a worker process died.
        StoppedError: SIGINT or SIGTERM; the journal and the runs are saved.
    """
    at_once = min(workers, job.left(job.study()))
    if at_once == 1:
        _one_after_another(job, say)
    elif at_once:
        _in_parallel(job, at_once, say)


def _one_after_another(job: SweepJob, say: Say) -> None:
    """Ask for trials and train them until all have begun.

    Raises:
        StoppedError: SIGINT or SIGTERM, also between two trials: a kill there could leave half a line in the journal.
    """
    faces = job.faces()
    asked = StopRequest()
    with signals_noted(asked):
        study = job.study()
        while asked.signal is None and (trial := job.next_trial(study)) is not None:
            say(line(_trained(job, study, trial, faces)))
    if asked.signal is not None:
        raise StoppedError(_STOPPED, asked.signal)


def _trained(
    job: SweepJob, study: optuna.Study, trial: optuna.Trial, faces: tuple[FaceView, FaceView]
) -> optuna.trial.FrozenTrial:
    """Train one trial and tell the study how it ended.

    Raises:
        StoppedError: SIGINT or SIGTERM; the run is saved, and the trial stays unfinished.
    """

    def on_epoch(epoch: int, accuracy: float, last: bool) -> None:
        trial.report(accuracy, epoch)
        if not last and trial.should_prune():
            raise optuna.TrialPruned

    try:
        value = train_trial(job, job.run_folder(trial), trial.params, faces, on_epoch)
    except optuna.TrialPruned:
        return study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    except StoppedError:
        raise
    except MienError as error:
        trial.set_user_attr(PROBLEM, str(error))
        return study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return study.tell(trial, value)


def train_trial(
    job: SweepJob,
    folder: Path,
    settings: Mapping[str, Any],
    faces: tuple[FaceView, FaceView],
    on_epoch: Callable[[int, float, bool], None],
) -> float:
    """Train one point of the space, or resume it.

    Args:
        job: the sweep.
        folder: the run folder; need not exist.
        settings: field -> value, as `--set` takes them.
        faces: (training faces, validation faces).
        on_epoch: called after each validated epoch with its number, its validation accuracy (0..1), and whether it
            was the last. It may raise to end the training.

    Returns:
        Validation accuracy of the kept weights, 0..1.

    Raises:
        InputError: settings that the recipe or its network does not take.
        StoppedError: SIGINT or SIGTERM; the run is saved and can be resumed.
    """
    if job.own is not None:
        job.own.run()
    recipe = override(job.recipe, assignments(settings))
    run = train(
        recipe,
        *faces,
        folder,
        device=job.device,
        resume=RunFolder(folder).recipe_path.exists(),
        watchers=[_Reporter(on_epoch, recipe.epochs)],
        notes={"command": job.command},
        own=job.own,
    )
    return run.kept_epoch()["validation_accuracy"]


class _Reporter(Watcher):
    """Reports every epoch. If a run is resumed, its earlier epochs are reported first."""

    def __init__(self, on_epoch: Callable[[int, float, bool], None], epochs: int) -> None:
        self._on_epoch, self._epochs = on_epoch, epochs

    def started(self, run: RunFolder, recipe: Recipe, steps: int, first_step: int) -> None:
        for row in validated(run.history()):
            self._on_epoch(int(row["epoch"]), row["validation_accuracy"], True)

    def epoch_ended(self, row: Mapping[str, float], confusion_KK: Any, *, best: bool) -> None:
        epoch = int(row["epoch"])
        if "validation_accuracy" in row:
            self._on_epoch(epoch, row["validation_accuracy"], epoch >= self._epochs)
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            sys.exit("the sweep was killed; the same command goes on")


def _in_parallel(job: SweepJob, workers: int, say: Say) -> None:
    """Start `workers` processes; each trains one trial after another until all have begun."""
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    processes = [
        context.Process(target=_worker, args=(job, say), daemon=True) for _ in range(workers)
    ]
    asked = StopRequest()
    with signals_noted(asked):
        for process in processes:
            process.start()
        passed_on = False
        while any(process.is_alive() for process in processes):
            for process in processes:
                process.join(0.1)
            if asked.signal is not None and not passed_on:
                passed_on = True
                for process in processes:
                    process.terminate()  # the worker notes the signal and stops between two steps
    if asked.signal is not None:
        raise StoppedError(_STOPPED, asked.signal)
    died = [process.exitcode for process in processes if process.exitcode]
    if died:
        raise MienError(
            f"{job.out}: {len(died)} of {len(processes)} workers died (exit status {died[0]}); "
            "the same command goes on"
        )


def _worker(job: SweepJob, say: Say) -> None:
    """Run one of several worker processes."""
    if sys.platform != "win32":
        os.setsid()  # Ctrl-C reaches only the parent process, which passes it on
    if job.threads is not None:
        import torch

        torch.set_num_threads(job.threads)
    try:
        _one_after_another(job, say)
    except MienError as error:
        if not isinstance(error, StoppedError):
            say(f"error: {error}")
        sys.exit(error.exit_code)


def ended_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """List the trials that ended, without those that another trial resumed."""
    trials = study.get_trials(deepcopy=False)
    superseded = {trial.user_attrs.get(INSTEAD_OF) for trial in trials}
    return [t for t in trials if t.state in _ENDED and t.number not in superseded]


def running_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """List the trials that began and did not end: in training here or elsewhere, or interrupted by a kill."""
    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))


def line(trial: optuna.trial.FrozenTrial) -> str:
    """Describe a trial that ended in one line."""
    last = trial.value if trial.value is not None else last_value(trial)
    came = f"validation {last:.2%}" if last is not None else "nothing learnt"
    state = {"COMPLETE": "", "PRUNED": ", pruned", "FAIL": ", failed"}[trial.state.name]
    said = f"trial {trial.number}: {came}{state}  {'  '.join(assignments(trial.params))}"
    problem = trial.user_attrs.get(PROBLEM)
    return f"{said}  ({problem})" if problem else said


def last_value(trial: optuna.trial.FrozenTrial) -> float | None:
    """Validation accuracy, 0..1, of the last reported epoch; None if there is none."""
    values = trial.intermediate_values
    return values[max(values)] if values else None
