"""Parts of a training from outside songbag, named ``module:function``: its optimizer, learning rates and callbacks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from songbag_store.errors import SongbagError, UsageError
from songbag_store.plugin import first_line, load_named
from songbag_training.config import TrainConfig
from songbag_training.errors import ModelError
from songbag_training.parts.schedule import RisingCosine

_OPTIMIZER = "It is called as function(learning_rate, config) and returns a keras.optimizers.Optimizer."
_SCHEDULE = "It is called as function(n_steps, config) and returns a keras.optimizers.schedules.LearningRateSchedule."
_CALLBACK = "It is called as function(folder, config) and returns a keras.callbacks.Callback."
_GO_ON = "The last checkpoint is whole. Correct it, and go on with `resume`."
_TRIED = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Parts:
    """Names of parts of a training, to allow them when it is resumed: `run.json` alone must not run code."""

    optimizer: str | None = None
    schedule: str | None = None
    callbacks: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Return those among the fields of a `TrainConfig`."""
        callbacks = given.get("callbacks") or ()
        own = (callbacks,) if isinstance(callbacks, str) else tuple(callbacks)
        return cls(given.get("optimizer"), given.get("schedule"), own)

    def require(self, config: TrainConfig, place: str) -> None:
        """Refuse a training with parts that are not among these.

        Raises
        ------
        UsageError
            With how to allow them.
        """
        for name in ("optimizer", "schedule", "callbacks"):
            own = getattr(config, name)
            if own and own != getattr(self, name):
                is_one = isinstance(own, str)
                shown, are = repr(own) if is_one else ", ".join(map(repr, own)), "is" if is_one else "are"
                what = f"its {name} {are} {shown}, code from outside songbag, which is not run unasked"
                remedy = f"If you trust it, allow it by its name: `{name}={own!r}`."
                raise UsageError(what, place=place, remedy=remedy)


def build_optimizer(config: TrainConfig, n_steps: int) -> keras.optimizers.Optimizer:
    """Return the optimizer of a training: AdamW, or one from outside.

    Parameters
    ----------
    config : TrainConfig
    n_steps : int
        Of the whole training.

    Raises
    ------
    ModelError
        If a function is not there, fails, or returns something else.
    """
    rate = _schedule(config, n_steps)
    if config.optimizer is None:
        return keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
    place = f"optimizer {config.optimizer!r}"
    made = _called(config.optimizer, place, _OPTIMIZER, rate, config)
    if not isinstance(made, keras.optimizers.Optimizer):
        raise ModelError(f"returns {type(made).__name__}, which is no optimizer", place=place, remedy=_OPTIMIZER)
    if made.built:
        what = "returns an optimizer that is in use already"
        raise ModelError(what, place=place, remedy="Make a new one in each call: it has the state of one training.")
    return made


def _schedule(config: TrainConfig, n_steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    if config.schedule is None:
        return RisingCosine(config.learning_rate, n_steps)
    place = f"schedule {config.schedule!r}"
    made = _called(config.schedule, place, _SCHEDULE, n_steps, config)
    if not isinstance(made, keras.optimizers.schedules.LearningRateSchedule):
        raise ModelError(f"returns {type(made).__name__}, which is no schedule", place=place, remedy=_SCHEDULE)
    for step in sorted({round(share * (n_steps - 1) / (_TRIED - 1)) for share in range(_TRIED)}):
        try:
            rate = float(made(keras.ops.convert_to_tensor(step, "int64")))
        except Exception as error:
            what = f"fails at step {step} with {type(error).__name__}: {first_line(error)}"
            raise ModelError(what, place=place, remedy="It takes a step and returns one number.") from error
        if not math.isfinite(rate) or rate < 0:
            raise ModelError(f"gives the rate {rate} at step {step}", place=place, remedy="Give numbers from 0.")
    return made


def load_callbacks(config: TrainConfig) -> None:
    """Import the callbacks of a training, so that one that is not there is refused before work begins."""
    for name in config.callbacks:
        load_named(name, ModelError, place=f"callback {name!r}")


def build_callbacks(config: TrainConfig, folder: Path) -> list[OwnCallback]:
    """Return the callbacks from outside, each guarded.

    Raises
    ------
    ModelError
        If a function is not there, fails, or returns something else.
    """
    found = []
    for name in config.callbacks:
        place = f"callback {name!r}"
        made = _called(name, place, _CALLBACK, folder, config)
        if not isinstance(made, keras.callbacks.Callback):
            raise ModelError(f"returns {type(made).__name__}, which is no callback", place=place, remedy=_CALLBACK)
        found.append(OwnCallback(place, made))
    return found


def _called(name: str, place: str, takes: str, *arguments: Any) -> Any:
    function = load_named(name, ModelError, place=place)[1]
    try:
        return function(*arguments)
    except SongbagError:
        raise
    except Exception as error:
        raise ModelError(
            f"fails with {type(error).__name__}: {first_line(error)}", place=place, remedy=takes
        ) from error


class OwnCallback(keras.callbacks.Callback):
    """Calls a callback from outside, so that it cannot spoil what songbag writes.

    It gets copies of the logs. What it raises stops the training with its name; the checkpoint before stays. At the end
    of an epoch it may stop the training and change the optimizer, but not the weights, which were validated already,
    and not the number of variables, which the checkpoint holds.

    Parameters
    ----------
    place : str
        Its name, for errors.
    callback : keras.callbacks.Callback
    """

    def __init__(self, place: str, callback: keras.callbacks.Callback) -> None:
        super().__init__()
        self._place, self._callback, self._has_begun = place, callback, False

    def set_model(self, model: keras.Model) -> None:
        """Pass the model on."""
        super().set_model(model)
        self._call("set_model", model)

    def set_params(self, params: Any) -> None:
        """Pass the parameters on."""
        super().set_params(params)
        self._call("set_params", params)

    def on_train_begin(self, logs: Any = None) -> None:
        """Pass it on once: songbag may call Keras's fit more than once."""
        if not self._has_begun:
            self._has_begun = True
            self._call("on_train_begin", dict(logs or {}))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Pass it on."""
        self._call("on_epoch_begin", epoch, dict(logs or {}))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Pass it on."""
        self._call("on_train_batch_begin", batch, dict(logs or {}))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Pass it on."""
        self._call("on_train_batch_end", batch, dict(logs or {}))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Pass it on, and look at what it did to the model."""
        weights, outline = self.model.get_weights(), _outline(self.model)
        self._call("on_epoch_end", epoch, dict(logs or {}))
        if _outline(self.model) != outline:
            raise self._fault("changes the number or the shapes of the variables of model or optimizer")
        if not all(map(_equal, weights, self.model.get_weights())):
            raise self._fault("changes weights at the end of an epoch, after they were validated")

    def end(self) -> None:
        """Say that the training has ended."""
        if self._has_begun:
            self._call("on_train_end", {})

    def _call(self, hook: str, *arguments: Any) -> None:
        try:
            getattr(self._callback, hook)(*arguments)
        except SongbagError:
            raise
        except Exception as error:
            raise self._fault(f"fails in {hook} with {type(error).__name__}: {first_line(error)}") from error

    def _fault(self, what: str) -> ModelError:
        return ModelError(what, place=self._place, remedy=_GO_ON)


def _outline(model: keras.Model) -> Sequence[tuple[str, Any]]:
    return [(str(one.dtype), tuple(one.shape)) for one in (*model.variables, *model.optimizer.variables)]


def _equal(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other, equal_nan=True))
