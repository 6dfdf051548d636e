"""`FeatureSpec`: everything that decides the bytes of the features."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, Self, TypeAlias

from songbag_store.errors import SpecError, UsageError
from songbag_store.format.declaration import Declared, Rule, above, at_least, between, declared, plain_number
from songbag_store.format.extractor import Extractor, load_extractor, option_texts

Kind: TypeAlias = str
"""``mfcc`` or ``logmel``; some of `BY_LIBROSA` joined by ``+``, whose bands lie one above the other; ``own``; or
``embedding``."""
ShortSongs = Literal["pad", "reject"]
Encoding = Literal["int16", "float32"]

IN_DB = ("mfcc", "logmel")
"""The kinds that songbag computes itself."""
OWN = "own"
"""The kind of an extractor of the user's own."""
EMBEDDING = "embedding"
"""The kind of what the encoder of a run makes of the windows of another store."""
BY_LIBROSA = {"chroma": 12, "contrast": 7, "tonnetz": 6, "tempogram": 384}
"""The kinds that librosa computes, and their bands."""

INT16_STEP = 1 / 16
"""The step of the int16 encoding of MFCC and log-mel; the rounding error is at most half of it."""

_LONGEST_S = 1e9
_PANEL = "What to compute"
_option = partial(declared, panel=_PANEL)
_later = partial(declared, option=None, later=True)


def _hex(length: int) -> Rule:
    return Rule(lambda text: re.fullmatch(f"[0-9a-f]{{{length}}}", text) is not None, f"{length} hexadecimal digits")


