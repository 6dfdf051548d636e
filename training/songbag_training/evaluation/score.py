"""Scoring whole songs: every window is seen, and memory does not grow with the length of a song."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self

import keras
import numpy as np
import pyarrow as pa
import tensorflow as tf

from songbag_store import SongStore
from songbag_training.evaluation.calibration import scale
from songbag_training.evaluation.predictions import SongScore
from songbag_training.models.members import MembersPooling
from songbag_training.models.poolings import kind_of
from songbag_training.models.turning import TOLD, LeavingOut, Outputs, Turning, turning
from songbag_training.songs.pieces import Piece, stored_pieces
from songbag_training.songs.task import Task
from songbag_training.types import Bools, FloatArray, Floats, Ints

_CHUNK_WINDOWS = 512
_CHUNK_VALUES = 1_500_000
_POOLED_VALUES = 4_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class WindowOutputs:
    """What the network makes of the windows of a song, which the pooling joins.

    Attributes
    ----------
    embeddings : float array, shape (N, E)
        With trees beside the networks, the statistics of each window come behind them.
    logits : float array, shape (N, L)
    """

    embeddings: Any
    logits: Any


class SongScorer:
    """Scores songs with a model: windows in chunks of one size, then each song as a whole.

    Of each window of a song, an embedding and the logits are kept, as long as its score is: 4 bytes a number, or 200 MB
    for a recording of a day. With trees beside the networks, there are ten statistics of each coefficient too: for 64
    bands 90 MB more.

    Parameters
    ----------
    model : keras.Model
        Made by `songbag_training.models.model.song_model`. The present weights are used, also after a change.
    task : Task
        Of the model.
    embedded : bool
        Whether the windows are those of a store of embeddings that the model made, shape (N, E, 1).
    """

    def __init__(self, model: keras.Model, task: Task, *, embedded: bool = False) -> None:
        network, pooling = model.get_layer("window_network"), model.get_layer("pooling")
        if embedded:
            network = _behind_encoder(network)
        shape, kind = network.input.shape, network.input.dtype
        self.width = int(network.outputs[0].shape[-1]) - pooling.n_statistics
        self.model, self.task = model, task
        self._whole, self._networks = pooling, pooling.networks
        self.chunk_windows = int(np.clip(_CHUNK_VALUES // (shape[1] * shape[2]), 1, _CHUNK_WINDOWS))
        # One graph for chunks of every length, because some chunks are shorter than others.
        self._network = _graph(functools.partial(network, training=False), [tf.TensorSpec(shape, kind)])
        # All windows of a song at once, because a pooling cannot be combined from those of chunks.
        signature = [tf.TensorSpec((1, None, output.shape[-1]), output.dtype) for output in network.outputs]
        self._pooling = _graph(
            lambda embeddings, logits: pooling(embeddings, logits, tf.ones(tf.shape(logits)[:2])), signature
        )
        self._kind = self._networks.kind if isinstance(self._networks, MembersPooling) else kind_of(self._networks)
        self._has_learners = isinstance(self._networks, MembersPooling) or self._is_blend
        self._by_member = _graph(
            lambda embeddings, logits: self._networks.by_member(
                embeddings[..., : self.width], logits, tf.ones(tf.shape(logits)[:2])
            ),
            signature,
        )
        # Traced only if songs are pooled without some of their windows. A row of the mask for each time.
        self._some_pooled = _graph(
            lambda embeddings, logits, mask: pooling(
                *(tf.repeat(values, tf.shape(mask)[0], axis=0) for values in (embeddings, logits)), mask
            )[0],
            [*signature, tf.TensorSpec((None, None), tf.float32)],
        )

    def by(self, task: Task) -> Self:
        """Return this scorer, with its graphs, for the same classes and what is predicted by the rule of a task."""
        other = copy.copy(self)
        other.task = task
        return other

    @property
    def _is_blend(self) -> bool:
        """Whether there are trees beside the networks."""
        return self._whole is not self._networks

    def score(self, pieces: Iterable[Piece]) -> Iterator[SongScore]:
        """Score songs one after the other.

        Parameters
        ----------
        pieces : iterable of Piece
            All pieces of a song before those of the next; at least one window a song.
        """
        for score, _ in self.scored(pieces):
            yield score

    def of_store(self, store: SongStore, songs: pa.Table) -> Iterator[SongScore]:
        """Score songs of a store, given as rows of its index, in their order."""
        return self.score(stored_pieces(store, songs, self.chunk_windows))

    def scored(self, pieces: Iterable[Piece]) -> Iterator[tuple[SongScore, WindowOutputs]]:
        """Score songs as `score` does, and yield with each what `without` takes."""
        for song_id, embeddings, logits in self._songs(pieces):
            yield self._pool(song_id, embeddings, logits), WindowOutputs(embeddings, logits)

    def without(self, outputs: WindowOutputs, left_out: Bools) -> Floats:
        """Return the probabilities of a song from which windows are left out.

        It holds 16 MB, or the windows of the song once, while it pools.

        Parameters
        ----------
        outputs : WindowOutputs
            Of N windows.
        left_out : bool, shape (M, N)
            The windows that are left out each time.

        Returns
        -------
        probabilities : float64, shape (M, n_classes)
            NaN where every window is left out.
        """
        found = np.full((len(left_out), len(self.task.classes)), np.nan)
        rows = np.flatnonzero(~left_out.all(axis=1))
        at_once = max(1, _POOLED_VALUES // max(outputs.embeddings.size + outputs.logits.size, 1))
        for first in range(0, len(rows), at_once):
            own = rows[first : first + at_once]
            mask = (~left_out[own]).astype(np.float32)
            logits = self._some_pooled(outputs.embeddings[None], outputs.logits[None], mask)
            found[own] = self.task.probabilities(logits.numpy())
        return found

    def embeddings(self, pieces: Iterable[Piece]) -> Iterator[tuple[Piece, FloatArray]]:
        """Yield each piece with the embeddings of its windows, float32 of shape (N, E): what enters the pooling."""
        for piece, embeddings, _ in self._outputs(pieces):
            yield piece, embeddings[:, : self.width].astype(np.float32, copy=False)

    def vectors(self, pieces: Iterable[Piece]) -> Iterator[tuple[str, FloatArray]]:
        """Yield each song with the mean of its embeddings by the weights of the pooling, float32 of shape (E,)."""
        for song_id, embeddings, logits in self._songs(pieces):
            _, weights = self._pooling(embeddings[None], logits[None])
            yield song_id, (weights.numpy()[0] @ embeddings[:, : self.width]).astype(np.float32)

    def _songs(self, pieces: Iterable[Piece]) -> Iterator[tuple[str, Any, Any]]:
        """Yield what the network makes of the windows of each whole song."""
        seen: list[tuple[Any, Any]] = []
        for piece, embeddings, logits in self._outputs(pieces):
            seen.append((embeddings, logits))
            if piece.last:
                whole = [np.concatenate(parts) for parts in zip(*seen, strict=True)]
                yield piece.song_id, whole[0], whole[1]
                seen = []

    def _outputs(self, pieces: Iterable[Piece]) -> Iterator[tuple[Piece, Any, Any]]:
        """Yield what the network makes of the windows of each piece."""
        for chunk in self._chunks(pieces):
            embeddings, logits = self._network(np.concatenate([piece.windows for piece in chunk]))
            ends = np.cumsum([len(piece.windows) for piece in chunk])[:-1]
            yield from zip(chunk, np.split(embeddings.numpy(), ends), np.split(logits.numpy(), ends), strict=True)

    def _chunks(self, pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
        chunk: list[Piece] = []
        n_windows = 0
        for piece in pieces:
            if chunk and n_windows + len(piece.windows) > self.chunk_windows:
                yield chunk
                chunk, n_windows = [], 0
            chunk.append(piece)
            n_windows += len(piece.windows)
        if chunk:
            yield chunk

    def _pool(self, song_id: str, embeddings: Any, logits: Any) -> SongScore:
        song_logits, pooled = self._pooling(embeddings[None], logits[None])
        weights = pooled.numpy()[0].astype(np.float64)
        of_learners, by_member = {}, [weights]
        temperature = float(self._whole.temperature.numpy()[0])
        if self._has_learners:
            own, each = self._by_member(embeddings[None], logits[None])
            # At the temperature too: thresholds were chosen at it.
            logits_of = [one.numpy() / temperature for one in own]
            of_learners = {f"member {n}": self.task.probabilities(one)[0] for n, one in enumerate(logits_of, 1)}
            by_member = [one.numpy()[0].astype(np.float64) for one in each]
        without = self._whole.leaving_out(embeddings) if self._is_blend else None
        if without is not None:
            of_learners["trees"] = scale(self.task, without(None), temperature)[0]
        parts = np.split(np.asarray(logits), len(by_member), axis=1)
        members = [Outputs(*own) for own in zip(by_member, parts, strict=True)]
        return SongScore(
            song_id,
            self.task.probabilities(song_logits.numpy())[0],
            self.task.probabilities(np.asarray(self._whole.of_windows(logits))),
            weights,
            of_learners,
            functools.partial(self._turning, members, WindowOutputs(embeddings, logits), temperature, without),
        )

    def _turning(
        self, members: Sequence[Outputs], outputs: WindowOutputs, temperature: float, leaving_out: LeavingOut | None
    ) -> Turning:
        """Return the windows without which the answer is another, if the pooling tells."""
        if self._kind not in TOLD:
            return {}

        def answer(logits: Floats, block: slice | None) -> Floats:
            if leaving_out is None:
                return self.task.probabilities(logits / temperature)
            return self.task.probabilities(self._whole.mixed(logits, leaving_out(block), np) / temperature)

        def without(windows: Ints) -> Floats:
            return self.without(outputs, windows[:, None] == np.arange(len(outputs.logits)))

        return turning(self.task, self._kind, members, answer, without)


def _graph(function: Callable[..., Any], signature: Sequence[tf.TensorSpec]) -> Callable[..., Any]:
    """Return a function as a graph, which is traced once."""
    # TensorFlow counts how often the code of a function is traced, and would warn after five scorers in one process.
    # It sees no code in a partial.
    graph: Callable[..., Any] = tf.function(functools.partial(function), input_signature=signature, autograph=False)
    return graph


def _behind_encoder(network: keras.Model) -> keras.Model:
    """Return what follows the encoder of a window network, from windows that are embeddings."""
    embeddings = network.outputs[0]
    windows = keras.Input((embeddings.shape[-1], 1), dtype="float32")
    flat = keras.layers.Reshape((embeddings.shape[-1],))(windows)
    return keras.Model(windows, [flat, network.get_layer("head")(flat)])
