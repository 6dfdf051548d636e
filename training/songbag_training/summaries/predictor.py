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
from songbag_training.summaries.trees import Trees
from songbag_training.types import FloatArray, Floats

Chosen = Literal["linear", "trees", "mean"]
LEARNERS: tuple[Chosen, ...] = ("linear", "trees", "mean")
"""Whose probabilities there are: those of the linear model, of the trees, and the mean of both."""

Tensors = dict[str, npt.NDArray[Any]]


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
        found |= {f"trees/{name}": getattr(self.trees, name) for name in _fields(Trees)}
        return found | {"temperature": np.array([self.temperature], np.float64)}

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
        names = {f"{kind}/{name}" for kind, own in (("linear", Linear), ("trees", Trees)) for name in _fields(own)}
        if tensors.keys() != names | {"temperature"}:
            raise ValueError("the arrays are not those of a baseline")
        linear = Linear(**{name: tensors[f"linear/{name}"] for name in _fields(Linear)})
        trees = Trees(**{name: tensors[f"trees/{name}"] for name in _fields(Trees)})
        _check_linear(linear, n_summaries, task.n_logits)
        _check_trees(trees, n_summaries, len(task.classes))
        temperature = tensors["temperature"]
        _require(temperature.shape == (1,) and temperature.dtype == np.float64 and temperature[0] > 0, "temperature")
        return cls(task, config.learner, config.summaries, linear, trees, float(temperature[0]))


def _fields(cls: type[Linear] | type[Trees]) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _require(fits: object, name: str) -> None:
    if not fits:
        raise ValueError(f"the array {name!r} does not fit the others or run.json")


def _check_linear(linear: Linear, n_summaries: int, n_logits: int) -> None:
    shapes = {"mean": (n_summaries,), "scale": (n_summaries,), "weights": (n_summaries, n_logits), "bias": (n_logits,)}
    for name, shape in shapes.items():
        own = getattr(linear, name)
        _require(own.shape == shape and own.dtype == np.float32, f"linear/{name}")


def _check_trees(trees: Trees, n_summaries: int, n_classes: int) -> None:
    """Refuse nodes that lead outside the arrays, or back: prediction would fail, or never end."""
    n, kinds = len(trees.feature), {"threshold": np.float32, "shares": np.float32, "starts": np.int64}
    lengths = {"roots": len(trees.roots), "starts": n + 1, "classes": len(trees.classes), "shares": len(trees.classes)}
    for name in _fields(Trees):
        own = getattr(trees, name)
        fits = own.shape == (lengths.get(name, n),) and own.dtype == kinds.get(name, np.int32)
        _require(fits, f"trees/{name}")
    inner = np.flatnonzero(trees.feature != -1)
    for name in ("left", "right"):
        own = getattr(trees, name)[inner]
        _require(((own > inner) & (own < n)).all(), f"trees/{name}")
    _require(((trees.feature >= -1) & (trees.feature < n_summaries)).all(), "trees/feature")
    _require(len(trees.roots) and ((trees.roots >= 0) & (trees.roots < n)).all(), "trees/roots")
    _require(((trees.classes >= 0) & (trees.classes < n_classes)).all(), "trees/classes")
    ascends = (np.diff(trees.starts) >= 0).all()
    _require(ascends and trees.starts[0] == 0 and trees.starts[-1] == len(trees.classes), "trees/starts")
