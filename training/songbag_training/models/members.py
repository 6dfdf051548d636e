"""Several networks in one model: each learns from its own copy of a batch, and predictions are the mean of theirs.

Members are trained in the same steps, see docs/decisions/0078. In training a batch has M copies of every bag, changed
independently; the model returns the logits of each copy, by the member that it is for. Otherwise every member sees
every window, and the model returns the logits of the mean of their probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from songbag_training.compat import rename_variable
from songbag_training.models.layers import EMBEDDING_NAME, PACKAGE
from songbag_training.models.poolings import POOLINGS, Pooled, Pooling


class _OfMembers(keras.layers.Layer):
    """A layer that knows the number of members."""

    def __init__(self, n_members: int, **options: Any) -> None:
        super().__init__(**options)
        self.n_members = n_members

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        options: dict[str, Any] = super().get_config()
        return options | {"n_members": self.n_members}


@keras.saving.register_keras_serializable(package=PACKAGE)
class DealBags(_OfMembers):
    """Puts the bags of a training batch, (B * M, K, C, T), in order: all of the first member, then of the next one.

    They come song by song, so that devices that share a batch have whole songs.
    """

    def call(self, windows: KerasTensor, training: bool | None = None) -> KerasTensor:
        """Return the same bags."""
        if not training:
            return windows
        return ops.concatenate([windows[member :: self.n_members] for member in range(self.n_members)], axis=0)

    def compute_output_spec(self, windows: KerasTensor, training: bool | None = None) -> KerasTensor:
        """Keep shape and type."""
        return KerasTensor(windows.shape, dtype=windows.dtype)


@keras.saving.register_keras_serializable(package=PACKAGE)
class TakeShare(_OfMembers):
    """Takes one member's share of the windows in training: as many equal runs of rows as there are members. Else all.

    Parameters
    ----------
    member, n_members : int
        Members are counted from 0.
    """

    def __init__(self, member: int, n_members: int, **options: Any) -> None:
        super().__init__(n_members, **options)
        self.member = member

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return super().get_config() | {"member": self.member}

    def call(self, images: KerasTensor, training: bool | None = None) -> KerasTensor:
        """Return some rows of (N, ...), or all of them."""
        if not training:
            return images
        n_rows = ops.shape(images)[0] // self.n_members
        return images[self.member * n_rows : (self.member + 1) * n_rows]

    def compute_output_spec(self, images: KerasTensor, training: bool | None = None) -> KerasTensor:
        """Keep everything but the number of rows."""
        return KerasTensor((None, *images.shape[1:]), dtype=images.dtype)


@keras.saving.register_keras_serializable(package=PACKAGE)
class MembersHead(_OfMembers):
    """A dense layer for each member: its part of the embeddings, (N, M * E), becomes its part of (N, M * L) logits.

    Parameters
    ----------
    n_members : int
    n_outputs : int
        L.
    """

    def __init__(self, n_members: int, n_outputs: int, **options: Any) -> None:
        # In float32 also with mixed precision: the range of float16 is too small for the logits of long songs.
        super().__init__(n_members, **({"dtype": "float32"} | options))
        self.n_outputs = n_outputs

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return super().get_config() | {"n_outputs": self.n_outputs}

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create a kernel and a bias for each member."""
        shape = ((input_shape[-1] or 0) // self.n_members, self.n_outputs)
        names = [str(number) for number in range(1, self.n_members + 1)]
        self.kernels = [self.add_weight(name=f"kernel_{name}", shape=shape) for name in names]
        self.biases = [self.add_weight(name=f"bias_{name}", shape=shape[1:], initializer="zeros") for name in names]

    def call(self, embeddings: KerasTensor) -> KerasTensor:
        """Return the logits of all members side by side."""
        parts = ops.split(embeddings, self.n_members, axis=-1)
        own = [
            ops.add(ops.matmul(part, kernel), bias)
            for part, kernel, bias in zip(parts, self.kernels, self.biases, strict=True)
        ]
        return ops.concatenate(own, axis=-1)

    def compute_output_spec(self, embeddings: KerasTensor) -> KerasTensor:
        """Return the shape of a row."""
        return KerasTensor((*embeddings.shape[:-1], self.n_members * self.n_outputs), dtype="float32")


@keras.saving.register_keras_serializable(package=PACKAGE)
class MembersPooling(Pooling):
    """A pooling for each member; the song has the mean of their probabilities, and a window the mean of their weights.

    In training there are M copies of each song, in the order of `DealBags`, and each has the logits of its member.

    Parameters
    ----------
    kind : str
        Key of `POOLINGS`.
    n_members : int
    exclusive : bool
        See `Pooling`.
    """

    def __init__(self, kind: str, n_members: int, exclusive: bool = True, **options: Any) -> None:
        super().__init__(exclusive, **options)
        self.kind, self.n_members = kind, n_members
        self.poolings = [POOLINGS[kind](exclusive=exclusive, name=str(number + 1)) for number in range(n_members)]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        options: dict[str, Any] = super().get_config()
        return options | {"kind": self.kind, "n_members": self.n_members, "exclusive": self.exclusive}

    def build(self, embeddings_shape: tuple[int | None, ...], logits_shape: tuple[int | None, ...]) -> None:
        """Create the weights of each pooling, and the temperature of the mean."""
        super().build(embeddings_shape, logits_shape)
        for pooling in self.poolings:
            own = [(*shape[:-1], (shape[-1] or 0) // self.n_members) for shape in (embeddings_shape, logits_shape)]
            pooling.build(*own)
            for weight in pooling.weights:
                rename_variable(weight, f"{self.name}/{pooling.name}/{weight.name}")

    def call(
        self, embeddings: KerasTensor, logits: KerasTensor, mask: KerasTensor, training: bool | None = None
    ) -> Pooled:
        """Pool one batch; see `Pooling.call`."""
        own, weights = self.by_member(embeddings, logits, mask, training)
        if training:
            # Copy by copy, as the songs came.
            logits = ops.reshape(ops.stack(own, axis=1), (-1, own[0].shape[-1]))
            return logits, ops.reshape(ops.stack(weights, axis=1), ops.shape(mask))
        return self._mean(own) / self.temperature, sum(weights[1:], weights[0]) / self.n_members

    def by_member(
        self, embeddings: KerasTensor, logits: KerasTensor, mask: KerasTensor, training: bool | None = None
    ) -> tuple[list[KerasTensor], list[KerasTensor]]:
        """Return the song logits of each member, without the temperature, and its weights of the windows."""
        masks = [mask[n :: self.n_members] if training else mask for n in range(self.n_members)]
        parts = [ops.split(values, self.n_members, axis=-1) for values in (embeddings, logits)]
        pooled = [pooling.call(*one) for pooling, *one in zip(self.poolings, *parts, masks, strict=True)]
        return [song_logits for song_logits, _ in pooled], [weights for _, weights in pooled]

    def of_windows(self, logits: KerasTensor) -> KerasTensor:
        """Return what songs of one window each would have."""
        parts = ops.split(logits, self.n_members, axis=-1)
        own = [pooling.of_windows(part) for pooling, part in zip(self.poolings, parts, strict=True)]
        return self._mean(own) / self.temperature

    def compute_output_spec(
        self, embeddings: KerasTensor, logits: KerasTensor, mask: KerasTensor, training: bool | None = None
    ) -> Pooled:
        """Return the shapes of song logits and weights."""
        song_logits = KerasTensor((mask.shape[0], logits.shape[-1] // self.n_members), dtype="float32")
        return song_logits, KerasTensor(mask.shape, dtype="float32")

    def _mean(self, logits: Sequence[KerasTensor]) -> KerasTensor:
        """Return the logits of the mean of probabilities, given as logits (..., L)."""
        each, log_share = ops.stack(logits, axis=0), -float(np.log(self.n_members))
        if self._is_softmax(each):
            return ops.logsumexp(ops.log_softmax(each, axis=-1), axis=0) + log_share
        yes, no = (ops.logsumexp(ops.log_sigmoid(sign * each), axis=0) for sign in (1.0, -1.0))
        return yes - no


def with_members(encoders: Sequence[keras.Model]) -> keras.Model:
    """Return encoders of one shape as one encoder, whose weights are named by member, from ``encoder/1/...`` on.

    It returns the embeddings of all members side by side, (N, M * E).
    """
    images, joined = keras.Input(encoders[0].input.shape[1:], name="image"), []
    for number, encoder in enumerate(encoders, 1):
        own = keras.Model(encoder.input, encoder.output, name=f"member_{number}")
        for variable in own.weights:
            rename_variable(variable, member_path(variable.path, number))
        joined.append(own(TakeShare(number - 1, len(encoders), name=f"share_{number}")(images)))
    return keras.Model(images, layers.Concatenate(name="members")(joined), name=EMBEDDING_NAME)


def member_path(path: str, number: int) -> str:
    """Return the name of a weight of an encoder, as that of a member, counted from 1."""
    return f"{EMBEDDING_NAME}/{number}/{path.removeprefix(f'{EMBEDDING_NAME}/')}"


def number_of_members(model: keras.Model) -> int:
    """Return how many members a song model has."""
    head = model.get_layer("window_network").get_layer("head")
    return head.n_members if isinstance(head, MembersHead) else 1
