"""`TrainConfig`: the options of a training."""

from __future__ import annotations

import dataclasses
import re
from functools import partial
from typing import Any, ClassVar, Literal, Self, TypeAlias, get_args

from songbag_store import FeatureSpec
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
from songbag_training import changes, usual
from songbag_training.errors import ModelError

EncoderName = Literal["compact", "dense", "reference", "spectral"]
AUTO = "auto"
"""The encoder that suits the windows."""
PoolingName = Literal["mean", "max", "lse", "noisy-or", "autopool", "linear-softmax", "attention", "gated-attention"]

ExportFormat = Literal["keras", "savedmodel", "tflite", "onnx"]
ClassWeight = Literal["none", "balanced"]
Sampling = Literal["natural", "sqrt", "balanced"]
Log = Literal["none", "tensorboard", "mlflow"]
Monitor = Literal["loss", "balanced-accuracy", "macro-f1", "average-precision"]

COSTS = "cost:"
"""What `TrainConfig.thresholds` begins with if it says what mistakes cost."""

_PLUG_IN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_plug_in(encoder: object) -> bool:
    """Return whether a name is that of a function outside songbag: ``module:function``."""
    return isinstance(encoder, str) and _PLUG_IN.fullmatch(encoder) is not None


_OF_MODULE = "MODULE:FUNCTION"
_OWN = Rule(is_plug_in, "named as module:function")


_NAMED = f"{', '.join(get_args(EncoderName))}, or your own as module:function"
_ENCODER = Rule(
    lambda value: value == AUTO or value in get_args(EncoderName) or is_plug_in(value), f"{AUTO}, or one of {_NAMED}"
)

Learner = Literal["auto", "linear", "trees", "mean"]
SummariesOf = Literal["windows", "index"]

_THRESHOLDS = Rule(
    lambda value: value == "f1" or value.startswith(COSTS), f"f1, or {COSTS} and TRUE>PREDICTED=COST, with commas"
)


_encoder = partial(
    declared,
    AUTO,
    f"Network that looks at one window: {_NAMED}; {AUTO} is dense for windows of one frame, spectral for MFCC, "
    "and else compact.",
    rule=_ENCODER,
    names=(AUTO, *get_args(EncoderName)),
)
_PEAK = "Peak learning rate of AdamW: a tenth of the steps rise to it, then it falls by a cosine."
_weight_decay = partial(
    declared, 0.1, "Of AdamW: share of each weight that a step takes away, times the learning rate.", rule=at_least(0)
)
_mixed_precision = partial(
    declared, False, "Compute in float16, with weights in float32: faster on GPUs with tensor cores, slower on a CPU."
)
_LOG_HELP = (
    "Also write the history for another tool: tensorboard, event files in RUN/tensorboard; mlflow (an extra), into the "
    "store of MLFLOW_TRACKING_URI, or else RUN/mlflow."
)
_BALANCED = "balanced: rare classes count as much as common ones in the loss."
_calibrate = partial(declared, False, "At the end, calibrate the probabilities by the validation songs.")
_thresholds = partial(
    declared,
    None,
    "How the validation songs choose above which probability a class is predicted, with lists of classes or two "
    "classes: f1. Or what mistakes cost, of any number of classes: cost:TRUE>PREDICTED=5,...",
    rule=_THRESHOLDS,
    metavar="f1|cost:...",
    absent="0.5, or the most probable class",
    later=True,
)


class _Decides:
    """What the validation songs decide, of a network and of a baseline."""

    __slots__ = ()

    class_weight: ClassWeight
    calibrate: bool
    thresholds: str | None

    @property
    def weighs_costs(self) -> bool:
        """Whether what costs least is predicted."""
        return self.thresholds is not None and self.thresholds.startswith(COSTS)

    @property
    def calibrates(self) -> bool:
        """Whether probabilities are calibrated: if asked for, and for costs, which are weighed by probabilities."""
        return self.calibrate or self.weighs_costs

    def _check_costs(self) -> None:
        if self.weighs_costs and self.class_weight != "none":
            what = "costs are weighed by how probable the classes are, and class_weight changes these probabilities"
            raise ModelError(what, place="thresholds", remedy="Leave `class_weight` out: the costs weigh the classes.")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig(Declared):
    """How the labels of songs are read from their column."""

    label_separator: str | None = declared(
        None,
        "Text between the classes of a song in a column of text: with |, a song of a|b is of both.",
        rule=Rule(bool, "text of one character or more"),
        metavar="TEXT",
        absent="one class",
        later=True,
    )
    min_songs: int = declared(
        1, "Leave out classes with fewer songs, and songs of no other class.", rule=at_least(1), later=True
    )

    @property
    def reading(self) -> LabelConfig:
        """These fields alone, without those of a class below."""
        return LabelConfig(label_separator=self.label_separator, min_songs=self.min_songs)


