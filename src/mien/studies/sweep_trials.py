"""The trials of a sweep: what a worker has to know, and how it trains one point of the space after another."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien import api
from mien.callbacks import Say
from mien.data.splits import needed, split
from mien.data.store import FaceStore, FaceView
from mien.errors import MienError, extra_required
from mien.files import alone
from mien.models import OwnFile
from mien.runs import RunFolder, validated
from mien.studies.sweep_space import Space, assignments
from mien.studies.trials import train_with
from mien.training import Recipe, StoppedError, Watcher, override
from mien.training.stopping import StopRequest, signals_noted

with extra_required("sweep", "mien sweep"):
    import optuna
    from optuna.storages import journal

#: Trials are compared with others from this share of their epochs on.
_GRACE = 0.2
#: What a trial carries in the journal.
FOLDER, INSTEAD_OF, PROBLEM = "folder", "instead_of", "problem"
#: States of a trial that was told to the journal.
_ENDED = (
    optuna.trial.TrialState.COMPLETE,
    optuna.trial.TrialState.PRUNED,
    optuna.trial.TrialState.FAIL,
)


@dataclass(frozen=True)
class SweepJob:
    """All that a worker, here or on another machine, has to know.

    recipe: what the space's fields are changed of; its expressions are the data's.
    trials: in all, on all machines.
    threads: that compute one trial; None leaves it to torch.
    own: the file of one's own that registers the network; each worker runs the bytes that are here.
    """

    recipe: Recipe
    space: Space
    trials: int
    data: str | Path | FaceStore
    labels: Sequence[str] | None
    out: Path
    device: str
    threads: int | None
    command: str | None
    own: OwnFile | None = None

    @property
    def plan_path(self) -> Path:
        """Which sweep the folder holds; locked by all who work on it."""
        return self.out / "plan.json"

    @property
    def log_path(self) -> Path:
        """Where the trials are written down. Optuna's lock points to it, from beside it: so it begins at the root."""
        return self.out.absolute() / "journal.log"

    def take_up(self) -> None:
        """Mend the journal, and let the trials go on that were being trained; nobody else may be at work.

        A killed process leaves half a line at the journal's end, and Optuna's lock.

        Raises:
            InputError: workers of a sweep that was killed still train; they end with their epoch.
        """
        Path(f"{self.log_path}.lock").unlink(missing_ok=True)
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
        """The study in the journal."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        backend = journal.JournalFileBackend(str(self.log_path), _lock(self.log_path))
        grace = max(1, round(_GRACE * self.recipe.epochs))
        return optuna.create_study(
            study_name="sweep",
            storage=journal.JournalStorage(backend),
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=grace),
        )

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One worker at a time, of all on all machines."""
        lock = _lock(self.out.absolute() / "turn")
        lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def left(self, study: optuna.Study) -> int:
        """How many trials are still to begin."""
        return max(0, self.trials - len(ended_trials(study)) - len(running_trials(study)))

    def next_trial(self, study: optuna.Study) -> optuna.Trial | None:
        """A trial to train; None where as many as are to be have begun."""
        with self.turn():
            if not self.left(study):
                return None
            # The seed differs from trial to trial: the same points are not drawn again.
            study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))
            return study.ask(self.space.distributions())

    def faces(self) -> tuple[FaceView, FaceView]:
        """The faces to fit, and those that every trial is judged by."""
        store = api.load_for(self.recipe, self.data, self.labels)
        splits = split(store, self.recipe.split)
        return needed(splits.train, "train"), needed(splits.validation, "validation")

    def run_folder(self, trial: optuna.Trial | optuna.trial.FrozenTrial) -> Path:
        """Where a trial's run is; of one that goes on, where it began."""
        name: str = trial.user_attrs.get(FOLDER, f"trial-{trial.number:04d}")
        return self.out / "trials" / name


