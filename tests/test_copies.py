"""Copies of recordings, made from real audio: what `songbag copies` finds, and what it must not take for a copy."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from functools import cache

import numpy as np
import pytest
import soundfile
import soxr

from songbag_pipeline import window_features
from songbag_pipeline.demo.genres import GENRES, synthesise
from songbag_store import FeatureSpec, SongStore
from songbag_store.likeness import alike
from songbag_store.likeness.copies import find_copies
from songbag_store.progress import Lines
from tests.support.audio import Audio
from tests.support.encoders import encoded
from tests.support.stores import MakeStore, Windows

RATE_HZ = 22050


@cache
def song(number: int, seconds: float = 13.0) -> Audio:
    """A made-up song, shape (S,); four numbers in a row are of four genres."""
    rng = np.random.default_rng(number)
    genre = GENRES[number % len(GENRES)]
    return synthesise(genre, duration_s=seconds, sample_rate_hz=RATE_HZ, channels=1, rng=rng)[:, 0].astype(np.float32)


def noise(seed: int, seconds: float) -> Audio:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


def mp3(samples: Audio) -> Audio:
    data = encoded(np.clip(samples, -1, 1)[:, None], RATE_HZ, "libmp3lame", "mp3", options={"b": "64000"})
    return soundfile.read(io.BytesIO(data), dtype="float32")[0]


def resampled(samples: Audio, rate_hz: int) -> Audio:
    there = soxr.resample(samples, RATE_HZ, rate_hz)
    return soxr.resample(there, rate_hz, RATE_HZ).astype(np.float32)


def faded(samples: Audio) -> Audio:
    level = np.ones(len(samples), np.float32)
    level[:RATE_HZ] = np.linspace(0, 1, RATE_HZ)
    level[-RATE_HZ:] = np.linspace(1, 0, RATE_HZ)
    return samples * level


CHANGES: Mapping[str, Callable[[Audio], Audio]] = {
    "mp3": lambda samples: mp3(samples * np.float32(0.7)),
    "louder": lambda samples: np.clip(2 * samples, -1, 1),
    "quieter": lambda samples: np.rint(samples * np.float32(0.1) * 32768) / np.float32(32768),
    "late": lambda samples: samples[round(0.77 * RATE_HZ) + 99 :],
    "short": lambda samples: samples[: -2 * RATE_HZ],
    "both": lambda samples: mp3(samples[round(0.4 * RATE_HZ) + 7 : -RATE_HZ]),
    "padded": lambda samples: np.concatenate([np.zeros(8100, np.float32), samples, np.zeros(20_000, np.float32)]),
    "resampled": lambda samples: resampled(samples, 20_000),
    "faded": faded,
}
"""What is done to a copy."""


def windows(samples: Audio, spec: FeatureSpec) -> Windows:
    padded = np.zeros(max(len(samples), spec.window_samples), np.float32)
    padded[: len(samples)] = samples
    found = window_features(padded, spec)
    return found if spec.encoding == "float32" else (np.rint(found * 16) / 16).astype(np.float32)


def groups(store: SongStore, **options: Lines) -> list[list[str]]:
    table = find_copies(store, **options).to_pydict()
    by_group: dict[int, list[str]] = {}
    for group, song_id in zip(table["group"], table["song_id"], strict=True):
        by_group.setdefault(group, []).append(song_id)
    return list(by_group.values())


def stored(make_store: MakeStore, songs: Mapping[str, Audio], spec: FeatureSpec | None = None) -> SongStore:
    spec = spec or FeatureSpec()
    return make_store({name: windows(samples, spec) for name, samples in songs.items()}, spec=spec)


@pytest.mark.fault(107)
@pytest.mark.parametrize(
    "spec",
    [
        FeatureSpec(),
        FeatureSpec(kind="logmel", n_mels=64, encoding="float32"),
        FeatureSpec(n_mfcc=20, deltas=1, window_s=2.0),
    ],
    ids=["mfcc", "logmel", "deltas"],
)
def test_a_changed_copy_is_alike_and_no_other_song_is(make_store: MakeStore, spec: FeatureSpec) -> None:
    songs = {f"{number:02} {GENRES[number % 4].name}": song(number) for number in range(12)}
    copied = dict(zip(list(songs)[3:], CHANGES, strict=True))
    copies = {f"{name} {change}": CHANGES[change](songs[name]) for name, change in copied.items()}
    expected = [[name, f"{name} {change}"] for name, change in copied.items()]
    assert groups(stored(make_store, songs | copies, spec)) == expected


@pytest.mark.fault(107)
def test_a_copy_of_noise_and_of_a_clip_of_one_window_is_alike(make_store: MakeStore) -> None:
    songs = {f"noise {number}": noise(number, 4.9) for number in range(5)}
    songs |= {f"clip {number}": song(number, 4.9) for number in range(8)}
    copies = {"noise 1 copy": CHANGES["quieter"](songs["noise 1"]), "noise 2 copy": songs["noise 2"][6000:]}
    copies |= {"clip 3 copy": mp3(songs["clip 3"] / 2), "clip 6 copy": songs["clip 6"][: -RATE_HZ // 2]}
    expected = [
        [f"{name} {n}", f"{name} {n} copy"] for name, n in (("clip", 3), ("clip", 6), ("noise", 1), ("noise", 2))
    ]
    assert groups(stored(make_store, songs | copies)) == expected


def other_recordings() -> Iterator[tuple[str, Audio]]:
    """Yield what resembles a song and is not that recording."""
    first, other = song(0, 25.0), song(4, 25.0)
    yield "song", first[: 12 * RATE_HZ]
    yield "another part of it", first[12 * RATE_HZ :]
    yield "half of it, then another song", np.concatenate([first[: 6 * RATE_HZ], other[: 6 * RATE_HZ]])
    yield "with another song over it", first[: 12 * RATE_HZ] + other[: 12 * RATE_HZ]
    yield "faster", soxr.resample(first[: 12 * RATE_HZ], 100, 94).astype(np.float32)


def test_a_part_a_mix_and_another_tempo_are_no_copies(make_store: MakeStore) -> None:
    assert groups(stored(make_store, dict(other_recordings()))) == []


def word(formants_hz: tuple[float, ...], take: int) -> Audio:
    """A spoken word, more or less: tones that glide, of 0.3 s, each take a little different."""
    rng = np.random.default_rng(take)
    n = round(RATE_HZ * rng.uniform(0.27, 0.33))
    t = np.arange(n) / RATE_HZ
    pitch = rng.uniform(95, 125)
    voice = sum(
        np.sin(2 * np.pi * k * pitch * t) * np.exp(-min(abs(k * pitch - f) for f in formants_hz) / 200)
        for k in range(1, 40)
    )
    bent = np.interp(t * rng.uniform(0.97, 1.03), t, np.asarray(voice))
    envelope = np.sin(np.pi * np.arange(n) / n) ** rng.uniform(0.4, 0.6)
    return (0.2 * bent * envelope + 1e-3 * rng.standard_normal(n)).astype(np.float32)


def test_takes_of_one_word_are_no_copies_of_each_other(make_store: MakeStore) -> None:
    takes = {f"{take:02}": word((600.0, 1200.0 + 30 * (take % 3), 2500.0), take) for take in range(24)}
    assert groups(stored(make_store, takes)) == []


def test_songs_of_silence_and_of_steady_tones_are_not_alike(make_store: MakeStore) -> None:
    t = np.arange(8 * RATE_HZ) / RATE_HZ
    tones = {f"tone {hz}": (0.3 * np.sin(2 * np.pi * hz * t)).astype(np.float32) for hz in (440.0, 440.5, 441.0)}
    silent = {f"silent {n}": np.zeros(n * RATE_HZ, np.float32) for n in (3, 8, 9)}
    clicks = {f"click {at}": np.eye(1, 8 * RATE_HZ, at, dtype=np.float32)[0] for at in (30_000, 60_000, 90_000)}
    assert groups(stored(make_store, tones | silent | clicks)) == []


class Counted(Lines):
    """Counts the pairs that are compared at most."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        super().__init__(self.notes.append)
        self.n_pairs = 0.0

    def begin(self, total: float, unit: str) -> None:
        self.n_pairs += total


