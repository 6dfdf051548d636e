"""`TrainConfig`: the choices of one training. It imports no network, so that the command line can show the defaults."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, get_args, get_origin, get_type_hints

from songbag_training.errors import ModelError

EncoderName = Literal["compact", "reference"]
PoolingName = Literal["mean", "max", "lse", "noisy-or", "autopool", "linear-softmax", "attention", "gated-attention"]

ClassWeight = Literal["none", "balanced"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """What a training is told besides the store, the label and the songs.

    Raises
    ------
    ModelError
        If a value is out of its range.
    """

    encoder: EncoderName = "compact"
    """Network that looks at one window: see `songbag_training.encoders`."""
    pooling: PoolingName = "mean"
    """Layer that joins the windows of a song: see `songbag_training.poolings`."""
    bag_size: int = 16
    """Windows of a song in one training step."""
    batch_size: int = 8
    """Songs in one training step. Small, because small collections need the steps."""
    epochs: int = 60
    """Passes over the training songs."""
    learning_rate: float = 1e-3
    """Of Adam, at the start; it falls to zero along half a cosine."""
    class_weight: ClassWeight = "none"
    """Whether songs of rare classes count more in the loss, so that each class counts the same."""
    label_smoothing: float = 0.0
    """Share of each target that is spread over all answers, below 1: see `songbag_training.tasks.SongLoss`."""
    early_stopping: int | None = None
    """Stop after so many epochs without a lower validation loss; None trains all of them."""
    seed: int = 0
    """Decides the split, the order, the windows drawn and the initial weights."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if get_origin(hint) is Literal:
                _require(value in get_args(hint), name, value, "one of " + ", ".join(get_args(hint)))
            elif name == "learning_rate":
                _require(isinstance(value, float) and 0 < value < math.inf, name, value, "a number above 0")
            elif name == "label_smoothing":
                _require(isinstance(value, float) and 0 <= value < 1, name, value, "a number from 0 to below 1")
            elif not (value is None and name == "early_stopping"):
                lowest = 0 if name == "seed" else 1
                _require(type(value) is int and lowest <= value < 2**32, name, value, f"a whole number from {lowest}")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return dataclasses.asdict(self)


def _require(fits: bool, name: str, value: object, wanted: str) -> None:
    if not fits:
        raise ModelError(f"is {value!r} but must be {wanted}", where=name.replace("_", "-"))
