"""The collection of ``songbag demo`` as files: every container, sample rate and length that a real one has."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from songbag_pipeline.demo.genres import GENRES, Genre, synthesise
from songbag_pipeline.types import FloatArray

ENCODINGS = {"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}
"""Suffix to libsndfile's name of the encoding."""
SAMPLE_RATES_HZ = (22_050, 32_000, 44_100, 48_000)

SONGS_PER_GENRE = 16
"""Of the default collection."""

SHORTEST_S = (3.0, 4.0, 5.0, 8.0)
"""Length of the first song of each genre: two are shorter than a window of 5 s, one is as long as it."""
LONGEST_S = (90.0, 75.0, 60.0, 50.0)
"""Length of the second song of each genre; the others last from 10 to 40 s."""

BROKEN_FILES = {
    "clatterstep/00-download-failed.mp3": b"",
    "lanternwaltz/00-liner-notes.wav": b"Recorded on a rainy afternoon. This is a text file that someone renamed.\n",
}
"""Path in the collection and content of the files that no decoder can read: every real collection has some."""

_BLOCK_SAMPLES = 16_384
_COMPRESSION = {".mp3": 0.7}  # about 130 kbit/s; MP3 is most of the work, and this takes a tenth less than the default
_ADJECTIVES = ("amber", "brisk", "crooked", "distant", "electric", "faded", "gentle", "hollow", "inner", "late")
_NOUNS = ("alley", "bridge", "comet", "ferry", "garden", "harbour", "kettle", "meadow", "signal", "tram")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSong:
    """One song before it is synthesised: its place in the collection and the shape of its file."""

    path: str
    """Relative to the collection: ``<genre>/<title>.<suffix>``."""
    genre: Genre
    duration_s: float
    sample_rate_hz: int
    channels: int
    rng: np.random.Generator
    """State from which the song is synthesised."""


def write_collection(folder: Path, *, seed: int = 0, songs_per_genre: int = SONGS_PER_GENRE) -> list[Path]:
    """Synthesise the demo's songs into ``folder``, a subfolder per genre, and add two broken files.

    Formats, sample rates and channels are spread evenly over the genres, so that they say nothing about the genre.
    Files of the same name are written anew. The default collection is about half an hour of audio.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    seed : int
        The same seed gives the same samples. (Not the same bytes: an Ogg stream gets a random serial number.)
    songs_per_genre : int
        From 1 to 99; with 2 or more, both ends of the range of lengths (3 s and 90 s) are there.

    Returns
    -------
    paths : list of Path
        Every file written: the ``4 * songs_per_genre`` songs, then the two of ``BROKEN_FILES``.
    """
    paths = []
    for song in _plan(seed, songs_per_genre):
        samples = synthesise(
            song.genre,
            duration_s=song.duration_s,
            sample_rate_hz=song.sample_rate_hz,
            channels=song.channels,
            rng=song.rng,
        )
        paths.append(_write_song(folder / song.path, samples, song.sample_rate_hz))
    return paths + [_write_bytes(folder / path, content) for path, content in BROKEN_FILES.items()]


def _plan(seed: int, songs_per_genre: int) -> Iterator[PlannedSong]:
    """Every song of the collection, genre after genre; each has its own stream of random numbers."""
    suffixes = list(ENCODINGS)
    for number, genre in enumerate(GENRES):
        for position in range(songs_per_genre):
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, position)))
            title = f"{rng.choice(_ADJECTIVES)}-{rng.choice(_NOUNS)}"
            suffix = suffixes[(number + position) % len(suffixes)]
            yield PlannedSong(
                path=f"{genre.name}/{position + 1:02d}-{title}.{suffix}",
                genre=genre,
                duration_s=_duration_s(number, position, rng),
                # Another pace than the suffix: 16 songs of a genre meet each pair of suffix and sample rate once.
                sample_rate_hz=SAMPLE_RATES_HZ[(position + position // 4) % len(SAMPLE_RATES_HZ)],
                channels=2 if (number + position + position // 4) % 3 == 0 else 1,
                rng=rng,
            )


def _duration_s(number: int, position: int, rng: np.random.Generator) -> float:
    """Length of a genre's song: one short, one long, the rest from 10 to 40 s, shorter ones more often."""
    if position < 2:
        return (SHORTEST_S, LONGEST_S)[position][number]
    return float(np.exp(rng.uniform(np.log(10), np.log(40))))


def _write_song(path: Path, samples: FloatArray, sample_rate_hz: int) -> Path:
    """Encode one song; ``samples`` has the shape (S, channels)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoding = ENCODINGS[path.suffix[1:]]
    with soundfile.SoundFile(
        path, "w", sample_rate_hz, samples.shape[1], subtype=encoding, compression_level=_COMPRESSION.get(path.suffix)
    ) as file:
        # libvorbis puts all it is handed on the stack: a minute at once kills the process (libsndfile #1095).
        for start in range(0, len(samples), _BLOCK_SAMPLES):
            file.write(samples[start : start + _BLOCK_SAMPLES])
    return path


def _write_bytes(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
