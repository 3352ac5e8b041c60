"""Which settings of a recipe do best on validation? Trials that Optuna chooses, kept in a journal.

The journal is the one record: which trials there are, what they were given, what came of them. So the
same command goes on where it was stopped, with more trials or fewer workers; a trial that was half
trained goes on in its own run folder. Trials run in processes on this machine or, by `sweep_on_ray`,
under Ray Tune on a cluster. No test face is looked at.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mien import api
from mien.data.splits import needed, split
from mien.data.store import Faces, FaceStore
from mien.errors import InputError, MienError, extra_required
from mien.files import write_json
from mien.runs import RunFolder
from mien.studies.sweep_space import Space, assignments, read_space
from mien.training import (
    Recipe,
    StoppedError,
    Watcher,
    override,
    to_dict,
    train,
)
from mien.training.stopping import StopRequest, signals_noted

with extra_required("sweep", "mien sweep"):
    import optuna
    from optuna.storages import journal

if TYPE_CHECKING:
    from collections.abc import Iterator

Engine = Literal["optuna", "ray"]

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
class Job:
    """All that a worker, here or on another machine, has to know.

    recipe: what the space's fields are changed of; its expressions are the data's.
    threads: that compute one trial; None leaves it to torch.
    """

    recipe: Recipe
    space: Space
    data: str | Path | FaceStore
    labels: Sequence[str] | None
    out: Path
    device: str
    threads: int | None
    command: str | None

    def study(self, seed: int = 0) -> optuna.Study:
        """The study in the journal. `seed`: unlike that of any other worker's."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = str(self.out / "journal.log")
        lock = journal.JournalFileOpenLock(path) if sys.platform == "win32" else None
        storage = journal.JournalStorage(journal.JournalFileBackend(path, lock))
        grace = max(1, round(_GRACE * self.recipe.epochs))
        study = optuna.create_study(
            study_name="sweep",
            storage=storage,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=grace),
        )
        # A study that goes on must not draw the same points again.
        study.sampler = optuna.samplers.TPESampler(seed=1000 * len(study.trials) + seed)
        return study

    def faces(self) -> tuple[Faces, Faces]:
        """The faces to fit, and those that every trial is judged by."""
        store = api.load_for(self.recipe, self.data, self.labels)
        splits = split(store, self.recipe.split)
        return needed(splits.train, "train"), needed(splits.validation, "validation")

    def run_folder(self, trial: optuna.Trial | optuna.trial.FrozenTrial) -> Path:
        """Where a trial's run is; of one that goes on, where it began."""
        name: str = trial.user_attrs.get(FOLDER, f"trial-{trial.number:04d}")
        return self.out / "trials" / name


@dataclass(frozen=True)
class Tried:
    """A trial that came to an end.

    state: `complete`, `pruned` (it did worse than others and was stopped) or `failed`.
    accuracy: on validation, 0..1: of the kept weights, or the last before it was pruned.
    """

    number: int
    state: str
    settings: dict[str, Any]
    accuracy: float | None
    epochs: int
    seconds: float
    run: str
    problem: str | None


@dataclass(frozen=True)
class Sweep:
    """A sweep as it stands: its trials in the order they began, `importance` of each setting (sums to 1).

    `data` is where the faces lie, None for a store in memory.
    """

    recipe: Recipe
    space: Space
    trials: list[Tried]
    importance: dict[str, float]
    engine: str
    data: str | None
    out: Path
    command: str | None

    @property
    def complete(self) -> list[Tried]:
        return [trial for trial in self.trials if trial.state == "complete"]

    @property
    def best(self) -> Tried | None:
        """The complete trial of the highest validation accuracy, the earliest of several."""
        return max(self.complete, key=lambda trial: trial.accuracy or 0, default=None)

    @property
    def best_path(self) -> Path:
        """The best recipe, a file that `mien train` takes."""
        return self.out / "best.json"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        best = self.best
        return {
            "recipe": self.recipe.name,
            "space": self.space.to_dict(),
            "engine": self.engine,
            "best": None if best is None else best.number,
            "best_recipe": None if best is None else str(self.best_path),
            "importance": self.importance,
            "trials": [dataclasses.asdict(trial) for trial in self.trials],
            "command": self.command,
        }


