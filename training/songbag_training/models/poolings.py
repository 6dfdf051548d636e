"""Poolings: layers that join the windows of a song to one prediction.

    (embeddings (B, K, E), window logits (B, K, L), mask (B, K))  ->  (song logits (B, L), weights (B, K))

The weights say how much each window counts: they are at least 0, sum to 1 over the real windows and are 0 on masked
ones. The head stands before the pooling, so every window has a prediction. docs/reference/models.md has the formulas.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, ops

from songbag_training.models.layers import PACKAGE

Pooled = tuple[KerasTensor, KerasTensor]
"""Song logits and the weights of the windows."""

_NOTHING = -1e30
"""Score of a masked window: its exponential is 0, and unlike minus infinity it has finite gradients."""

_SMALL = 0.1
"""Below it, log(1 - exp(-x)) is computed by its series, with an error of less than 4e-8."""


class Pooling(keras.layers.Layer):
    """Base of all poolings: masked windows never count, and song logits are divided by a temperature.

    A bag without a real window gives logits and weights of 0, and finite gradients. The `temperature` is a weight that
    is not trained and begins as 1; `songbag_training.evaluation.calibration` sets it.

    Parameters
    ----------
    exclusive : bool
        Whether a song is of exactly one class (softmax; of two classes, one sigmoid) or of any number (a sigmoid for
        each class).
    """

    n_statistics = 0
    """Numbers behind the embedding of a window that are none of it: statistics, where there are trees beside."""

    def __init__(self, exclusive: bool = True, **kwargs: Any) -> None:
        # In float32 also with mixed precision: sums of exponentials over a long song exceed the range of float16.
        super().__init__(**({"dtype": "float32"} | kwargs))
        self.exclusive = exclusive

    def build(self, embeddings_shape: tuple[int | None, ...], logits_shape: tuple[int | None, ...]) -> None:
        """Create the temperature."""
        self.temperature = self.add_weight(name="temperature", shape=(1,), initializer="ones", trainable=False)

    def call(self, embeddings: KerasTensor, logits: KerasTensor, mask: KerasTensor) -> Pooled:
        """Pool one batch.

        Parameters
        ----------
        embeddings : shape (B, K, E)
        logits : shape (B, K, L)
        mask : shape (B, K)
            1 for a real window, 0 for padding.

        Returns
        -------
        song_logits : float32, shape (B, L)
        weights : float32, shape (B, K)
        """
        real = ops.expand_dims(ops.cast(mask, "float32"), -1) > 0
        # Not a product with the mask: 0 * NaN is NaN.
        embeddings, logits = ops.where(real, embeddings, 0.0), ops.where(real, logits, 0.0)
        song_logits, weights = self.pool(embeddings, logits, real)
        if weights.shape[-1] > 1:
            # Weights differ by class: a class counts by its share in the song's prediction.
            shares = ops.softmax(song_logits if self.exclusive else ops.log_sigmoid(song_logits), axis=-1)
            weights = ops.sum(weights * ops.expand_dims(shares, 1), axis=-1, keepdims=True)
        song_logits = song_logits / self.temperature
        return ops.where(ops.any(real, axis=1), song_logits, 0.0), ops.where(real, weights, 0.0)[..., 0]

    @property
    def networks(self) -> Pooling:
        """The pooling of the networks alone."""
        return self

    def by_member(
        self, embeddings: KerasTensor, logits: KerasTensor, mask: KerasTensor
    ) -> tuple[list[KerasTensor], list[KerasTensor]]:
        """Return the song logits of each network, without the temperature, and its weights of the windows."""
        song_logits, weights = self.call(embeddings, logits, mask)
        return [song_logits * self.temperature], [weights]

    def of_windows(self, logits: KerasTensor) -> KerasTensor:
        """Return what songs of one window each would have: the logits of that window, divided by the temperature."""
        return logits / self.temperature

    def pool(self, embeddings: KerasTensor, logits: KerasTensor, real: KerasTensor) -> Pooled:
        """Return song logits (B, L) and weights, (B, K, L) or (B, K, 1); `real` is the mask as booleans, (B, K, 1)."""
        raise NotImplementedError

    def compute_output_spec(self, embeddings: KerasTensor, logits: KerasTensor, mask: KerasTensor) -> Pooled:
        """Return the shapes of song logits and weights."""
        batch, _, n_logits = logits.shape
        return KerasTensor((batch, n_logits), dtype="float32"), KerasTensor(mask.shape, dtype="float32")

    def _is_softmax(self, logits: KerasTensor) -> bool:
        return self.exclusive and logits.shape[-1] > 1

    def _scores(self, logits: KerasTensor) -> KerasTensor:
        """Return scores that can be compared between windows: log probabilities of a softmax, logits of sigmoids."""
        # Only the differences of softmax logits mean something, so logits of two windows cannot be compared.
        return ops.log_softmax(logits, axis=-1) if self._is_softmax(logits) else logits

    def _mean_probability(self, logits: KerasTensor, scores: KerasTensor, real: KerasTensor) -> Pooled:
        """Return the song logits of the mean probabilities, weighted by a softmax of scores, and the weights."""
        log_weights = _log_shares(scores, real)
        weights = ops.exp(log_weights)
        if self._is_softmax(logits):
            return ops.logsumexp(log_weights + ops.log_softmax(logits, axis=-1), axis=1), weights
        # The means of p and of 1 - p are both summed, because one minus the other is inexact near 1.
        yes, no = (ops.logsumexp(log_weights + ops.log_sigmoid(sign * logits), axis=1) for sign in (1.0, -1.0))
        return yes - no, weights

    def _log_probabilities(self, logits: KerasTensor) -> KerasTensor:
        return ops.log_softmax(logits, axis=-1) if self._is_softmax(logits) else ops.log_sigmoid(logits)


@keras.saving.register_keras_serializable(package=PACKAGE)
class MeanPooling(Pooling):
    """The song's logits are the mean of the window logits, and each window weighs 1 / N.

    With a softmax this is the normalised geometric mean of the windows' probabilities.
    """

    def pool(self, embeddings: KerasTensor, logits: KerasTensor, real: KerasTensor) -> Pooled:
        """Give all windows the same weight."""
        weights = ops.cast(real, "float32") / _count(real)
        return ops.sum(weights * logits, axis=1), weights


@keras.saving.register_keras_serializable(package=PACKAGE)
class MaxPooling(Pooling):
    """Each class has its highest score of all windows; that window weighs 1, equal ones share it."""

    def pool(self, embeddings: KerasTensor, logits: KerasTensor, real: KerasTensor) -> Pooled:
        """Take the maximum over windows, class by class."""
        scores = ops.where(real, self._scores(logits), _NOTHING)
        highest = ops.max(scores, axis=1)
        is_highest = ops.cast(ops.equal(scores, ops.expand_dims(highest, 1)), "float32")
        return highest, is_highest / ops.sum(is_highest, axis=1, keepdims=True)


@keras.saving.register_keras_serializable(package=PACKAGE)
class LogSumExpPooling(Pooling):
    """A smooth maximum: z = log(mean(exp(r z_k))) / r, between the mean (r to 0) and the maximum (r to infinity).

    P. Pinheiro and R. Collobert, "From image-level to pixel-level labeling with convolutional networks", CVPR 2015.
    The weights are its derivatives, softmax(r z_k) over the windows. With a softmax and r = 1 it is the mean of
    the windows' probabilities.

    Parameters
    ----------
    sharpness : float
        r, above 0.
    """

    def __init__(self, sharpness: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sharpness = sharpness

    def pool(self, embeddings: KerasTensor, logits: KerasTensor, real: KerasTensor) -> Pooled:
        """Sum exponentials over windows, class by class."""
        scores = ops.where(real, self.sharpness * self._scores(logits), _NOTHING)
        mean = ops.logsumexp(scores, axis=1) - ops.log(_count(real))[:, 0]
        return mean / self.sharpness, ops.exp(_log_shares(scores, real))


@keras.saving.register_keras_serializable(package=PACKAGE)
class NoisyOrPooling(Pooling):
    """A class is absent from the song if it is absent from every window: y = 1 - prod(1 - p_k).

    O. Maron and T. Lozano-Perez, "A framework for multiple-instance learning", NIPS 1998. The weight of a window is its
    share in -log(1 - y) = -sum(log(1 - p_k)).
    """

    def pool(self, embeddings: KerasTensor, logits: KerasTensor, real: KerasTensor) -> Pooled:
        """Multiply the probabilities of absence, as a sum of -log(1 - p) = softplus(logit of p)."""
        softmax = self._is_softmax(logits)
        odds = _log_odds(logits) if softmax else logits
        terms = ops.where(real, ops.softplus(odds), 0.0)
        log_terms = ops.where(real, _log_softplus(odds), _NOTHING)
        absence, log_absence = ops.sum(terms, axis=1), ops.logsumexp(log_terms, axis=1)
        few = log_absence - absence / 2 + absence**2 / 24
        many = ops.log(1.0 - ops.exp(-ops.maximum(absence, _SMALL)))
        log_presence = ops.where(absence < _SMALL, few, many)
        # With sigmoids the logit: log y - log(1 - y).
        song_logits = log_presence if softmax else log_presence + absence
        return song_logits, ops.exp(_log_shares(log_terms, real))


@keras.saving.register_keras_serializable(package=PACKAGE)
class AutoPooling(Pooling):
    """Mean of the windows' probabilities by weights softmax(a_c p_k), with one learned a_c for each class.

    B. McFee, J. Salamon and J. P. Bello, "Adaptive pooling operators for weakly labeled sound event detection",
    IEEE/ACM TASLP 26 (11), 2018: a = 0 is the mean, a to infinity the maximum. As in the paper, a begins at 0.
    """

    def build(self, embeddings_shape: tuple[int | None, ...], logits_shape: tuple[int | None, ...]) -> None:
        """Create a."""
        super().build(embeddings_shape, logits_shape)
        self.sharpness = self.add_weight(name="sharpness", shape=(logits_shape[-1],), initializer="zeros")

    def pool(self, embeddings: KerasTensor, logits: KerasTensor, real: KerasTensor) -> Pooled:
        """Weigh windows by their probabilities, class by class."""
        return self._mean_probability(logits, ops.exp(self._log_probabilities(logits)) * self.sharpness, real)


@keras.saving.register_keras_serializable(package=PACKAGE)
class LinearSoftmaxPooling(Pooling):
    """Mean of the windows' probabilities, weighted by the probabilities themselves: y = sum(p^2) / sum(p).

    Y. Wang, J. Li and F. Metze, "A comparison of five multiple instance learning pooling functions for sound event
    detection with weak labeling", ICASSP 2019.
    """

    def pool(self, embeddings: KerasTensor, logits: KerasTensor, real: KerasTensor) -> Pooled:
        """Weigh windows by their probabilities, class by class."""
        return self._mean_probability(logits, self._log_probabilities(logits), real)


@keras.saving.register_keras_serializable(package=PACKAGE)
class AttentionPooling(Pooling):
    """Mean of the windows' logits by learned weights: a_k = softmax(w . tanh(V h_k)) over the windows.

    M. Ilse, J. Tomczak and M. Welling, "Attention-based deep multiple instance learning", ICML 2018. They put the head
    after the pooling; that is the same, because the head is affine and the weights sum to 1.

    Parameters
    ----------
    units : int
        Rows of V and U.
    """

    gated = False

    def __init__(self, units: int = 64, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units

    def build(self, embeddings_shape: tuple[int | None, ...], logits_shape: tuple[int | None, ...]) -> None:
        """Create V, w, and with a gate U."""
        super().build(embeddings_shape, logits_shape)
        shape = (embeddings_shape[-1], self.units)
        self.content = self.add_weight(name="content", shape=shape, initializer="glorot_uniform")
        if self.gated:
            self.gate = self.add_weight(name="gate", shape=shape, initializer="glorot_uniform")
        self.score = self.add_weight(name="score", shape=(self.units, 1), initializer="glorot_uniform")

    def pool(self, embeddings: KerasTensor, logits: KerasTensor, real: KerasTensor) -> Pooled:
        """Weigh windows by their embeddings, the same for all classes."""
        features = ops.tanh(embeddings @ self.content)
        if self.gated:
            features = features * ops.sigmoid(embeddings @ self.gate)
        weights = ops.exp(_log_shares(features @ self.score, real))
        return ops.sum(weights * logits, axis=1), weights


@keras.saving.register_keras_serializable(package=PACKAGE)
class GatedAttentionPooling(AttentionPooling):
    """`AttentionPooling` with a gate: a_k = softmax(w . (tanh(V h_k) * sigmoid(U h_k))) over the windows."""

    gated = True


POOLINGS: dict[str, type[Pooling]] = {
    "mean": MeanPooling,
    "max": MaxPooling,
    "lse": LogSumExpPooling,
    "noisy-or": NoisyOrPooling,
    "autopool": AutoPooling,
    "linear-softmax": LinearSoftmaxPooling,
    "attention": AttentionPooling,
    "gated-attention": GatedAttentionPooling,
}


def kind_of(pooling: keras.layers.Layer) -> str:
    """Return the name of a pooling."""
    return next(name for name, kind in POOLINGS.items() if type(pooling) is kind)


def _count(real: KerasTensor) -> KerasTensor:
    """Return the number of real windows, at least 1, (B, 1, 1)."""
    return ops.maximum(ops.sum(ops.cast(real, "float32"), axis=1, keepdims=True), 1.0)


def _log_shares(scores: KerasTensor, real: KerasTensor) -> KerasTensor:
    """Return the log of a softmax over real windows, (B, K, ...); for a masked window it is nearly -inf."""
    # Not `ops.softmax`: it prints a warning for bags of one window.
    return ops.where(real, ops.log_softmax(ops.where(real, scores, _NOTHING), axis=1), _NOTHING)


def _log_softplus(values: KerasTensor) -> KerasTensor:
    """Return log(log(1 + exp(x)))."""
    # Far below 0 this is x itself, while log(1 + exp(x)) would be rounded to 0.
    return ops.where(values < -15.0, values, ops.log(ops.softplus(ops.maximum(values, -15.0))))


def _log_odds(logits: KerasTensor) -> KerasTensor:
    """Return log(p / (1 - p)) of the softmax probabilities of logits (..., L)."""
    # The other classes are summed separately, because 1 - p would be rounded to 0 for a class that is nearly certain.
    highest = ops.max(logits, axis=-1, keepdims=True)
    # Not by argmax, which TFLite's own operations cannot express as Keras writes it.
    is_highest = ops.cast(ops.equal(logits, highest), "int32")
    is_first = ops.logical_and(is_highest > 0, ops.equal(ops.cumsum(is_highest, axis=-1), 1))
    below_first = ops.logsumexp(ops.where(is_first, _NOTHING, logits), axis=-1, keepdims=True)
    powers = ops.exp(logits - highest)
    others = ops.where(is_first, 1.0, ops.sum(powers, axis=-1, keepdims=True) - powers)
    return logits - ops.where(is_first, below_first, highest + ops.log(others))