AS_THEY_ARE = LabelConfig()
"""Labels are the values of their column, and no class is left out."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(_Decides, usual.Open, LabelConfig):
    """Options of a training, besides the store, the label and the songs: docs/reference/options.md.

    Raises
    ------
    ModelError
        If a value is out of its range.
    """

    encoder: str = _encoder()
    members: int | None = declared(
        None,
        "Networks that are trained in the same steps, each from its own random weights and with its own changes of the "
        "songs; their probabilities are averaged.",
        rule=between(1, 100),
        absent=f"with few songs {usual.MEMBERS}, else 1; as many as a run to start from",
        later=True,
    )
    tree_share: float | None = declared(
        None,
        "How much trees on song summaries count in the mean of what they and the networks say.",
        rule=share_below_one(),
        absent=f"with few songs, or MFCC of up to 1,000, if `members` is not given, {usual.TREE_SHARE:g}, else 0",
        later=True,
    )
    pooling: PoolingName = declared("mean", "How the windows of a song are joined.")
    bag_size: int = declared(8, "Windows of a song in one step, or as many as the longest song has.", rule=at_least(1))
    batch_size: int = declared(8, "Songs in one step.", rule=at_least(1))
    epochs: int = declared(100, "Passes over the training songs.", rule=at_least(1))
    learning_rate: float = declared(2e-3, _PEAK, rule=above(0))
    weight_decay: float = _weight_decay()
    class_weight: ClassWeight = declared("none", _BALANCED)
    sampling: Sampling = declared(
        "natural",
        "How often songs come in an epoch: natural, all alike; balanced, so that all classes come alike; sqrt, between "
        "the two.",
        later=True,
    )
    epoch_songs: int | None = declared(
        None,
        "Songs of an epoch; each epoch draws its own.",
        rule=at_least(1),
        absent="every training song once",
        later=True,
    )
    label_smoothing: float = declared(0.0, "Share of each target spread over all answers.", rule=share_below_one())
    mixup: float = changes.change(0.3, "Mix songs in pairs, labels too, by shares from Beta(X, X).", rule=at_least(0))
    gain_db: float = changes.gain_db(0.0, "song")
    equalizer_db: float | None = changes.equalizer_db()
    band_shift: float | None = changes.band_shift()
    band_mix: float | None = changes.band_mix()
    time_shift: float = changes.time_shift()
    time_mask: float = changes.time_mask(0.1)
    band_mask: float = changes.band_mask(0.1)
    window_dropout: float = changes.change(
        0.0, "Leave out this share of a bag's windows at random.", rule=share_below_one()
    )
    early_stopping: int | None = declared(
        None, "Stop after this many epochs in which the validation did not improve.", rule=at_least(1), absent="never"
    )
    monitor: Monitor = declared(
        "loss", "What of the validation songs is to improve: it chooses the epoch whose weights are kept.", later=True
    )
    calibrate: bool = _calibrate()
    thresholds: str | None = _thresholds()
    freeze: str | None = declared(
        None,
        "With a run to start from: what stays as it is there. encoder: only pooling and head learn.",
        rule=Rule(lambda value: value == "encoder", "encoder"),
        names=("encoder",),
        metavar="encoder",
        absent="nothing",
        later=True,
    )
    seed: int = declared(
        0, "Decides the split, the order, the windows drawn and the initial weights.", rule=between(0, 2**32 - 1)
    )
    mixed_precision: bool = _mixed_precision()
    steps_per_execution: int = declared(1, "Steps that TensorFlow takes per call from Python.", rule=at_least(1))
    log: Log = declared("none", _LOG_HELP, later=True)
    optimizer: str | None = declared(
        None, "Optimizer of your own, as module:function.", rule=_OWN, metavar=_OF_MODULE, absent="AdamW", later=True
    )
    schedule: str | None = declared(
        None,
        "Learning rates of your own, as module:function.",
        rule=_OWN,
        metavar=_OF_MODULE,
        absent="a rise, then a cosine",
        later=True,
    )
    callbacks: tuple[str, ...] = declared(
        (),
        "Keras callback of your own, as module:function; may be repeated.",
        rule=Rule(lambda value: all(map(is_plug_in, value)), "named as module:function"),
        metavar=_OF_MODULE,
        later=True,
    )
    no_floor: bool = declared(
        False, "Leave out what a baseline on song summaries reaches on the same test songs.", later=True
    )

    ERROR: ClassVar[type[UsageError]] = ModelError

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Return the value that `to_dict` gave these fields; see `Declared.from_dict`.

        Runs from before `log` say ``tensorboard`` in its place, true or false.
        """
        known = dict(fields)
        if "log" not in known and isinstance(known.get("tensorboard"), bool):
            known["log"] = "tensorboard" if known.pop("tensorboard") else "none"
        # Two arguments, because a dataclass with slots is another class than the one that is defined here.
        return super(TrainConfig, cls).from_dict(known)

    def _check(self) -> None:
        if self.sampling != "natural" and (self.weighs_costs or self.class_weight != "none"):
            by = "costs weigh them by their probabilities" if self.weighs_costs else "class_weight does that too"
            what = f"rare classes come more often with {self.sampling}, and {by}"
            raise ModelError(what, place="sampling", remedy="Leave one of the two out.")
        self._check_costs()

    @property
    def n_members(self) -> int:
        """How many networks the model of a run has."""
        return self.members or 1

    @property
    def learners(self) -> tuple[str, ...]:
        """The names of those whose probabilities are averaged; none if there is one network alone."""
        if self.n_members == 1 and not self.tree_share:
            return ()
        return (*(f"member {n}" for n in range(1, self.n_members + 1)), *(["trees"] * bool(self.tree_share)))

    @property
    def model_in_words(self) -> str:
        """What learns."""
        members = f"{self.n_members} members, each " if self.n_members > 1 else ""
        trees = f", and trees with a share of {self.tree_share:g}" if self.tree_share else ""
        return f"{members}{self.encoder} with {self.pooling}{trees}"

    def encoder_for(self, spec: FeatureSpec) -> str:
        """Return the name of the encoder for windows of a spec."""
        if self.encoder != AUTO:
            return self.encoder
        if spec.n_frames == 1:
            return "dense"
        return "spectral" if spec.kind == "mfcc" else "compact"

    def chooses_by(self, option: str) -> bool:
        """Return whether an option, by its name, is in use and chooses something by the validation songs."""
        return bool(getattr(self, option)) and not (option == "monitor" and self.monitor == "loss")