_LOG_FLOOR_DB = 100.0
"""Log power never falls below ``10 * log10(1e-10) = -100`` dB (librosa's ``amin``)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec(Declared):
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

    kind: Kind = declared(
        "mfcc",
        "MFCC, or the log-mel spectrogram in dB that they are computed from; or by librosa chroma, contrast, tonnetz, "
        "tempogram, several of them joined by +, which stacks their bands; or own, by an extractor. Of `--features`. "
        "Or embedding, by `songbag embed`.",
        rule=Rule(
            lambda value: value in (OWN, EMBEDDING) or _is_kind(value),
            "mfcc, logmel, own, embedding, or some of " + ", ".join(BY_LIBROSA) + " joined by +",
        ),
        option=None,
    )
    sample_rate_hz: int = _option(
        22050, "Sample rate after resampling.", rule=between(1_000, 768_000), unit="Hz", option="--sample-rate"
    )
    n_fft: int = _option(
        1024,
        "Length of a frame, under a periodic Hann window, and of its FFT.",
        rule=Rule(lambda value: 16 <= value <= 65_536 and value % 2 == 0, "from 16 to 65536, and even"),
        unit="samples",
    )
    hop_length: int = _option(
        512, "Distance of two frames, at most the length of one.", rule=at_least(1), unit="samples"
    )
    n_mels: int = _option(128, "Mel bands (Slaney's scale and norm) up to half the sample rate.", rule=at_least(1))
    n_mfcc: int = _option(13, "Coefficients of MFCC that are kept, at most one for each mel band.")
    deltas: int = declared(
        0,
        "Orders of time derivative (Savitzky-Golay over 9 frames) that are added as channels. Of `--features`.",
        rule=between(0, 2),
        option=None,
    )
    window_s: float = _option(5.0, "Length of a window.", rule=between(0, 3600), unit="seconds", option="--window")
    window_hop_s: float | None = _option(
        None,
        "Distance of two windows.",
        rule=above(0, _LONGEST_S),
        unit="seconds",
        absent="half a window",
        option="--window-hop",
    )
    top_db: float = declared(
        80.0, "Power is clamped this far below the loudest point of its window.", rule=above(0), unit="dB", option=None
    )
    max_duration_s: float | None = _option(
        None,
        "Use only this much of the start of a song.",
        rule=above(0, _LONGEST_S),
        unit="seconds",
        absent="all",
        option="--max-duration",
    )
    short_songs: ShortSongs = declared(
        "pad", "A song shorter than a window is padded with zeros to one window and flagged, or rejected.", option=None
    )
    encoding: Encoding = declared(
        None,
        "int16 in steps of 1/16 (error at most 1/32), or of what an extractor says; or float32 as computed.",
        panel=_PANEL,
        absent="int16 for MFCC, log-mel and extractors that name a step, else float32",
    )
    definition: int = declared(
        1,
        "Number of this definition of the features; a songbag that computes other bytes has another one.",
        rule=Rule(lambda value: value == 1, "equal to 1 in this version of songbag"),
        option=None,
    )

    extractor: str | None = _later(
        None,
        "The extractor of own features, as module:name. Of `--features`.",
        rule=Rule(lambda value: ":" in value, "a name like module:function"),
    )
    extractor_version: str | None = _later(None, "What the extractor says of its version.")
    extractor_sha256: str | None = _later(None, "Digest of the source file of the extractor's module.")
    extractor_options: tuple[str, ...] = declared(
        (),
        "Parameter of an extractor of your own; may be repeated.",
        metavar="KEY=VALUE",
        panel=_PANEL,
        option="--feature-option",
        later=True,
    )
    own_bands: int | None = _later(None, "Bands of a window of own features or of an embedding.", rule=at_least(1))
    own_frames: int | None = _later(None, "Frames of a window of own features; 1 of an embedding.", rule=at_least(1))
    own_step: float | None = _later(
        None, "Step of the int16 encoding of own features; the error is at most half of it.", rule=between(1e-30, 1e30)
    )

    embedding_run: str | None = _later(
        None, "The run whose encoder made the embeddings, by its `run_id`.", rule=_hex(32)
    )
    embedding_weights: str | None = _later(None, "SHA-256 of the run's weights.", rule=_hex(64))
    embedding_store: str | None = _later(None, "The store whose windows were embedded, by its `uuid`.", rule=_hex(32))
    embedding_features: str | None = _later(None, "Fingerprint of that store's features.", rule=_hex(64))

    ERROR: ClassVar[type[UsageError]] = SpecError

    @classmethod
    def custom(cls, extractor: str, *, options: Mapping[str, Any] | None = None, **numbers: Any) -> Self:
        """Return the spec of features that a function or class of your own computes, see `songbag.extractor`.

        Its module is imported. Name, version, options and the digest of the module's source are in the spec.

        Parameters
        ----------
        extractor : str
            As ``module:name``; the current folder is searched last.
        options : mapping, optional
            Its parameters; JSON values.
        **numbers
            Other fields of the spec: `window_s`, `window_hop_s`, `max_duration_s`, `short_songs`.

        Raises
        ------
        SpecError
            If there is no such extractor, or it does not declare what it takes and gives.

        Examples
        --------
        >>> FeatureSpec.custom("my_features:chroma", options={"bins": 12}, window_s=2.0).window_shape
        (12, 1)
        """
        if not isinstance(options or {}, Mapping):
            raise SpecError(f"is {options!r:.80} and no mapping", place="options", remedy="Give {'name': value}.")
        try:
            texts = tuple(f"{key}={json.dumps(value, default=_json)}" for key, value in (options or {}).items())
        except (TypeError, ValueError) as error:
            remedy = "Give texts, numbers, true or false, None, or lists and dicts of these."
            raise SpecError(f"they are not JSON values ({error})", place="options", remedy=remedy) from None
        found = features_of(extractor)
        for name in numbers.keys() & found.keys():
            if plain_number(numbers[name]) != found[name]:
                what = f"is {numbers[name]!r}, and {extractor!r} declares {found[name]!r}"
                raise SpecError(what, place=name, remedy="Leave it out.")
        spec = cls(**numbers | {"extractor_options": texts} | found)
        spec.refuse_unused(numbers)
        return spec

    def __post_init__(self) -> None:
        given: object = self.encoding
        if given is None:
            is_int16 = self.kind in IN_DB or self.own_step is not None
            object.__setattr__(self, "encoding", "int16" if is_int16 else "float32")
        Declared.__post_init__(self)
        try:
            object.__setattr__(self, "extractor_options", option_texts(self.extractor_options))
        except ValueError as error:
            self._require(False, "extractor_options", str(error))

    def _check(self) -> None:
        if self.window_hop_s is None:
            object.__setattr__(self, "window_hop_s", (self.window_samples // 2) / self.sample_rate_hz)
        self._require(self.hop_length <= self.n_fft, "hop_length", "at most `n_fft`")
        self._require(self.n_mels <= self.n_fft // 2 + 1, "n_mels", "at most `n_fft` / 2 + 1")
        self._require(self.kind != "mfcc" or 1 <= self.n_mfcc <= self.n_mels, "n_mfcc", "from 1 to `n_mels`")
        fewest = "at least one sample" if self.fewest_samples == 1 else "at least one frame (`n_fft` samples)"
        self._require(self.fewest_samples <= self.window_samples, "window_s", fewest)
        self._require(self.window_hop_samples >= 1, "window_hop_s", "at least one sample")
        heard = self.max_duration_s is None or self.max_duration_s * self.sample_rate_hz >= 1
        self._require(heard, "max_duration_s", "at least one sample")
        self._require(self.deltas == 0 or self.n_frames >= 9, "deltas", "0 for windows of fewer than 9 frames")
        self._check_named()
        if self.kind not in IN_DB:
            self._require(self.deltas == 0, "deltas", f"0 for {self.kind}")
            wanted = "float32, if the extractor names no step" if self.kind == OWN else f"float32 for {self.kind}"
            self._require(self.encoding == "float32" or self.own_step is not None, "encoding", wanted)
        # The largest coefficient there can be: silence, where every band lies on the floor.
        reach = _LOG_FLOOR_DB * (math.sqrt(self.n_mels) if self.kind == "mfcc" else 1.0)
        fits = self.kind not in IN_DB or self.encoding == "float32" or reach < 2**15 * INT16_STEP
        self._require(fits, "n_mels", "at most 419 with the int16 encoding; float32 takes any")

    def _check_named(self) -> None:
        """Refuse fields of own features, and of embeddings, that do not fit the kind."""
        shape = self.own_bands, self.own_frames
        named = self.extractor, self.extractor_version, self.extractor_sha256
        unnamed = not any((*named, self.own_step, self.extractor_options))
        are_named = None not in named + shape if self.kind == OWN else unnamed
        are_named = are_named and (self.kind in (OWN, EMBEDDING) or not any(shape))
        self._require(are_named, "extractor", "named with all that it declares, for own features and no others")
        source = self.embedding_run, self.embedding_weights, self.embedding_store, self.embedding_features
        fits = None not in (*source, self.own_bands) and self.own_frames == 1
        fits = fits if self.kind == EMBEDDING else not any(source)
        self._require(fits, "embedding_run", "named with its weights, store and features, for embeddings and no others")

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
    def fewest_samples(self) -> int:
        """Samples without which there is nothing to compute."""
        return 1 if self.kind in (OWN, EMBEDDING) else self.n_fft

    @property
    def n_frames(self) -> int:
        """Frames of a window: ``1 + window_samples // hop_length``, or what an extractor says; 1 of an embedding."""
        if self.own_frames is not None:
            return self.own_frames
        return 1 + self.window_samples // self.hop_length

    @property
    def n_bands(self) -> int:
        """Coefficients or bands of one channel."""
        if self.kind in IN_DB:
            return self.n_mfcc if self.kind == "mfcc" else self.n_mels
        if self.own_bands is not None:
            return self.own_bands
        return sum(BY_LIBROSA[part] for part in self.kind.split("+"))

    @property
    def n_channels(self) -> int:
        """Channels: the features and their deltas."""
        return 1 + self.deltas

    @property
    def window_shape(self) -> tuple[int, int]:
        """Shape (C, T) of one window as stored, ``C = n_channels * n_bands``, channel after channel."""
        return self.n_channels * self.n_bands, self.n_frames

    @property
    def window_bytes(self) -> int:
        """Size of one window as stored, before compression."""
        return math.prod(self.window_shape) * (2 if self.encoding == "int16" else 4)

    @property
    def step(self) -> float:
        """What the stored values are multiplied by: the step of the int16 encoding, or 1 for float32."""
        if self.encoding == "float32":
            return 1.0
        return self.own_step or INT16_STEP

    def in_words(self) -> str:
        """Return what is computed, on one line."""
        if self.kind == OWN:
            given = f" ({', '.join(self.extractor_options)})" if self.extractor_options else ""
            by = f"{self.extractor} version {self.extractor_version}{given}"
            return (
                f"{self.own_bands} x {self.own_frames} by {by}, {self.sample_rate_hz:,} Hz, {self._encoding_in_words}"
            )
        if self.kind == EMBEDDING:
            by = f"run {str(self.embedding_run)[:8]} of the windows of store {str(self.embedding_store)[:8]}"
            return f"embeddings of {self.own_bands:,} numbers by {by}, {self.encoding}"
        whats = {"mfcc": f"{self.n_mfcc} MFCC of {self.n_mels} mel bands", "logmel": f"{self.n_mels} log-mel"}
        what = whats.get(self.kind) or f"{self.kind} by librosa"
        deltas = f", deltas of order 1 to {self.deltas}" if self.deltas else ""
        frames = f"n_fft {self.n_fft}, hop {self.hop_length}"
        return f"{what}{deltas}, {self.sample_rate_hz:,} Hz, {frames}, {self.encoding}"

    @property
    def unused(self) -> frozenset[str]:
        """The fields of other kinds, which decide nothing for this one."""
        fields = {"n_mfcc"} if self.kind != "mfcc" else set()
        fields |= {"n_mels", "top_db"} if self.kind not in IN_DB else set()
        return frozenset(fields | ({"n_fft", "hop_length"} if self.kind in (OWN, EMBEDDING) else set()))

    def refuse_unused(self, given: Collection[str]) -> None:
        """Refuse fields that were given and decide nothing.

        Raises
        ------
        SpecError
            With the first of them.
        """
        for name in sorted(self.unused & set(given)):
            what = f"decides nothing for features of {self.extractor or self.kind}"
            raise SpecError(what, place=name, remedy="Leave it out.")

    @property
    def _encoding_in_words(self) -> str:
        return f"int16 in steps of {self.step:g}" if self.encoding == "int16" else self.encoding

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the resolved numbers: equal exactly where the feature bytes are."""
        left_out = {"window_s", "window_hop_s"} | self.unused | ({"own_step"} if self.encoding == "float32" else set())
        numbers = {name: value for name, value in self.to_dict().items() if name not in left_out}
        numbers |= {"window_samples": self.window_samples, "window_hop_samples": self.window_hop_samples}
        return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()


def _json(value: object) -> Any:
    """Return what JSON has no word for, such as a number of NumPy's, as what it has a word for."""
    plain = plain_number(value)
    if plain is value:
        raise TypeError(f"one is of type {type(value).__name__}")
    return plain


