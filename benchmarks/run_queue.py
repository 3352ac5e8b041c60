"""Run a queue of mien commands, several at once, and write each result as it ends.

    python benchmarks/run_queue.py benchmarks/flagship.toml --data FER2013 --out runs/flagship --at-once 6

The queue is a TOML file of jobs, each with a name, what follows `mien` on a command line (`{data}`,
`{out}` and `{name}` are filled in; `{folder}` is `{out}/{name}`), and the jobs that have to be finished
`after` which it starts. A job with `alone = true`, for its time is measured, runs beside no other. A job that fails
leaves out what waits for it, and nothing else. The processor's cores are shared out among the jobs that run at once.

The same command goes on after an interruption: finished jobs are kept, trainings are resumed.

Below --out, as each job ends: `results.csv` has a line (the kept epoch's figures of a training, minutes),
`NAME.out` and `NAME.log` what it printed, and `NAME.safetensors` a training's best weights in float16,
half the size, for taking along; above 16 MB in several files.
"""

from __future__ import annotations

import argparse
import csv
import os
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

COLUMNS = [
    "job",
    "exit",
    "minutes",
    "epoch",
    "train_accuracy",
    "validation_accuracy",
    "validation_loss",
]
KEPT = COLUMNS[3:]
#: Bytes of a file of weights.
_LARGEST = 16_000_000


@dataclass
class Job:
    """One command of the queue. `process` and `started` are set while it runs."""

    name: str
    arguments: list[str]
    after: list[str]
    folder: Path
    alone: bool = False
    process: subprocess.Popen[bytes] | None = None
    started: float = field(default=0.0)

    @property
    def is_training(self) -> bool:
        return self.arguments[0] == "train"


def read_queue(path: Path, data: str, out: Path) -> list[Job]:
    jobs = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["job"]:
        name = entry["name"]
        places = {"data": data, "out": out, "name": name, "folder": out / name}
        arguments = [part.format(**places) for part in shlex.split(entry["run"])]
        after, alone = entry.get("after", []), entry.get("alone", False)
        jobs.append(Job(name, arguments, after, out / name, alone))
    known = {job.name for job in jobs}
    for job in jobs:
        if missing := set(job.after) - known:
            sys.exit(
                f"{path}: {job.name} waits for {', '.join(missing)}, which the queue does not have"
            )
    return jobs


def start(job: Job, out: Path, threads: int) -> None:
    arguments = list(job.arguments)
    if job.is_training and (job.folder / "recipe.json").exists():
        arguments.append("--resume")
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    # Windows: so that it, and not this process too, is sent what asks it to stop.
    apart = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    with (
        (out / f"{job.name}.out").open("wb") as printed,
        (out / f"{job.name}.log").open("ab") as log,
    ):
        job.process = subprocess.Popen(
            [sys.executable, "-m", "mien", *arguments],
            stdout=printed,
            stderr=log,
            env=environment,
            creationflags=apart,
        )
    job.started = time.monotonic()


def ask_to_stop(job: Job) -> None:
    """A training saves its state and ends."""
    assert job.process is not None
    if os.name == "nt":
        job.process.send_signal(signal.CTRL_BREAK_EVENT)  # type: ignore[attr-defined]
    else:
        job.process.terminate()


def may_start(job: Job, running: list[Job], done: set[str], at_once: int) -> bool:
    """Whether there is room for it, and what it waits for is finished."""
    has_room = not running if job.alone else len(running) < at_once
    return has_room and not any(one.alone for one in running) and done.issuperset(job.after)


def save_halved(path: Path, target: Path) -> None:
    """The weights in float16, in one file or in several, so that none is larger than _LARGEST."""
    from safetensors.torch import load_file, save_file

    parts: list[dict[str, object]] = [{}]
    size = 0
    for name, tensor in load_file(path).items():
        half = tensor.half() if tensor.is_floating_point() else tensor
        if size + half.nbytes > _LARGEST:
            parts.append({})
            size = 0
        parts[-1][name] = half
        size += half.nbytes
    for number, part in enumerate(parts):
        save_file(part, target if not number else target.with_suffix(f".{number}.safetensors"))


def finish(job: Job, exit_status: int, out: Path) -> None:
    """Add the job's line to the results, and keep a training's weights in half the size."""
    minutes = (time.monotonic() - job.started) / 60
    row: dict[str, object] = {"job": job.name, "exit": exit_status, "minutes": f"{minutes:.1f}"}
    if job.is_training and exit_status == 0:
        from mien.runs import RunFolder

        run = RunFolder.open(job.folder)
        kept = run.kept_epoch()
        row |= {name: f"{kept[name]:g}" for name in KEPT}
        save_halved(run.best_weights, out / f"{job.name}.safetensors")
    results = out / "results.csv"
    is_new = not results.exists()
    with results.open("a", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerow(row)
    print(*(f"{name}={value}" for name, value in row.items()), flush=True)


def finished_before(out: Path) -> set[str]:
    results = out / "results.csv"
    if not results.exists():
        return set()
    with results.open(newline="") as handle:
        return {row["job"] for row in csv.DictReader(handle) if row["exit"] == "0"}


def run_all(jobs: list[Job], out: Path, at_once: int, threads: int) -> bool:
    """Run what is not finished; whether everything ended well."""
    done = finished_before(out)
    failed: set[str] = set()
    waiting = [job for job in jobs if job.name not in done]
    running: list[Job] = []
    try:
        while waiting or running:
            for job in list(waiting):
                if failed & set(job.after):
                    print(f"job={job.name} left out: what it waits for has failed", flush=True)
                    failed.add(job.name)
                    waiting.remove(job)
                elif may_start(job, running, done, at_once):
                    waiting.remove(job)
                    start(job, out, threads)
                    running.append(job)
                elif job.alone and done.issuperset(job.after):
                    break  # so that it is not kept waiting by those behind it
            for job in list(running):
                assert job.process is not None
                status = job.process.poll()
                if status is not None:
                    running.remove(job)
                    finish(job, status, out)
                    (failed if status else done).add(job.name)
            time.sleep(0.2)
    finally:
        for job in running:  # interrupted
            ask_to_stop(job)
        for job in running:
            assert job.process is not None
            job.process.wait()
    return not failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("queue", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--at-once", type=int, default=1, help="jobs that run side by side")
    parser.add_argument(
        "--threads", type=int, help="CPU threads of each; by default cores / --at-once"
    )
    arguments = parser.parse_args()
    jobs = read_queue(arguments.queue, arguments.data, arguments.out)
    arguments.out.mkdir(parents=True, exist_ok=True)
    threads = arguments.threads or max(1, (os.cpu_count() or 1) // arguments.at_once)
    if not run_all(jobs, arguments.out, arguments.at_once, threads):
        sys.exit(1)


if __name__ == "__main__":
    main()