AUGMENTATIONS = tuple(name for name, one in declarations(TrainConfig).items() if one.panel == changes.PANEL)
"""Fields of `TrainConfig` that change the training songs; 0 turns one off."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig(Declared):
    """Options of a training without labels, besides the store and the songs: docs/reference/options.md.

    Raises
    ------
    ModelError
        If a value is out of its range.
    """

    encoder: str = _encoder()
    projection: int = declared(128, "Numbers of a projection, by which windows are compared.", rule=at_least(1))
    batch_size: int = declared(64, "Songs in one step, which are told apart.", rule=at_least(2))
    epochs: int = declared(100, "Passes over the songs.", rule=at_least(1))
    learning_rate: float = declared(1e-3, _PEAK, rule=above(0))
    weight_decay: float = _weight_decay()
    gain_db: float = changes.gain_db(3.0, "window")
    time_shift: float = changes.time_shift()
    time_mask: float = changes.time_mask(0.5)
    band_mask: float = changes.band_mask(0.3)
    early_stopping: int | None = declared(
        None,
        "Stop after this many epochs in which the songs kept aside were not told apart better.",
        rule=at_least(1),
        absent="never",
    )
    seed: int = declared(
        0,
        "Decides who is kept aside, the order, the windows drawn and the initial weights.",
        rule=between(0, 2**32 - 1),
    )
    mixed_precision: bool = _mixed_precision()
    log: Log = declared("none", _LOG_HELP, later=True)

    ERROR: ClassVar[type[UsageError]] = ModelError

    def training(self, spec: FeatureSpec) -> TrainConfig:
        """Return these options as those of a training on bags of two windows, as `run.json` keeps them."""
        own = {name: getattr(self, name) for name in declarations(PretrainConfig) if name != "projection"}
        config = TrainConfig(bag_size=2, mixup=0.0, **own)
        return dataclasses.replace(config, encoder=config.encoder_for(spec))

    @classmethod
    def of(cls, training: TrainConfig, projection: int) -> PretrainConfig:
        """Return the options that `training` turned into those of a training."""
        own = {name: getattr(training, name) for name in declarations(cls) if name != "projection"}
        return cls(projection=projection, **own)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BaselineConfig(_Decides, LabelConfig):
    """Options of a baseline, besides the store, the label and the songs: docs/reference/options.md.

    Raises
    ------
    ModelError
        If a value is out of its range.
    """

    learner: Learner = declared(
        "auto",
        "What learns: linear, trees, mean (of the probabilities of both); auto: the one that is best on parts of the "
        "training songs.",
    )
    summaries: SummariesOf = declared(
        "windows",
        "What is known of a song: windows, every statistic, from one reading of its windows; index, mean and deviation "
        "alone, from the index.",
    )
    class_weight: ClassWeight = declared("none", _BALANCED)
    calibrate: bool = _calibrate()
    thresholds: str | None = _thresholds()
    seed: int = declared(0, "Decides the split, the trees and the parts.", rule=between(0, 2**32 - 1))

    ERROR: ClassVar[type[UsageError]] = ModelError

    def _check(self) -> None:
        self._check_costs()

    @property
    def model_in_words(self) -> str:
        """What learns."""
        names = {"linear": "linear model", "trees": "trees", "mean": "mean of a linear model and trees"}
        of = "song summaries" if self.summaries == "windows" else "mean and deviation"
        return f"{names.get(self.learner, 'linear model or trees')} on {of}"

    def chooses_by(self, option: str) -> bool:
        """Return whether an option, by its name, is in use and chooses something by the validation songs."""
        return bool(getattr(self, option, None))


CHOOSING = ("early_stopping", "calibrate", "thresholds", "monitor")
"""Options that choose something by the validation songs, see `chooses_by`."""

RunConfig: TypeAlias = TrainConfig | BaselineConfig
"""The options of a run: of a network, or of a baseline."""