def features_of(text: str, folders: Sequence[str] = ()) -> dict[str, Any]:
    """Return the fields of a spec that a text names: a kind, after MFCC and log-mel also with ``+delta+delta2``.

    An extractor, ``module:name``, is imported. Some folders, and then the current one, are searched last.

    Raises
    ------
    SpecError
        If there are no such features.
    """
    if ":" in text:
        return fields_of(text, load_extractor(text, folders))
    kind, *more = text.split("+")
    deltas = len(more) if kind in IN_DB and more == ["delta", "delta2"][: len(more)] else 0
    kind = kind if deltas else text
    if not _is_kind(kind):
        by_librosa = f"by librosa {', '.join(BY_LIBROSA)}"
        remedy = (
            f"There are mfcc and logmel, each with +delta or +delta+delta2; {by_librosa}; or your own, as module:name."
        )
        raise SpecError(f"there are no features {text!r}", place="features", remedy=remedy)
    return {"kind": kind, "deltas": deltas}


def fields_of(name: str, loaded: Extractor) -> dict[str, Any]:
    """Return the fields of a spec that an extractor gives."""
    n_bands, n_frames = loaded.shape
    named = {"extractor": name, "extractor_version": loaded.version, "extractor_sha256": loaded.sha256}
    numbers = {"sample_rate_hz": loaded.sample_rate_hz, "own_bands": n_bands, "own_frames": n_frames}
    return {"kind": OWN, **named, **numbers, "own_step": loaded.step}


def _is_kind(text: str) -> bool:
    parts = text.split("+")
    return text in IN_DB or (set(parts) <= set(BY_LIBROSA) and len(set(parts)) == len(parts))
