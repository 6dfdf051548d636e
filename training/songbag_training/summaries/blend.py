"""Blend: the networks of a run and trees on song summaries in one model, which returns the mean of what both say.

The networks are trained alone. What is made here predicts: its window network gives, beside embeddings and logits, the
statistics of each window; its pooling sums them up over the song and asks the trees. See docs/decisions/0082.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from songbag_store import FeatureSpec
from songbag_training.models.layers import PACKAGE, FoldWindows, OfStored, UnfoldWindows
from songbag_training.models.poolings import Pooled, Pooling
from songbag_training.models.turning import LeavingOut
from songbag_training.songs.task import Task
from songbag_training.summaries.statistics import LAG_FRAMES, QUANTILES, WITHIN, joined_of
from songbag_training.summaries.trees import Table, Trees
from songbag_training.types import FloatArray, Floats

LookUp = Callable[[Any], Any]
"""Takes row numbers, of any shape; returns these rows of a table, with one dimension more."""

_LEAST = 1e-3
"""Trees that have never seen a class among such songs say 0, which is too sure: it counts as this."""
_WINDOWS_AT_ONCE = 1024


@keras.saving.register_keras_serializable(package=PACKAGE)
class WindowStatistics(OfStored):
    """The statistics of each stored window, of which summaries are made: (N, C, T) becomes (N, statistics * C).

    The same as `songbag_training.summaries.statistics` computes, except for rounding.
    """

    def call(self, windows: KerasTensor) -> KerasTensor:
        """Return the statistics of windows as stored."""
        return self.of(self.decoded(windows))

    def of(self, values: KerasTensor) -> KerasTensor:
        """Return the statistics of windows in the unit of the features."""
        n_frames = values.shape[-1]
        ranked = ops.sort(values, axis=-1)
        found = [ops.mean(values, axis=-1), ops.std(values, axis=-1)]
        found += [ranked[..., round(share * (n_frames - 1))] for share in QUANTILES]
        if n_frames == 1:
            found += [ops.zeros_like(found[0])] * (len(WITHIN) - len(found))
        else:
            lag = min(LAG_FRAMES, n_frames - 1)
            steps, slow = values[..., 1:] - values[..., :-1], values[..., lag:] - values[..., :-lag]
            found += [ops.mean(ops.absolute(steps), axis=-1), ops.std(steps, axis=-1), ops.std(slow, axis=-1)]
        return ops.concatenate(found, axis=-1)

    def compute_output_spec(self, windows: KerasTensor) -> KerasTensor:
        """Return the shape of the statistics."""
        return KerasTensor((windows.shape[0], len(WITHIN) * windows.shape[1]), dtype="float32")


class BlendPooling(Pooling):
    """The pooling of networks, and trees on the summaries of the windows that it pools.

    It takes embeddings with the statistics of the windows behind them, and returns the logits of the weighted geometric
    mean of probabilities. Weights and window predictions are those of the networks.

    Parameters
    ----------
    own : Pooling
        That of the networks, with its weights.
    trees : Trees
    task : Task
        Of both.
    share : float
        How much the trees count.
    n_coefficients : int
        C, of a window.
    as_table : callable, optional
        Turns an array into what looks up its rows; by default the array is a constant.
    """

    def __init__(
        self,
        own: Pooling,
        trees: Trees,
        task: Task,
        share: float,
        n_coefficients: int,
        as_table: Callable[[FloatArray], LookUp] | None = None,
    ) -> None:
        super().__init__(own.exclusive, name=own.name)
        self._own, self._trees, self._task, self._share, self._n_coefficients = own, trees, task, share, n_coefficients
        self.n_statistics = len(WITHIN) * n_coefficients
        table = Table.of(trees, len(task.classes))
        self._roots, self._depth = table.roots, table.depth
        self._nodes, self._leaves = ((as_table or _constant)(rows) for rows in (table.nodes, table.leaves))
        self.built = True

    def of_layers(self, own: Pooling, as_table: Callable[[FloatArray], LookUp]) -> BlendPooling:
        """Return this blend with another pooling of the networks, and with other tables."""
        return BlendPooling(own, self._trees, self._task, self._share, self._n_coefficients, as_table)

    @property
    def networks(self) -> Pooling:
        """The pooling of the networks alone."""
        return self._own

    @property
    def temperature(self) -> Any:
        """That of the networks' pooling: it divides the logits of the blend."""
        return self._own.temperature

    def call(self, embeddings: KerasTensor, logits: KerasTensor, mask: KerasTensor) -> Pooled:
        """Pool one batch; see `Pooling.call`."""
        song_logits, weights = self._own.call(embeddings[..., : -self.n_statistics], logits, mask)
        shares = self._of_trees(self._summaries(embeddings[..., -self.n_statistics :], mask))
        both = self.mixed(song_logits * self.temperature, shares, ops) / self.temperature
        return ops.where(ops.any(ops.cast(mask, "float32") > 0, axis=1, keepdims=True), both, 0.0), weights

    def of_windows(self, logits: KerasTensor) -> KerasTensor:
        """Return what the networks say of single windows, of which trees on songs say nothing."""
        return self._own.of_windows(logits)

    def mixed(self, logits: Any, shares: Any, library: Any) -> Any:
        """Return the logits of the mean of what both say, without the temperature; see `mixed`."""
        return mixed(logits, shares, self._share, exclusive=self.exclusive, library=library)

    def leaving_out(self, embeddings: FloatArray) -> LeavingOut:
        """Return what tells the trees' answers for a song, given what its windows became, (N, E).

        It holds the summaries of a thousand songs at a time.
        """
        statistics = embeddings[:, -self.n_statistics :]
        n_windows, mean = len(statistics), statistics.mean(axis=0, dtype=np.float64)
        square = sum(np.square(own - mean).sum(axis=0) for own in _in_blocks(statistics, slice(None))) / n_windows

        def shares(means: Floats, squares: Floats) -> Floats:
            summaries = joined_of(means, np.sqrt(np.maximum(squares, 0.0)), self._n_coefficients, np)
            return self._trees.probabilities(summaries.astype(np.float32), len(self._task.classes))

        def without(block: slice | None) -> Floats:
            if block is None:
                return shares(mean[None], square[None])
            found = []
            for own in _in_blocks(statistics, block):
                away = (own - mean) / (n_windows - 1)
                rest = (n_windows * square) / (n_windows - 1) - np.square(away) * n_windows
                found.append(shares(mean - away, rest))
            return np.concatenate(found)

        return without

    def compute_output_spec(self, embeddings: KerasTensor, logits: KerasTensor, mask: KerasTensor) -> Pooled:
        """Return the shapes of song logits and weights."""
        return self._own.compute_output_spec(embeddings, logits, mask)

    def _summaries(self, statistics: KerasTensor, mask: KerasTensor) -> KerasTensor:
        """Return the summaries of songs, (B, F), from the statistics of their windows, (B, K, statistics * C)."""
        real = ops.expand_dims(ops.cast(mask, "float32"), -1) > 0
        share = ops.cast(real, "float32") / ops.maximum(ops.sum(ops.cast(real, "float32"), axis=1, keepdims=True), 1.0)
        known = ops.where(real, statistics, 0.0)
        means = ops.sum(share * known, axis=1)
        spreads = ops.sqrt(ops.sum(share * ops.square(known - ops.expand_dims(means, 1)), axis=1))
        return joined_of(means, spreads, self._n_coefficients, ops)

    def _of_trees(self, summaries: KerasTensor) -> KerasTensor:
        """Follow every tree to its leaf. A leaf leads to itself, so all take as many steps as the deepest."""
        ones = ops.cast(ops.ones_like(summaries[:, :1]), "int32")
        # Where each song begins in one long vector: every format can look up rows of that.
        starts = (ops.cumsum(ones, axis=0) - 1) * summaries.shape[-1]
        flat, nodes = ops.reshape(summaries, (-1,)), ones * self._roots
        for _ in range(self._depth):
            asked, threshold, left, right, _ = _columns(self._nodes(nodes))
            value = ops.take(flat, starts + ops.cast(asked, "int32"), axis=0)
            nodes = ops.cast(ops.where(value <= threshold, left, right), "int32")
        *_, leaf = _columns(self._nodes(nodes))
        return ops.mean(self._leaves(ops.cast(leaf, "int32")), axis=1)


