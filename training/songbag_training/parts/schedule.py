"""The learning rate of each step."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, ops


class RisingCosine(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises from a twentieth over a tenth of the steps, then falls to zero along half a cosine.

    The rates are those of `keras.optimizers.schedules.CosineDecay` with a warm-up, but without a branch in the graph.
    Keras's optimizers ask for the rate twice a variable, and these branches took 0.25 s to build (docs/decisions/0043).
    For the same reason the rate is a graph of its own, which is traced once: each time it is one operation.

    Parameters
    ----------
    highest : float
    n_steps : int
        Of the whole training.
    """

    def __init__(self, highest: float, n_steps: int) -> None:
        self.highest = highest
        self.n_steps = n_steps
        self._rate = tf.function(self._of_step, autograph=False)

    def __call__(self, step: KerasTensor) -> KerasTensor:
        """Return the rate of a step, counted from 0."""
        return self._rate(ops.cast(step, "float32"))

    def _of_step(self, step: KerasTensor) -> KerasTensor:
        n_rising = self.n_steps // 10
        rise = 0.05 + 0.95 * step / max(1, n_rising)
        done = ops.clip((step - n_rising) / max(1, self.n_steps - n_rising), 0.0, 1.0)
        fall = 0.5 + 0.5 * ops.cos(np.pi * done)
        return self.highest * ops.where(step < n_rising, rise, fall)

    def get_config(self) -> dict[str, float]:
        """Return what `from_config` needs."""
        return {"highest": self.highest, "n_steps": self.n_steps}
