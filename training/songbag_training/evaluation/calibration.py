"""Temperature scaling: calibrates probabilities without changing a decision."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax

from songbag_training.songs.task import Task
from songbag_training.types import Floats, Targets

_LARGEST = 20.0
_TINY = 1e-300


def scale(task: Task, probabilities: Floats, temperature: float) -> Floats:
    """Return the probabilities of logits that are divided by a temperature.

    Parameters
    ----------
    task : Task
        Of the probabilities.
    probabilities : float64, shape (n, n_classes)
    temperature : float
        Above 1 it lowers confidence, below 1 it raises it.
    """
    logits = np.log(np.maximum(probabilities, _TINY))
    if task.several:
        logits -= np.log(np.maximum(1.0 - probabilities, _TINY))
        return np.asarray(expit(logits / temperature))
    return np.asarray(softmax(logits / temperature, axis=1))


def fit_temperature(task: Task, true: Targets, probabilities: Floats) -> float:
    """Return the temperature, from 1/20 to 20, with the lowest log loss on some songs.

    C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2. The
    songs should be the validation songs, which are used neither to train nor to test.
    """

    def loss(log_temperature: float) -> float:
        scaled = scale(task, probabilities, float(np.exp(log_temperature)))
        return float(task.losses(true, scaled).mean())

    bound = float(np.log(_LARGEST))
    found: Any = minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-4})
    # If no temperature is better than 1, nothing is changed.
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0