def train_trials(job: SweepJob, workers: int, say: Say) -> None:
    """Train the trials that are left, so many at a time."""
    at_once = min(workers, job.left(job.study()))
    if at_once == 1:
        _one_after_another(job, say)
    elif at_once:
        _in_parallel(job, at_once, say)


def _one_after_another(job: SweepJob, say: Say) -> None:
    """Ask for trials and train them, until all have begun."""
    study = job.study()
    faces = job.faces()
    while (trial := job.next_trial(study)) is not None:

        def on_epoch(epoch: int, accuracy: float, last: bool, trial: optuna.Trial = trial) -> None:
            trial.report(accuracy, epoch)
            if not last and trial.should_prune():
                raise optuna.TrialPruned

        try:
            value = train_trial(job, job.run_folder(trial), trial.params, faces, on_epoch)
        except optuna.TrialPruned:
            ended = study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        except StoppedError:
            raise
        except MienError as error:
            trial.set_user_attr(PROBLEM, str(error))
            ended = study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            ended = study.tell(trial, value)
        say(line(ended))


def train_trial(
    job: SweepJob,
    folder: Path,
    settings: Mapping[str, Any],
    faces: tuple[FaceView, FaceView],
    on_epoch: Callable[[int, float, bool], None],
) -> float:
    """Train one point of the space, or go on with it; the validation accuracy of the kept weights.

    `on_epoch` is called with epoch, validation accuracy, and whether it was the last; it may raise to end it.
    """
    if job.own is not None:
        job.own.run()
    recipe = override(job.recipe, assignments(settings))
    run = train_with(
        job.own,
        recipe,
        *faces,
        folder,
        device=job.device,
        watchers=[_Reporter(on_epoch, recipe.epochs)],
        command=job.command,
    )
    return run.kept_epoch()["validation_accuracy"]


class _Reporter(Watcher):
    """Tells every epoch on, those first that were trained before a run was gone on with."""

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
    """So many processes, each asking for the next trial, until all have begun."""
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
                    process.terminate()  # noted there, acted on between two steps
    if asked.signal is not None:
        raise StoppedError("stopped; all is saved: the same command goes on", asked.signal)
    died = [process.exitcode for process in processes if process.exitcode]
    if died:
        raise MienError(
            f"{job.out}: {len(died)} of {len(processes)} workers died (exit status {died[0]}); "
            "the same command goes on"
        )


def _worker(job: SweepJob, say: Say) -> None:
    """One process of several."""
    if sys.platform != "win32":
        os.setsid()  # Ctrl-C in the terminal reaches the parent alone, which passes it on
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
    """The trials that came to an end; those that another went on with are not among them."""
    trials = study.get_trials(deepcopy=False)
    superseded = {trial.user_attrs.get(INSTEAD_OF) for trial in trials}
    return [t for t in trials if t.state in _ENDED and t.number not in superseded]


def running_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that were begun and did not end: here, on another machine, or with a process that was killed."""
    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))


def _lock(path: Path) -> journal.JournalFileOpenLock | journal.JournalFileSymlinkLock:
    """Optuna's lock of a file: it holds between machines, and is given up 30 s after its holder was killed."""
    if sys.platform == "win32":
        return journal.JournalFileOpenLock(str(path))
    return journal.JournalFileSymlinkLock(str(path))


def line(trial: optuna.trial.FrozenTrial) -> str:
    """What is said of a trial that ended."""
    last = trial.value if trial.value is not None else last_value(trial)
    came = f"validation {last:.2%}" if last is not None else "nothing learnt"
    state = {"COMPLETE": "", "PRUNED": ", pruned", "FAIL": ", failed"}[trial.state.name]
    said = f"trial {trial.number}: {came}{state}  {'  '.join(assignments(trial.params))}"
    problem = trial.user_attrs.get(PROBLEM)
    return f"{said}  ({problem})" if problem else said


def last_value(trial: optuna.trial.FrozenTrial) -> float | None:
    """The validation accuracy of the last epoch that was told."""
    values = trial.intermediate_values
    return values[max(values)] if values else None