def test_a_crowd_of_copies_is_one_group_and_is_not_compared_pair_by_pair(make_store: MakeStore) -> None:
    one, two = (windows(song(number), FeatureSpec()) for number in (1, 2))
    # Two crowds of one song each: the nearest of each copy are all of its own crowd.
    crowds = {"a": one, "b": windows(CHANGES["resampled"](song(1)), FeatureSpec())}
    draw = np.random.default_rng(0)
    songs = {
        f"{crowd}{number:02}": (near + draw.integers(-4, 5, near.shape) / 16).astype(np.float32)
        for crowd, near in crowds.items()
        for number in range(40)
    }
    shown = Counted()
    assert groups(make_store(songs | {"stranger": two}), progress=shown) == [sorted(songs)]
    assert shown.n_pairs < 80 * 20


def test_what_is_not_compared_is_said(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "MOST_STRANGERS", 3)
    shown = Counted()
    assert groups(stored(make_store, {str(n): song(n) for n in range(8)}), progress=shown) == []
    assert shown.notes == [f"note: {shown.n_pairs - 3:.0f} pairs of songs that are less near were not compared"]


def test_among_many_songs_a_sample_says_how_near_strangers_are(
    make_store: MakeStore, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alike, "MOST_STRANGERS", 15)
    songs = {f"{n:02}": windows(song(n), FeatureSpec()) for n in range(16)}
    # More copies than strangers that may be compared: they must not make the distance too short for copies.
    copies = {f"{n} {copy}": songs[n] + rng.integers(-4, 5, songs[n].shape) / 16 for n in songs for copy in "ab"}
    store = make_store({name: one.astype(np.float32) for name, one in (songs | copies).items()})
    asked, all_near = Counted(), Counted()
    whole = groups(store, progress=all_near)
    monkeypatch.setattr(alike, "MANY_SONGS", 20)
    assert groups(store, progress=asked) == whole == [[n, f"{n} a", f"{n} b"] for n in songs]
    assert asked.n_pairs < 0.6 * all_near.n_pairs
    assert "less near" in asked.notes[-1]


@pytest.mark.parametrize("spec", [FeatureSpec(n_mfcc=1), FeatureSpec(n_mfcc=3), FeatureSpec(window_s=0.1)])
def test_windows_of_too_little_are_not_compared_and_that_is_said(make_store: MakeStore, spec: FeatureSpec) -> None:
    shown = Counted()
    one = song(0)[: 2 * RATE_HZ]
    assert groups(stored(make_store, {"a": one, "b": one, "c": mp3(one)}, spec), progress=shown) == [["a", "b"]]
    assert "too few bands or frames" in shown.notes[0]
