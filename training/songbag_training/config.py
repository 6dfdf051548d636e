"""`TrainConfig`: the choices of one training. It imports no network, so that the command line can show the defaults."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any, Literal, get_args, get_origin, get_type_hints

from songbag_training.errors import ModelError

EncoderName = Literal["compact", "reference"]
PoolingName = Literal["mean", "max", "lse", "noisy-or", "autopool", "linear-softmax", "attention", "gated-attention"]

_PLUG_IN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

ClassWeight = Literal["none", "balanced"]

AUGMENTATIONS = ("mixup", "gain_db", "time_shift", "time_mask", "band_mask", "window_dropout")
"""Fields of `TrainConfig` that say how much the training songs are changed; 0 turns one off."""

_ANY = (0.0, math.inf, "a number from 0")
_SHARE = (0.0, math.nextafter(1.0, 2.0), "a number from 0 to 1")
_BELOW_ONE = (0.0, 1.0, "a number from 0 to below 1")
_RANGES = {
    "learning_rate": (0.0, math.inf, "a number above 0"),
    "weight_decay": _ANY,
    "label_smoothing": _BELOW_ONE,
    "mixup": _ANY,
    "gain_db": _ANY,
    "time_shift": _SHARE,
    "time_mask": _SHARE,
    "band_mask": _SHARE,
    "window_dropout": _BELOW_ONE,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """What a training is told besides the store, the label and the songs.

    Raises
    ------
    ModelError
        If a value is out of its range.
    """

    encoder: str = "compact"
    """Network that looks at one window: see `models.encoders`; one of your own as ``module:function``."""
    pooling: PoolingName = "mean"
    """Layer that joins the windows of a song: see `songbag_training.models.poolings`."""
    bag_size: int = 8
    """Windows of a song in one training step, or as many as the longest song has."""
    batch_size: int = 8
    """Songs in one training step. Small, because small collections need the steps."""
    epochs: int = 100
    """Passes over the training songs."""
    learning_rate: float = 2e-3
    """Highest of AdamW; it rises to it over the first tenth of the steps and falls to zero along half a cosine."""
    weight_decay: float = 0.1
    """Of AdamW: the share of each weight that a step takes away, times the learning rate."""
    class_weight: ClassWeight = "none"
    """Whether songs of rare classes count more in the loss, so that each class counts the same."""
    label_smoothing: float = 0.0
    """Share of each target that is spread over all answers, below 1: see `songbag_training.models.task.SongLoss`."""
    mixup: float = 0.3
    """Bags are mixed in pairs by shares drawn from Beta(mixup, mixup), and their labels alike; 0 mixes none."""
    gain_db: float = 0.0
    """Standard deviation of the level by which a song is made louder or quieter, in dB."""
    time_shift: float = 1.0
    """The frames of a window are rolled by up to this share of it."""
    time_mask: float = 0.1
    """A run of frames of up to this share of a window is blanked out."""
    band_mask: float = 0.1
    """A run of bands or coefficients of up to this share of them is blanked out in a window."""
    window_dropout: float = 0.0
    """Share of a bag's windows that is left out at random."""
    early_stopping: int | None = None
    """Stop after so many epochs without a lower validation loss; None trains all of them."""
    calibrate: bool = False
    """At the end, set the temperature by the validation songs: see `songbag_training.evaluation.calibration`."""
    seed: int = 0
    """Decides the split, the order, the windows drawn and the initial weights."""
    mixed_precision: bool = False
    """Compute in float16 with weights in float32: faster on GPUs with tensor cores, and slower on a CPU."""
    steps_per_execution: int = 1
    """Training steps that TensorFlow takes before Python looks again."""
    tensorboard: bool = False
    """Also write the history as event files, into the folder ``tensorboard`` of the run."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if name == "encoder":
                names = get_args(EncoderName)
                wanted = f"one of {', '.join(names)}, or one of your own as module:function"
                _require(value in names or is_plug_in(value), name, value, wanted)
            elif get_origin(hint) is Literal:
                _require(value in get_args(hint), name, value, "one of " + ", ".join(get_args(hint)))
            elif name in _RANGES:
                low, high, wanted = _RANGES[name]
                number = type(value) in (int, float)
                _require(number and low <= value < high and (value > 0 or name != "learning_rate"), name, value, wanted)
                object.__setattr__(self, name, float(value))
            elif hint is bool:
                _require(type(value) is bool, name, value, "true or false")
            elif not (value is None and name == "early_stopping"):
                lowest = 0 if name == "seed" else 1
                _require(type(value) is int and lowest <= value < 2**32, name, value, f"a whole number from {lowest}")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return dataclasses.asdict(self)


def is_plug_in(encoder: object) -> bool:
    """Tell whether the name of an encoder is that of a function outside songbag: ``module:function``."""
    return isinstance(encoder, str) and _PLUG_IN.fullmatch(encoder) is not None


def _require(fits: bool, name: str, value: object, wanted: str) -> None:
    if not fits:
        raise ModelError(f"is {value!r} but must be {wanted}", place=name.replace("_", "-"))
