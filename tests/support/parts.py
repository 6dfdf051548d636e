"""Parts of a training from outside songbag."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from songbag_training import TrainConfig

OWN: dict[str, Any] = {
    "optimizer": "tests.support.parts:momentum",
    "schedule": "tests.support.parts:falling",
    "callbacks": ("tests.support.parts:Greedy",),
}
"""Fields of a `TrainConfig` that name parts of this file."""

SEEN: list[tuple[str, Any]] = []
"""What `Greedy` was called with."""


def momentum(learning_rate: Any, config: TrainConfig) -> keras.optimizers.Optimizer:
    """Return an optimizer whose variables a checkpoint must hold."""
    return keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True)


def falling(n_steps: int, config: TrainConfig) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return a schedule of Keras's own."""
    return keras.optimizers.schedules.PolynomialDecay(config.learning_rate, n_steps, 1e-4)


class Greedy(keras.callbacks.Callback):
    """Tries to change what songbag writes, and fails in an epoch if it is told to."""

    fails_in = -1

    def __init__(self, folder: Path, config: TrainConfig) -> None:
        super().__init__()

    def on_train_begin(self, logs: Any = None) -> None:
        SEEN.append(("begin", None))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        SEEN.append(("epoch", sorted(logs)))
        logs["val_loss"] = logs["loss"] = float("nan")
        if epoch == self.fails_in:
            raise RuntimeError("as it was told")

    def on_train_end(self, logs: Any = None) -> None:
        SEEN.append(("end", None))


class Careless(keras.callbacks.Callback):
    """Changes weights after they were validated."""

    def __init__(self, folder: Path, config: TrainConfig) -> None:
        super().__init__()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.set_weights([0 * one for one in self.model.get_weights()])


def nothing(*arguments: Any) -> None:
    """Return no part."""


def failing(*arguments: Any) -> None:
    """Fail."""
    raise ZeroDivisionError("of its own")


USED = keras.optimizers.SGD()
USED.build([])


def used(*arguments: Any) -> keras.optimizers.Optimizer:
    """Return an optimizer with the state of another training."""
    return USED


class Odd(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule whose last rate is below 0."""

    def __init__(self, n_steps: int, config: TrainConfig) -> None:
        self.n_steps = n_steps

    def __call__(self, step: Any) -> Any:
        return 1.0 - 2.0 * keras.ops.cast(step, "float32") / max(1, self.n_steps - 1)
