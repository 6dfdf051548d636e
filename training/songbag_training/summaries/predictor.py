"""`Predictor`: a linear model and trees on summaries, kept as arrays. It needs no scikit-learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from songbag_store import FeatureSpec
from songbag_training.config import BaselineConfig, SummariesOf
from songbag_training.evaluation.calibration import scale
from songbag_training.songs.task import Task
from songbag_training.summaries.linear import Linear
from songbag_training.summaries.statistics import summary_names
from songbag_training.summaries.trees import Tensors, Trees, require_fit
from songbag_training.types import FloatArray, Floats

Chosen = Literal["linear", "trees", "mean"]
LEARNERS: tuple[Chosen, ...] = ("linear", "trees", "mean")
"""Whose probabilities there are: those of the linear model, of the trees, and the mean of both."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Predictor:
    """Probabilities from summaries.

    Attributes
    ----------
    task : Task
        What was learned.
    learner : str
        Whose probabilities count: ``linear``, ``trees`` or ``mean``.
    kind : str
        Which summaries: ``windows`` or ``index``.
    linear : Linear
    trees : Trees
    temperature : float
        Of the calibration; 1 if there was none.
    """

    task: Task
    learner: Chosen
    kind: SummariesOf
    linear: Linear
    trees: Trees
    temperature: float = 1.0

    def probabilities(self, summaries: FloatArray) -> Floats:
        """Return the probabilities of songs.

        Parameters
        ----------
        summaries : float32, shape (S, F)
            See `songbag_training.summaries.statistics.summaries`.

        Returns
        -------
        probabilities : float64, shape (S, n_classes)
        """
        return self.calibrated(self.of_learners(summaries)[self.learner])

    def calibrated(self, probabilities: Floats) -> Floats:
        """Return probabilities of the chosen learner at the temperature."""
        return probabilities if self.temperature == 1.0 else scale(self.task, probabilities, self.temperature)

    def of_learners(self, summaries: FloatArray) -> dict[Chosen, Floats]:
        """Return the probabilities of each learner, not calibrated."""
        linear = self.task.probabilities(self.linear.logits(summaries))
        trees = self.trees.probabilities(summaries, len(self.task.classes))
        return {"linear": linear, "trees": trees, "mean": (linear + trees) / 2}

    def tensors(self) -> Tensors:
        """Return all arrays by their names in `weights.safetensors`."""
        found = {f"linear/{name}": getattr(self.linear, name) for name in _fields(Linear)}
        return found | self.trees.tensors() | {"temperature": np.array([self.temperature], np.float64)}

    @classmethod
    def of_tensors(
        cls, tensors: Mapping[str, npt.NDArray[Any]], task: Task, spec: FeatureSpec, config: BaselineConfig
    ) -> Self:
        """Return the predictor whose arrays these are.

        Raises
        ------
        ValueError
            If they are not those of a predictor for this task and these summaries.
        """
        if config.learner == "auto":
            raise ValueError("no learner was chosen")
        n_summaries = len(summary_names(spec, config.summaries))
        of_linear = {f"linear/{name}" for name in _fields(Linear)}
        if not tensors.keys() >= of_linear | {"temperature"}:
            raise ValueError("the arrays are not those of a baseline")
        linear = Linear(**{name: tensors[f"linear/{name}"] for name in _fields(Linear)})
        _check_linear(linear, n_summaries, task.n_logits)
        others = {name: own for name, own in tensors.items() if name not in of_linear | {"temperature"}}
        trees = Trees.of_tensors(others, n_summaries, len(task.classes))
        temperature = tensors["temperature"]
        require_fit(temperature.shape == (1,) and temperature.dtype == np.float64 and temperature[0] > 0, "temperature")
        return cls(task, config.learner, config.summaries, linear, trees, float(temperature[0]))


def _fields(cls: type[Linear]) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _check_linear(linear: Linear, n_summaries: int, n_logits: int) -> None:
    shapes = {"mean": (n_summaries,), "scale": (n_summaries,), "weights": (n_summaries, n_logits), "bias": (n_logits,)}
    for name, shape in shapes.items():
        own = getattr(linear, name)
        require_fit(own.shape == shape and own.dtype == np.float32, f"linear/{name}")
