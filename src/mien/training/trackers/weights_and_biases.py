"""Weights & Biases, online or as files in RUN/wandb that `wandb sync` uploads later."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, extra_required
from mien.runs import RunFolder
from mien.training.trackers.tracking import ExperimentTracker, title

if TYPE_CHECKING:
    import wandb

#: Seconds that a network may keep a training waiting, at its start and at its end. What was not
#: uploaded by then lies in RUN/wandb, where `wandb sync` finds it.
_START_WAIT, _END_WAIT = 30, 120


class WeightsAndBiases(ExperimentTracker):
    """One W&B run, gone on with by its id. The WANDB_... variables of the environment are respected."""

    library = "wandb"
    _log: wandb.Run

    def __init__(self, *, offline: bool = False) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")  # mien says in one line where the log is
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        with extra_required("track", "--track wandb"):
            import wandb
        self._mode = "offline" if offline else os.environ.get("WANDB_MODE", "online")
        if self._mode == "online" and wandb.run is None:
            try:
                logged_in = wandb.login(prompt=False, verify=False)
            except wandb.errors.Error as error:
                raise InputError(
                    f"--track wandb: {str(error).splitlines()[0]}; mend it with `wandb login`"
                ) from error
            if not logged_in:
                raise InputError(
                    "--track wandb: not logged in to Weights & Biases; run `wandb login` or set "
                    "WANDB_API_KEY, or use --track wandb-offline"
                )

    def begin(
        self, run: RunFolder, facts: Mapping[str, Any], first_step: int, identity: str | None
    ) -> tuple[str, str]:
        import wandb

        self._log = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "mien"),
            name=os.environ.get("WANDB_NAME", title(run)),
            dir=os.environ.get("WANDB_DIR", str(run.path)),
            config=dict(facts),
            id=identity,
            resume="allow" if identity else None,
            mode=self._mode,  # type: ignore[arg-type]
            reinit="create_new",  # a notebook may have a run of its own
            settings=wandb.Settings(
                console="off",
                silent=True,
                init_timeout=_START_WAIT,
                finish_timeout=_END_WAIT,
            ),
        )
        # W&B counts anew the steps of an offline piece that it adds to a run; the figures keep ours.
        self._log.define_metric("*", step_metric="step")
        pieces = Path(self._log.dir).parents[1]  # one an offline training, all of the same id
        upload = f"wandb sync {shlex.quote(str(pieces))}/offline-run-*-{self._log.id}"
        return self._log.id, self._log.url or upload

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._log.log({"step": step, **figures}, step=step)

    def picture(self, name: str, pixels_HWC: NDArray[np.uint8], caption: str, step: int) -> None:
        import wandb

        self._log.log({name: wandb.Image(pixels_HWC, caption=caption)}, step=step)

    def end(self, exit_code: int) -> None:
        self._log.finish(exit_code=exit_code)
