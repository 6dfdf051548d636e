"""The history of a training for another tool: event files, or a run of MLflow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from songbag_store.errors import require_extra
from songbag_store.plugin import first_line
from songbag_training.config import TrainConfig
from songbag_training.errors import RunError
from songbag_training.parts.board import Board
from songbag_training.runs.history import COLUMNS, History, Row
from songbag_training.runs.run import Run

FOLDER = "mlflow"
"""Folder of a run for MLflow's local file store, if no other store is named."""

EXPERIMENT = "songbag"
"""Name of the experiment, if MLFLOW_EXPERIMENT_NAME gives none."""

_TAG = "songbag.run_id"
_LONGEST = 500


def require_log(config: TrainConfig) -> None:
    """Require what the log of a training needs, before work begins.

    Raises
    ------
    MissingExtra
        If MLflow is not installed.
    """
    if config.log == "mlflow":
        require_extra("mlflow", "mlflow", place="log='mlflow'")


def open_log(run: Run, history: History) -> list[keras.callbacks.Callback]:
    """Return the callback that logs a training, if it is to be logged; its finished epochs are logged first."""
    kind = run.network.log
    return [] if kind == "none" else [Board(run.folder, history) if kind == "tensorboard" else MlflowLog(run, history)]


def log_results(run: Run, metrics: Mapping[str, Any]) -> None:
    """Add the metrics of the test songs to the log of a training that has ended, where it takes them."""
    if run.network.log == "mlflow":
        MlflowLog(run, None).finish(metrics)


class MlflowLog(keras.callbacks.Callback):
    """Writes settings, history and results as a run of MLflow, named as the run's folder.

    They go to the store that ``MLFLOW_TRACKING_URI`` names, or into ``RUN/mlflow``: ``mlflow ui --backend-store-uri
    RUN/mlflow`` shows them. A training that is resumed goes on in the same run of MLflow.

    Parameters
    ----------
    run : Run
    history : History, optional
        Its finished epochs are logged if they are not yet; later epochs when they end.

    Raises
    ------
    MissingExtra
        If MLflow is not installed.
    RunError
        If the store cannot be written.
    """

    def __init__(self, run: Run, history: History | None) -> None:
        super().__init__()
        require_log(run.network)
        self._history = history
        own = (run.folder.absolute() / FOLDER).as_uri()
        address = os.environ.get("MLFLOW_TRACKING_URI") or own
        # An address of the user's may hold a password.
        self._place = own if address == own else "MLFLOW_TRACKING_URI"
        # MLflow takes files only if it is told to.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        try:
            from mlflow import MlflowClient

            self._client = MlflowClient(address)
            self._id = self._run_id(run)
            logged = {one.step for one in self._client.get_metric_history(self._id, "seconds")}
            for row in history.rows if history else ():
                if int(row["epoch"]) not in logged:
                    self._add(row)
        except Exception as error:
            raise self._fault(error) from error

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write the last epoch of the history."""
        assert self._history is not None
        try:
            self._add(self._history.rows[-1])
        except Exception as error:
            raise self._fault(error) from error

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Write the metrics of the test songs, and that the training has ended."""
        try:
            for name, value in metrics.get("test", {}).get("song", {}).items():
                if isinstance(value, int | float):
                    self._client.log_metric(self._id, f"test_{name}", float(value))
            self._client.set_terminated(self._id)
        except Exception as error:
            raise self._fault(error) from error

    def _run_id(self, run: Run) -> str:
        """Return the run of MLflow for a run, made if need be."""
        facts, client = run.facts, self._client
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        known = client.get_experiment_by_name(name)
        experiment = client.create_experiment(name) if known is None else known.experiment_id
        if found := client.search_runs([experiment], f"tags.`{_TAG}` = '{facts.run_id}'", max_results=1):
            return str(found[0].info.run_id)
        tags = {_TAG: facts.run_id, "songbag.folder": str(run.folder.absolute())}
        made = str(client.create_run(experiment, tags=tags, run_name=_name(run.folder)).info.run_id)
        own = {"label": facts.label, "store": facts.store_location, "snapshot": facts.snapshot}
        for key, value in (run.network.to_dict() | own).items():
            client.log_param(made, key, str(value)[:_LONGEST])
        return made

    def _add(self, row: Row) -> None:
        for name in COLUMNS[1:]:
            if name in row:
                self._client.log_metric(self._id, name, float(row[name]), step=int(row["epoch"]))

    def _fault(self, error: Exception) -> RunError:
        what = f"MLflow cannot write there ({type(error).__name__}: {first_line(error)})"
        return RunError(what, place=self._place, remedy="See to it, or name another store, and go on with `resume`.")


def _name(folder: Path) -> str:
    return os.fsencode(folder.absolute().name).decode(errors="backslashreplace")
