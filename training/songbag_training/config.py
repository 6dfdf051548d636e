"""`TrainConfig`: the choices of one training. It imports no network, so that the command line can show the defaults."""

from __future__ import annotations

import dataclasses
import re
from typing import ClassVar, Literal, get_args

from songbag_store.errors import UsageError
from songbag_store.format.declaration import (
    Declared,
    Rule,
    above,
    at_least,
    between,
    declarations,
    declared,
    share_below_one,
)
from songbag_training.errors import ModelError

EncoderName = Literal["compact", "reference"]
PoolingName = Literal["mean", "max", "lse", "noisy-or", "autopool", "linear-softmax", "attention", "gated-attention"]

ExportFormat = Literal["keras", "savedmodel", "tflite", "onnx"]

_PLUG_IN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

ClassWeight = Literal["none", "balanced"]

_CHANGES = "How the training songs are changed (0 turns it off)"


def is_plug_in(encoder: object) -> bool:
    """Tell whether the name of an encoder is that of a function outside songbag: ``module:function``."""
    return isinstance(encoder, str) and _PLUG_IN.fullmatch(encoder) is not None


_ENCODER = Rule(
    lambda value: value in get_args(EncoderName) or is_plug_in(value),
    f"one of {', '.join(get_args(EncoderName))}, or one of your own as module:function",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(Declared):
    """What a training is told besides the store, the label and the songs: docs/options.md.

    Raises
    ------
    ModelError
        If a value is out of its range.
    """

    encoder: str = declared(
        "compact",
        f"Network that looks at one window: {' | '.join(get_args(EncoderName))}, or your own as module:function.",
        rule=_ENCODER,
    )
    pooling: PoolingName = declared("mean", "How the windows of a song are joined.")
    bag_size: int = declared(8, "Windows of a song in one step, or as many as the longest song has.", rule=at_least(1))
    batch_size: int = declared(8, "Songs in one step.", rule=at_least(1))
    epochs: int = declared(100, "Passes over the training songs.", rule=at_least(1))
    learning_rate: float = declared(
        2e-3,
        "Highest learning rate of AdamW: a tenth of the steps lead up to it, then it falls along half a cosine.",
        rule=above(0),
    )
    weight_decay: float = declared(
        0.1, "Of AdamW: share of each weight that a step takes away, times the learning rate.", rule=at_least(0)
    )
    class_weight: ClassWeight = declared(
        "none", "balanced: each class counts the same in the loss, however few its songs; or none."
    )
    label_smoothing: float = declared(
        0.0, "Share of each target that is spread over all answers.", rule=share_below_one()
    )
    mixup: float = declared(
        0.3, "Mix songs in pairs, labels too, by shares from Beta(X, X).", rule=at_least(0), panel=_CHANGES
    )
    gain_db: float = declared(
        0.0, "Standard deviation of a song's change of level.", rule=at_least(0), unit="dB", panel=_CHANGES
    )
    time_shift: float = declared(
        1.0, "Roll the frames of a window, by up to this share of it.", rule=between(0, 1), panel=_CHANGES
    )
    time_mask: float = declared(
        0.1, "Blank out a run of frames of a window, up to this share.", rule=between(0, 1), panel=_CHANGES
    )
    band_mask: float = declared(
        0.1, "Blank out a run of bands of a window, up to this share.", rule=between(0, 1), panel=_CHANGES
    )
    window_dropout: float = declared(
        0.0, "Leave out this share of a bag's windows at random.", rule=share_below_one(), panel=_CHANGES
    )
    early_stopping: int | None = declared(
        None, "Stop after so many epochs without a lower validation loss.", rule=at_least(1), absent="never"
    )
    calibrate: bool = declared(False, "Set the temperature of the probabilities by the validation songs, at the end.")
    seed: int = declared(
        0, "Decides the split, the order, the windows drawn and the initial weights.", rule=between(0, 2**32 - 1)
    )
    mixed_precision: bool = declared(
        False, "Compute in float16, with weights in float32: faster on GPUs with tensor cores, slower on a CPU."
    )
    steps_per_execution: int = declared(1, "Steps that TensorFlow takes before Python looks again.", rule=at_least(1))
    tensorboard: bool = declared(False, "Also write the history as event files, into RUN/tensorboard.")

    ERROR: ClassVar[type[UsageError]] = ModelError


AUGMENTATIONS = tuple(name for name, one in declarations(TrainConfig).items() if one.panel == _CHANGES)
"""Fields of `TrainConfig` that say how much the training songs are changed; 0 turns one off."""
