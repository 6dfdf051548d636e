"""One training on several machines: each takes its share of every batch, and all have the same weights after it.

docs/decisions/0076 says why it is done this way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from songbag_store.errors import UsageError
from songbag_training.config import TrainConfig
from songbag_training.errors import ModelError, RunError
from songbag_training.work import TeamConfig

_GROUP = 76
"""Number of the group of machines, which TensorFlow asks for."""
_GRADIENTS, _STATE, _LOGS, _HIGHEST, _LOWEST = range(1, 6)
_GONE = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError, tf.errors.CancelledError)


class Team:
    """The machines of a training, each a process that does the same at the same time.

    Parameters
    ----------
    config : TeamConfig
        Where the machines are, and which of them this is.

    Raises
    ------
    UsageError
        If TensorFlow has computed something in this process before.
    RunError
        If the other machines are not there.
    """

    def __init__(self, config: TeamConfig) -> None:
        addresses = config.addresses
        self.number, self.count = config.machine, len(addresses)
        cluster = tf.train.ClusterSpec({"worker": addresses})
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            cluster, task_type="worker", task_id=self.number, rpc_layer="grpc"
        )
        try:
            # Only for its connections: Keras 3 fits no model inside of it.
            self._connections = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
        except RuntimeError as error:
            remedy = "Begin it in a new Python process, before anything else."
            raise UsageError(f"several machines cannot be joined ({error})", place="machines", remedy=remedy) from error
        except tf.errors.OpError as error:
            remedy = "Start the same command on all of them, and check addresses and firewalls."
            raise RunError("the other machines are not there", place="machines", remedy=remedy) from error

    def mean(self, values: Sequence[Any], purpose: int) -> list[Any]:
        """Return the means over all machines of some float32 tensors."""
        flat = tf.concat([tf.reshape(value, [-1]) for value in values], axis=0)
        means = tf.split(self._reduce(flat, purpose, "Add", "Div"), [int(np.prod(value.shape)) for value in values])
        return [tf.reshape(mean, value.shape) for mean, value in zip(means, values, strict=True)]

    def require_same(self, facts: Iterable[bytes]) -> None:
        """Refuse to go on if the machines are not all in the same state.

        Raises
        ------
        UsageError
            On every machine.
        """
        digest = hashlib.sha256(b"".join(facts)).digest()
        own = tf.constant(np.frombuffer(digest, np.uint32).astype(np.int64))
        highest, lowest = (self._reduce(own, *way, "Id") for way in ((_HIGHEST, "Max"), (_LOWEST, "Min")))
        if not np.array_equal(highest, lowest):
            what = "the machines have other songs, options or weights"
            remedy = "Give them the same store, snapshot and options; to resume, copy the run of one machine to all."
            raise UsageError(what, place="machines", remedy=remedy)

    def share_of(self, config: TrainConfig) -> dict[str, Any]:
        """Return what this machine reads of each batch: its size and its shard.

        Raises
        ------
        ModelError
            If the batch cannot be shared, or float16 is asked for.
        """
        if config.batch_size % self.count:
            what = f"is {config.batch_size}, which {self.count} machines cannot share"
            raise ModelError(what, place="batch_size", remedy="Give a multiple of their number.")
        if config.mixed_precision:
            raise ModelError("is for one machine", place="mixed_precision", remedy="Leave it out.")
        return {"batch_size": config.batch_size // self.count, "shard": (self.number, self.count)}

    def averaging(self, optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
        """Let an optimizer take its steps by the mean gradients of all machines, and return it."""
        apply = optimizer.apply

        def averaged(grads: Sequence[Any], trainable_variables: Any = None) -> Any:
            return apply(self.mean(grads, _GRADIENTS), trainable_variables)

        optimizer.apply = averaged
        return optimizer

    def callbacks(self, validation: Sequence[keras.callbacks.Callback]) -> list[keras.callbacks.Callback]:
        """Return the callbacks that validate, with those around them that keep the machines alike."""
        return [_SharedState(self), *validation, _SharedLogs(self)]

    def _reduce(self, value: Any, purpose: int, merge: str, final: str) -> Any:
        return tf.raw_ops.CollectiveReduceV2(
            input=value,
            group_size=self.count,
            group_key=_GROUP,
            instance_key=purpose,
            ordering_token=[],
            merge_op=merge,
            final_op=final,
            communication_hint="auto",
        )


class _SharedState(keras.callbacks.Callback):
    """Averages, at the end of an epoch, what no gradient changes: moving means and variances."""

    def __init__(self, team: Team) -> None:
        super().__init__()
        self._team = team

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        variables = [one for one in self.model.non_trainable_variables if one.dtype == "float32"]
        means = self._team.mean([tf.convert_to_tensor(one) for one in variables], _STATE) if variables else []
        for variable, mean in zip(variables, means, strict=True):
            variable.assign(mean)


class _SharedLogs(keras.callbacks.Callback):
    """Averages the logs of an epoch, so that all machines choose and stop alike."""

    def __init__(self, team: Team) -> None:
        super().__init__()
        self._team = team

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        names = sorted(logs)
        means = self._team.mean([tf.constant([logs[name]], tf.float32) for name in names], _LOGS)
        logs |= {name: float(mean[0]) for name, mean in zip(names, means, strict=True)}


def joined(config: TeamConfig) -> Team | None:
    """Join the machines of a training; None if there is only this one."""
    return Team(config) if config.machines else None


def state_of(model: keras.Model, *facts: Any) -> Iterable[bytes]:
    """Yield what machines must have in common: facts as JSON values, and the weights of a model."""
    yield json.dumps(facts, sort_keys=True).encode()
    for variable in model.trainable_variables:
        yield variable.numpy().tobytes()


def refuse_lost(error: Exception, place: str) -> None:
    """Raise the cause of an error of TensorFlow's, if it is that another machine is gone.

    Raises
    ------
    RunError
        With what to do.
    """
    if isinstance(error, _GONE):
        remedy = "Copy the run folder of one machine to all, and start the same command with `resume` on each."
        raise RunError("another machine of this training is gone", place=place, remedy=remedy) from error
