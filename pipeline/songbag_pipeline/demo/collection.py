"""The files of ``songbag demo``, with the formats, sample rates and lengths of a real collection."""

from pathlib import Path

import numpy as np
import soundfile

from songbag_pipeline.demo.genres import GENRES, synthesise
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
"""Path and content of files that no decoder can read, as every real collection has some."""

_BLOCK_SAMPLES = 16_384
_COMPRESSION = {".mp3": 0.7}  # about 130 kbit/s; MP3 is most of the work, and this takes a tenth less than the default
_ADJECTIVES = ("amber", "brisk", "crooked", "distant", "electric", "faded", "gentle", "hollow", "inner", "late")
_NOUNS = ("alley", "bridge", "comet", "ferry", "garden", "harbour", "kettle", "meadow", "signal", "tram")


def write_collection(folder: Path, *, seed: int = 0, songs_per_genre: int = SONGS_PER_GENRE) -> list[Path]:
    """Synthesise the demo's songs into ``folder``, a subfolder per genre, and add two broken files.

    Formats, sample rates and channels are spread evenly over the genres, so that they do not tell the genre.
    Files of the same name are overwritten. The default collection is about half an hour of audio.

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
    suffixes, paths = list(ENCODINGS), []
    for number, genre in enumerate(GENRES):
        for position in range(songs_per_genre):
            # Each song has its own stream of random numbers.
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, position)))
            title = f"{position + 1:02d}-{rng.choice(_ADJECTIVES)}-{rng.choice(_NOUNS)}"
            path = folder / genre.name / f"{title}.{suffixes[(number + position) % len(suffixes)]}"
            # The rate changes at another pace than the suffix: 16 songs of a genre have each pair of the two once.
            rate_hz = SAMPLE_RATES_HZ[(position + position // 4) % len(SAMPLE_RATES_HZ)]
            channels = 2 if (number + position + position // 4) % 3 == 0 else 1
            if position < 2:
                duration_s = (SHORTEST_S, LONGEST_S)[position][number]
            else:
                # From 10 to 40 s, mostly below 20 s.
                duration_s = float(np.exp(rng.uniform(np.log(10), np.log(40))))
            _write_song(path, synthesise(genre, duration_s, rate_hz, channels, rng), rate_hz)
            paths.append(path)
    for name, content in BROKEN_FILES.items():
        paths.append(folder / name)
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_bytes(content)
    return paths


def _write_song(path: Path, samples: FloatArray, sample_rate_hz: int) -> None:
    """Encode one song; ``samples`` has the shape (S, channels)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form = {"subtype": ENCODINGS[path.suffix[1:]], "compression_level": _COMPRESSION.get(path.suffix)}
    with soundfile.SoundFile(path, "w", sample_rate_hz, samples.shape[1], **form) as file:
        # libvorbis puts its whole input on the stack: a minute at once kills the process (libsndfile #1095).
        for start in range(0, len(samples), _BLOCK_SAMPLES):
            file.write(samples[start : start + _BLOCK_SAMPLES])
