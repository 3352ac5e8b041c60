"""MLflow: log to the store of MLFLOW_TRACKING_URI, by default RUN/mlflow/mlflow.db."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import extra_required
from mien.evaluation.text import flatten
from mien.runs import RunFolder
from mien.training.trackers.tracking import ExperimentTracker, title

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

#: Seconds between two messages with figures, because a store may be on a slow network.
_SEND_EVERY = 5.0

#: MLflow's limits on metrics and params in one message.
_METRICS_AT_ONCE, _PARAMS_AT_ONCE = 1000, 100


class MLflow(ExperimentTracker):
    """One MLflow run: figures as metrics, the recipe as params, data and environment as tags."""

    library = "mlflow"
    _client: MlflowClient
    _run_id: str

    def __init__(self) -> None:
        for name, value in (
            ("MLFLOW_DISABLE_TELEMETRY", "true"),
            ("MLFLOW_LOGGING_LEVEL", "WARNING"),
            ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),
            ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),  # the default waits for minutes
        ):
            os.environ.setdefault(name, value)
        with extra_required("track", "--track mlflow"):
            import alembic  # noqa: F401
            import mlflow  # noqa: F401
            import sqlalchemy  # noqa: F401
        self._waiting: list[Metric] = []
        self._sent = 0.0
        self._told: dict[str, int] = {}

    def begin(
        self, run: RunFolder, facts: Mapping[str, Any], first_step: int, identity: str | None
    ) -> tuple[str, str]:
        import mlflow

        own = run.path.resolve() / "mlflow"
        uri = f"sqlite:///{(own / 'mlflow.db').as_posix()}"
        if mlflow.is_tracking_uri_set():  # type: ignore[no-untyped-call]
            uri, own_artifacts = mlflow.get_tracking_uri(), None
        else:
            own.mkdir(parents=True, exist_ok=True)
            own_artifacts = (own / "artifacts").as_uri()
        self._client = mlflow.MlflowClient(uri)
        if identity is None:
            experiment = self._experiment(own_artifacts)
            tags = dict(flatten({name: facts[name] for name in ("data", "environment")}))
            made = self._client.create_run(experiment, tags=tags, run_name=title(run))
            self._run_id = made.info.run_id
            params = [mlflow.entities.Param(*row) for row in flatten(facts["recipe"])]
            for start in range(0, len(params), _PARAMS_AT_ONCE):
                self._client.log_batch(self._run_id, params=params[start : start + _PARAMS_AT_ONCE])
        else:
            self._run_id = identity
            self._client.update_run(identity, status="RUNNING")
            # Steps after the last saved state are repeated; their figures must not be logged twice.
            for name in self._client.get_run(identity).data.metrics:
                told = self._client.get_metric_history(identity, name)
                self._told[name] = max(metric.step for metric in told)
        return self._run_id, f"run {self._run_id} in {uri}"

    def _experiment(self, artifacts: str | None) -> str:
        """The id of the experiment named by the environment, by default `mien`; it is created if missing."""
        if "MLFLOW_EXPERIMENT_ID" in os.environ:
            return os.environ["MLFLOW_EXPERIMENT_ID"]
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "mien")
        known = self._client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        return str(self._client.create_experiment(name, artifact_location=artifacts))

    def log(self, figures: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = time.time()
        self._waiting += [
            Metric(name, value, int(1000 * now), step)
            for name, value in figures.items()
            if step > self._told.get(name, -1)
        ]
        if now - self._sent > _SEND_EVERY or len(self._waiting) > _METRICS_AT_ONCE // 2:
            self._send()

    def _send(self) -> None:
        waiting, self._waiting, self._sent = self._waiting, [], time.time()
        self._client.log_batch(self._run_id, metrics=waiting)

    def picture(self, name: str, pixels_HWC: NDArray[np.uint8], caption: str, step: int) -> None:
        self._client.log_image(self._run_id, pixels_HWC, f"{name}.png")

    def end(self, exit_code: int) -> None:
        self._send()
        status = "FINISHED" if exit_code == 0 else "KILLED" if exit_code > 128 else "FAILED"
        self._client.set_terminated(self._run_id, status=status)