def sweep(
    recipe: str | Recipe,
    data: str | Path | FaceStore = "synthetic",
    *,
    space: str | Path,
    trials: int,
    out: str | Path,
    engine: Engine = "optuna",
    workers: int = 1,
    overrides: Sequence[str] = (),
    labels: Sequence[str] | None = None,
    device: str = "auto",
    say: Callable[[str], None] = print,
    command: str | None = None,
) -> Sweep:
    """Train a recipe with settings out of a space, and write which did best on validation.

    Args:
        recipe: a name, a recipe's file or a Recipe.
        data: a path, `synthetic`, `synthetic:N`, or a store.
        space: the file of fields and ranges: see `sweep_space`.
        trials: how many in all; those that `out` holds count.
        out: folder of journal, runs and report.
        engine: `optuna`: workers are processes on this machine, poor trials are stopped by the
            median of the others; `ray`: workers are those of a Ray cluster, by successive halving.
        workers: trials at a time; they share this machine's cores.
        overrides, labels, device: as for `train`.
        say: told of every trial; must be picklable where there are several workers.
        command: the command line, for the record.

    Raises:
        InputError: a space that does not fit the recipe, a folder that holds another sweep, settings
            of which not one could be trained.
        StoppedError: SIGINT or SIGTERM; all that was trained is kept, the same command goes on.
    """
    from mien import models
    from mien.studies.sweep_page import write_sweep

    if trials < 1 or workers < 1:
        raise InputError("--trials and --workers are 1 or more")
    if engine not in ("optuna", "ray"):
        raise InputError(f"--engine {engine}: use optuna or ray")
    chosen = api.chosen_recipe(recipe, overrides)
    found = read_space(Path(space), chosen)
    models.pick_device(device)
    store = api.load_for(chosen, data, labels)
    chosen = dataclasses.replace(chosen, expressions=store.expressions)
    out = Path(out)
    threads = max(1, (os.cpu_count() or 1) // workers) if workers > 1 else None
    job = Job(chosen, found, data, labels, out, device, threads, command)
    job.faces()  # splits that cannot be trained on are said at once
    _begin(job, store)
    with _alone(out):
        study = job.study()
        left = max(0, trials - len(_ended(study)) - _take_up(study, job))
        waiting = len(study.get_trials(states=(optuna.trial.TrialState.WAITING,)))
        try:
            if left + waiting:
                _run(job, engine, left + waiting, workers, say)
        finally:
            summary = summarise(job, job.study(), engine)
            write_sweep(summary)
    if summary.best is None:
        problems = [trial.problem for trial in summary.trials if trial.problem]
        raise InputError(
            f"{out}: no trial was completed ({problems[0] if problems else 'all pruned'})"
        )
    return summary


def _run(job: Job, engine: Engine, count: int, workers: int, say: Callable[[str], None]) -> None:
    if engine == "ray":
        from mien.studies.sweep_on_ray import run_on_ray

        run_on_ray(job, count, workers, say)
    elif workers == 1:
        one_after_another(job, lambda: True, count, 0, say)
    else:
        _in_parallel(job, count, workers, say)


def one_after_another(
    job: Job, may_begin: Callable[[], bool], count: int, worker: int, say: Callable[[str], None]
) -> None:
    """Ask for trials and train them, `count` at most, while others may begin."""
    study = job.study(worker)
    faces = job.faces()
    for _ in range(count):
        if not may_begin():
            return
        trial = study.ask(job.space.distributions())

        def report(epoch: int, accuracy: float, last: bool, trial: optuna.Trial = trial) -> None:
            trial.report(accuracy, epoch)
            if not last and trial.should_prune():
                raise optuna.TrialPruned

        try:
            value = train_trial(job, job.run_folder(trial), trial.params, faces, report)
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
    job: Job,
    folder: Path,
    settings: Mapping[str, Any],
    faces: tuple[Faces, Faces],
    report: Callable[[int, float, bool], None],
) -> float:
    """Train one point of the space, or go on with it; the validation accuracy of the kept weights.

    `report` is told epoch, validation accuracy, and whether it was the last; it may raise to end it.
    """
    recipe = override(job.recipe, assignments(settings))
    run = train(
        recipe,
        *faces,
        folder,
        device=job.device,
        resume=(folder / "recipe.json").exists(),
        watchers=[_Reporter(report, recipe.epochs)],
        notes={"command": job.command},
    )
    return run.kept_epoch()["validation_accuracy"]


class _Reporter(Watcher):
    """Tells every epoch on, those first that were trained before a run was gone on with."""

    def __init__(self, report: Callable[[int, float, bool], None], epochs: int) -> None:
        self._report, self._epochs = report, epochs

    def started(self, run: RunFolder, recipe: Recipe, steps: int, first_step: int) -> None:
        for row in run.history():
            self._report(int(row["epoch"]), row["validation_accuracy"], True)

    def epoch_ended(self, row: Mapping[str, float], confusion_KK: Any, *, best: bool) -> None:
        epoch = int(row["epoch"])
        self._report(epoch, row["validation_accuracy"], epoch >= self._epochs)
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            sys.exit("the sweep was killed; the same command goes on")


