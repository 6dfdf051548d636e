"""`FeatureSpec`: every number that decides a feature byte, in one frozen and fingerprinted value."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from typing import Any, Literal, get_args, get_type_hints

from songbag_store.errors import SpecError

Kind = Literal["mfcc", "logmel"]
ShortSongs = Literal["pad", "reject"]
Encoding = Literal["int16", "float32"]

INT16_STEP = 1 / 16
"""The step of the int16 encoding; the rounding error is at most half of it."""

_LOG_FLOOR_DB = 100.0
"""Log power never falls below ``10 * log10(1e-10) = -100`` dB (librosa's ``amin``)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """What is computed of a song, and how it is stored.

    The defaults are the recipe ``librosa.load(path, sr=22050)``, ``librosa.util.frame`` in windows of 5 s every 2.5 s
    and ``librosa.feature.mfcc(y=window, sr=22050, n_mfcc=13, hop_length=512, n_fft=1024)``: windows of shape (13, 216).

    Raises
    ------
    SpecError
        If a number is out of its range or two do not fit together.

    Examples
    --------
    >>> FeatureSpec().window_shape
    (13, 216)
    >>> FeatureSpec(kind="logmel", n_mels=64, window_s=1.0).window_shape
    (64, 44)
    """

    kind: Kind = "mfcc"
    """MFCC, or the log-mel spectrogram in dB that they are the DCT of."""
    sample_rate_hz: int = 22050
    """Sample rate after resampling, in Hz."""
    n_fft: int = 1024
    """Length of a frame and of its FFT, in samples; the taper is a periodic Hann window."""
    hop_length: int = 512
    """Distance of two frames, in samples; frames are centred, with zeros beyond both ends of the window."""
    n_mels: int = 128
    """Mel bands (Slaney's scale and norm) from 0 Hz to half the sample rate."""
    n_mfcc: int = 13
    """Coefficients kept of the orthonormal DCT-II; `logmel` ignores it."""
    deltas: int = 0
    """0, 1 or 2: orders of time derivative (Savitzky-Golay over 9 frames) added as channels."""
    window_s: float = 5.0
    """Length of a window, in seconds."""
    window_hop_s: float | None = None
    """Distance of two windows, in seconds; None stands for half a window and is replaced by that."""
    top_db: float = 80.0
    """Log power is clamped this far below the loudest point of its window, in dB."""
    max_duration_s: float | None = None
    """Only this much of the start of a song is used, in seconds; None for all of it."""
    short_songs: ShortSongs = "pad"
    """A song shorter than a window is padded with zeros to one window and flagged, or rejected."""
    encoding: Encoding = "int16"
    """int16 in steps of 1/16 (error at most 1/32), or float32 exactly as computed."""
    definition: int = 1
    """Number of this definition of the features; a songbag that computes other bytes has another one."""

    def __post_init__(self) -> None:
        self._check_types()
        numbers = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name, value in numbers.items():
            _require(not isinstance(value, float) or math.isfinite(value), name, value, "a finite number")
        _require(self.sample_rate_hz > 0, "sample_rate_hz", self.sample_rate_hz, "1000 to 768000")
        if self.window_hop_s is None:
            object.__setattr__(self, "window_hop_s", (self.window_samples // 2) / self.sample_rate_hz)
        self._check_ranges()

    def _check_types(self) -> None:
        """Turn whole numbers given for seconds into floats; refuse every other type, bool among them."""
        for name, hint in get_type_hints(type(self)).items():
            value = getattr(self, name)
            allowed = get_args(hint) or (hint,)
            if float in allowed and isinstance(value, int) and not isinstance(value, bool):
                object.__setattr__(self, name, float(value))
            elif isinstance(value, str):
                _require(value in allowed, name, value, "one of " + ", ".join(map(repr, allowed)))
            else:
                _require(type(value) in allowed, name, value, "a number")

    def _check_ranges(self) -> None:
        _require(1_000 <= self.sample_rate_hz <= 768_000, "sample_rate_hz", self.sample_rate_hz, "1000 to 768000")
        _require(16 <= self.n_fft <= 65_536, "n_fft", self.n_fft, "16 to 65536")
        _require(self.n_fft % 2 == 0, "n_fft", self.n_fft, "even")
        _require(1 <= self.hop_length <= self.n_fft, "hop_length", self.hop_length, "1 to n_fft")
        _require(1 <= self.n_mels <= self.n_fft // 2 + 1, "n_mels", self.n_mels, "1 to n_fft / 2 + 1")
        few_enough = self.kind == "logmel" or 1 <= self.n_mfcc <= self.n_mels
        _require(few_enough, "n_mfcc", self.n_mfcc, "1 to n_mels")
        _require(0 <= self.deltas <= 2, "deltas", self.deltas, "0, 1 or 2")
        _require(self.n_fft <= self.window_samples, "window_s", self.window_s, "at least one frame (n_fft samples)")
        _require(self.window_s <= 3600, "window_s", self.window_s, "at most an hour")
        _require(self.window_hop_samples >= 1, "window_hop_s", self.window_hop_s, "at least one sample")
        _require(self.top_db > 0, "top_db", self.top_db, "above 0")
        _require(self.deltas == 0 or self.n_frames >= 9, "deltas", self.deltas, "0 for windows of fewer than 9 frames")
        longest = self.max_duration_s
        _require(longest is None or longest > 0, "max_duration_s", longest, "above 0, or left out")
        _require(self.definition == 1, "definition", self.definition, "1 for this version of songbag")
        reach = _LOG_FLOOR_DB * (math.sqrt(self.n_mels) if self.kind == "mfcc" else 1.0)
        fits = self.encoding == "float32" or reach < 2**15 * INT16_STEP
        _require(fits, "n_mels", self.n_mels, "at most 419 with the int16 encoding; float32 takes any")

    @property
    def window_samples(self) -> int:
        """Length of a window, in samples."""
        return round(self.window_s * self.sample_rate_hz)

    @property
    def window_hop_samples(self) -> int:
        """Distance of two windows, in samples."""
        if self.window_hop_s is None:
            return self.window_samples // 2
        return round(self.window_hop_s * self.sample_rate_hz)

    @property
    def n_frames(self) -> int:
        """Frames of a window: ``1 + window_samples // hop_length``."""
        return 1 + self.window_samples // self.hop_length

    @property
    def n_bands(self) -> int:
        """Coefficients or bands of one channel."""
        return self.n_mfcc if self.kind == "mfcc" else self.n_mels

    @property
    def n_channels(self) -> int:
        """Channels: the features and their deltas."""
        return 1 + self.deltas

    @property
    def window_shape(self) -> tuple[int, int]:
        """Shape (C, T) of one window as stored, ``C = n_channels * n_bands``, channel after channel."""
        return (self.n_channels * self.n_bands, self.n_frames)

    @property
    def window_bytes(self) -> int:
        """Size of one window as stored, before compression."""
        return math.prod(self.window_shape) * (2 if self.encoding == "int16" else 4)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the resolved numbers: equal exactly where the feature bytes are."""
        numbers = self.to_dict()
        numbers |= {"window_samples": self.window_samples, "window_hop_samples": self.window_hop_samples}
        del numbers["window_s"], numbers["window_hop_s"]
        if self.kind == "logmel":
            del numbers["n_mfcc"]
        return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> FeatureSpec:
        """Return the spec that `to_dict` gave these fields.

        Raises
        ------
        SpecError
            If a field is unknown, missing or of another type.
        """
        names = {f.name for f in dataclasses.fields(cls)}
        if set(fields) != names:
            odd = ", ".join(sorted(set(fields) ^ names))
            raise SpecError(f"fields unknown or missing: {odd}", place="feature spec")
        return cls(**fields)

    def differences(self, other: FeatureSpec) -> dict[str, tuple[object, object]]:
        """Return the fields in which two specs differ, with both values."""
        mine, theirs = self.to_dict(), other.to_dict()
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}


def _require(fits: bool, name: str, value: object, wanted: str) -> None:
    if not fits:
        raise SpecError(f"{name} is {value!r} but must be {wanted}", place="feature spec")