def blended(model: keras.Model, spec: FeatureSpec, trees: Trees, task: Task, share: float) -> keras.Model:
    """Return a song model with trees beside its networks.

    It shares the weights of the model, and its layers ``window_network`` and ``pooling`` have the same names.

    Parameters
    ----------
    model : keras.Model
        Made by `songbag_training.models.model.song_model`.
    spec : FeatureSpec
        Of the windows.
    trees : Trees
        They have learned from the summaries of songs.
    task : Task
        Of the model.
    share : float
        How much they count, above 0 and below 1.
    """
    network = model.get_layer("window_network")
    embeddings, logits = network.outputs
    statistics = WindowStatistics(spec.step, name="statistics")(network.input)
    joined = keras.layers.Concatenate(dtype="float32", name="beside")([embeddings, statistics])
    network = keras.Model(network.input, [joined, logits], name="window_network")
    windows = keras.Input(model.input["windows"].shape[1:], dtype=spec.encoding, name="windows")
    mask = keras.Input(model.input["mask"].shape[1:], name="mask")
    found = network(FoldWindows(name="fold")(windows))
    each = [UnfoldWindows(name=f"unfold_{n}")(values, mask) for n, values in enumerate(found)]
    song_logits, _ = BlendPooling(model.get_layer("pooling"), trees, task, share, spec.window_shape[0])(*each, mask)
    return keras.Model({"windows": windows, "mask": mask}, song_logits, name="song_model")


def mixed(logits: Any, shares: Any, share: float, *, exclusive: bool, library: Any) -> Any:
    """Return the logits of the weighted geometric mean of what networks and trees say.

    Parameters
    ----------
    logits : array of shape (B, L)
        Of the networks.
    shares : array of shape (B, n_classes)
        The probabilities of the trees.
    share : float
        How much the trees count.
    exclusive : bool
        Whether a song is of exactly one class.
    library : module
        NumPy, or Keras's operations.
    """
    shares = library.clip(shares, _LEAST, 1 - _LEAST)
    if exclusive and logits.shape[-1] > 1:
        others = library.log(shares)
    else:
        others = library.log(shares / (1 - shares))[:, 1 if exclusive else 0 :]
    return (1 - share) * logits + share * others


def _in_blocks(statistics: FloatArray, block: slice) -> Iterator[Floats]:
    rows = statistics[block]
    for first in range(0, len(rows), _WINDOWS_AT_ONCE):
        yield rows[first : first + _WINDOWS_AT_ONCE].astype(np.float64)


def _constant(rows: FloatArray) -> LookUp:
    held = ops.convert_to_tensor(rows)
    return lambda numbers: ops.take(held, numbers, axis=0)


def _columns(rows: KerasTensor) -> list[KerasTensor]:
    return [rows[..., number] for number in range(rows.shape[-1])]
