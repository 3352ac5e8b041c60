"""Weights & Biases: log online, or to files in RUN/wandb that `wandb sync` uploads later."""

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

#: The most seconds that a training waits for the network, at its start and at its end. Figures not uploaded by
#: then stay in RUN/wandb, for `wandb sync`.
_START_WAIT, _END_WAIT = 30, 120


class WeightsAndBiases(ExperimentTracker):
    """Logs to one W&B run, continued by its id. The WANDB_... variables of the environment are respected."""

    library = "wandb"
    _log: wandb.Run

    def __init__(self, *, offline: bool = False) -> None:
        """Check the login, unless offline.

        Raises:
            InputError: the user is not logged in.
            MissingExtraError: wandb is not installed.
        """
        os.environ.setdefault("WANDB_SILENT", "true")  # mien prints the address of the log itself
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        with extra_required("track", "--track wandb"):
            import wandb
        self._mode = "offline" if offline else os.environ.get("WANDB_MODE", "online")
        if self._mode == "online" and wandb.run is None:
            try:
                logged_in = wandb.login(prompt=False, verify=False)
            except wandb.errors.Error as error:
                raise InputError(
                    f"--track wandb: {str(error).splitlines()[0]}; correct it with `wandb login`"
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
            reinit="create_new",  # a notebook may have its own run open
            settings=wandb.Settings(
                console="off",
                silent=True,
                init_timeout=_START_WAIT,
                finish_timeout=_END_WAIT,
            ),
        )
        # W&B restarts its own step count for each offline part of a run; so use our step as the x axis.
        self._log.define_metric("*", step_metric="step")
        # One folder for each offline part, all with the same id.
        pieces = Path(self._log.dir).parents[1]
        upload = f"wandb sync {shlex.quote(str(pieces))}/offline-run-*-{self._log.id}"
        return self._log.id, self._log.url or upload

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._log.log({"step": step, **figures}, step=step)

    def picture(self, name: str, pixels_HWC: NDArray[np.uint8], caption: str, step: int) -> None:
        import wandb

        self._log.log({name: wandb.Image(pixels_HWC, caption=caption)}, step=step)

    def end(self, exit_code: int) -> None:
        self._log.finish(exit_code=exit_code)