def line(trial: optuna.trial.FrozenTrial) -> str:
    """What is said of a trial that ended."""
    last = trial.value if trial.value is not None else _last(trial)
    came = f"validation {last:.2%}" if last is not None else "nothing learnt"
    state = {"COMPLETE": "", "PRUNED": ", pruned", "FAIL": ", failed"}[trial.state.name]
    said = f"trial {trial.number}: {came}{state}  {'  '.join(assignments(trial.params))}"
    problem = trial.user_attrs.get(PROBLEM)
    return f"{said}  ({problem})" if problem else said


def _last(trial: optuna.trial.FrozenTrial) -> float | None:
    values = trial.intermediate_values
    return values[max(values)] if values else None


def _in_parallel(job: Job, count: int, workers: int, say: Callable[[str], None]) -> None:
    """So many processes, each asking for the next trial, until all have begun."""
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    tickets = context.Semaphore(count)
    processes = [
        context.Process(target=_worker, args=(job, tickets, count, number, say), daemon=True)
        for number in range(min(workers, count))
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


def _worker(job: Job, tickets: Any, count: int, number: int, say: Callable[[str], None]) -> None:
    """One process of several."""
    if sys.platform != "win32":
        os.setsid()  # Ctrl-C in the terminal reaches the parent alone, which passes it on
    if job.threads is not None:
        import torch

        torch.set_num_threads(job.threads)
    try:
        one_after_another(job, lambda: tickets.acquire(block=False), count, number + 1, say)
    except MienError as error:
        if not isinstance(error, StoppedError):
            say(f"error: {error}")
        sys.exit(error.exit_code)


def _ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that came to an end; those that another went on with are not among them."""
    trials = study.get_trials(deepcopy=False)
    superseded = {trial.user_attrs.get(INSTEAD_OF) for trial in trials}
    return [t for t in trials if t.state in _ENDED and t.number not in superseded]


def _take_up(study: optuna.Study, job: Job) -> int:
    """Let what was being trained when the last call ended go on; how many trials wait to be begun."""
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        folder = job.run_folder(trial).name
        study.enqueue_trial(trial.params, user_attrs={FOLDER: folder, INSTEAD_OF: trial.number})
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return len(study.get_trials(states=(optuna.trial.TrialState.WAITING,)))


def _begin(job: Job, store: FaceStore) -> None:
    """Write down what is swept; InputError where the folder holds something else."""
    path = job.out / "plan.json"
    content = [to_dict(job.recipe), job.space.to_dict(), store.fingerprint]
    identity = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")).get("identity") != identity:
            raise InputError(
                f"{job.out}: holds a sweep of another recipe, space or data; choose another --out"
            )
    elif job.out.exists() and any(job.out.iterdir()):
        raise InputError(f"{job.out}: holds something else; choose another --out, or a new one")
    else:
        write_json(path, {"recipe": job.recipe.name, "identity": identity})


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """InputError while another `mien sweep` works in the folder: it would take over its trials."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (out / "plan.json").open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{out}: another sweep is at work here; wait for it, or stop it"
            ) from None
        yield


def summarise(job: Job, study: optuna.Study, engine: str) -> Sweep:
    """What the journal and the runs tell."""
    tried = []
    for trial in _ended(study):
        folder = job.run_folder(trial)
        history = RunFolder(folder).history()
        states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        tried.append(
            Tried(
                number=trial.number,
                state=states[trial.state.name],
                settings=trial.params,
                accuracy=trial.value if trial.value is not None else _last(trial),
                epochs=len(history),
                seconds=sum(row["seconds"] for row in history),
                run=str(folder),
                problem=trial.user_attrs.get(PROBLEM),
            )
        )
    data = None if isinstance(job.data, FaceStore) else str(job.data)
    shares = _importance(study)
    return Sweep(job.recipe, job.space, tried, shares, engine, data, job.out, job.command)


def _importance(study: optuna.Study) -> dict[str, float]:
    """How much of the variance of accuracy each setting explains (fANOVA: Hutter et al. 2014), most first.

    Empty where too few trials were completed to say.
    """
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < 4 or np.ptp([trial.value for trial in complete]) == 0:
        return {}
    return optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
