"""Any number of channels in any codec that can carry it is mixed as the same audio in a WAV is."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import correlate

from songbag_pipeline.songs.direct import read_audio
from tests.support.audio import Audio
from tests.support.encoders import encoded, sound_file

RATE_HZ = 48000


def tones(n_channels: int, duration_s: float = 0.3) -> Audio:
    """Every channel another rising tone, all of the same level; shape (S, channels)."""
    t = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    pitches_hz = 220 * 2 ** (np.arange(n_channels) % 32 / 12)
    phases = np.random.default_rng(n_channels).random(n_channels)
    return (0.2 * np.sin(2 * np.pi * (t[:, None] * (pitches_hz + 400 * t[:, None]) + phases))).astype(np.float32)


def by_libsndfile(form: str, subtype: str) -> Callable[[Audio], bytes]:
    return lambda samples: sound_file(samples, RATE_HZ, form, subtype)


def by_ffmpeg(codec: str, form: str, **options: str) -> Callable[[Audio], bytes]:
    return lambda samples: encoded(samples, RATE_HZ, codec, form, options=options)


EXACT, LOSSY = 2e-3, 0.15
LOW = {6: (3, 5), 7: (3, 6), 8: (3, 7)}
"""Channels for low frequencies, in the order of most formats and in that of Vorbis: codecs cut off the others."""
MANY = (1, 2, 3, 8, 9, 17, 64)
FEW = tuple(range(1, 9))
CODECS: list[tuple[str, Callable[[Audio], bytes], tuple[int, ...], float]] = [
    ("wav", by_libsndfile("WAV", "PCM_16"), tuple(range(1, 65)), EXACT),
    ("wavex", by_libsndfile("WAVEX", "PCM_24"), MANY, EXACT),
    ("aiff", by_libsndfile("AIFF", "PCM_16"), MANY, EXACT),
    ("au", by_libsndfile("AU", "PCM_16"), MANY, EXACT),
    ("caf", by_libsndfile("CAF", "PCM_16"), MANY, EXACT),
    ("caf-alac", by_libsndfile("CAF", "ALAC_16"), FEW, EXACT),
    ("w64", by_libsndfile("W64", "FLOAT"), MANY, EXACT),
    ("rf64", by_libsndfile("RF64", "PCM_16"), MANY, EXACT),
    ("flac", by_libsndfile("FLAC", "PCM_16"), FEW, EXACT),
    ("vorbis", by_libsndfile("OGG", "VORBIS"), (*FEW, 9, 17, 64), LOSSY),
    ("ogg-flac", by_ffmpeg("flac", "ogg"), FEW, EXACT),
    ("matroska-flac", by_ffmpeg("flac", "matroska"), FEW, EXACT),
    ("matroska-pcm", by_ffmpeg("pcm_s16le", "matroska"), MANY, EXACT),
    ("alac", by_ffmpeg("alac", "ipod"), FEW, EXACT),
    ("mov-pcm", by_ffmpeg("pcm_s16le", "mov"), FEW, EXACT),
    ("aac", by_ffmpeg("aac", "ipod"), (1, 2, 3, 4, 5, 6, 8), LOSSY),
    ("adts", by_ffmpeg("aac", "adts"), (1, 2, 6, 8), LOSSY),
    ("opus", by_ffmpeg("libopus", "ogg"), FEW, LOSSY),
    ("opus-255", by_ffmpeg("libopus", "ogg", mapping_family="255"), (*FEW, 9, 17, 64), LOSSY),
    ("wavpack", by_ffmpeg("wavpack", "wv"), FEW, EXACT),
    ("tta", by_ffmpeg("tta", "tta"), FEW, EXACT),
    ("ac3", by_ffmpeg("ac3", "ac3"), (1, 2, 6), LOSSY),
    ("avi", by_ffmpeg("pcm_s16le", "avi"), (1, 2, 8), EXACT),
    ("mpeg-ts", by_ffmpeg("aac", "mpegts"), (1, 2, 6), LOSSY),
]


@pytest.mark.fault(19, 20, 89)
@pytest.mark.parametrize(("make", "counts", "error"), [pytest.param(*rest, id=name) for name, *rest in CODECS])
def test_channels_are_mixed_to_their_mean_whatever_carries_them(
    tmp_path: Path, make: Callable[[Audio], bytes], counts: tuple[int, ...], error: float
) -> None:
    for n_channels in counts:
        samples = tones(n_channels)
        if error == LOSSY and n_channels in LOW:
            samples[:, LOW[n_channels]] = 0
        data = make(samples)
        (tmp_path / "x").write_bytes(data)
        mixed = read_audio(str(tmp_path / "x"), sample_rate_hz=RATE_HZ)
        assert (n_channels, difference(mixed, samples.mean(axis=1))) < (n_channels, error)


def difference(mixed: Audio, expected: Audio) -> float:
    """The error beside the level, where both have sound: a codec may put a delay in front and padding behind."""
    middle = slice(len(expected) // 4, len(expected) // 2)
    delay = int(correlate(mixed, expected[middle], "valid").argmax())
    ours = mixed[delay : delay + middle.stop - middle.start]
    assert -1 <= delay - middle.start <= 3000
    return float(np.sqrt(np.square(ours - expected[middle]).mean() / np.square(expected[middle]).mean()))


@pytest.mark.fault(89)
def test_a_caf_whose_channels_are_in_an_order_of_their_own_is_read(tmp_path: Path) -> None:
    samples = (tones(3) * 32767).astype(">i2")
    description = struct.pack(">d4sIIIII", RATE_HZ, b"lpcm", 0, 6, 1, 3, 16)
    # A layout by descriptions: right, left, low frequencies (Apple's CAF specification 1.0, channel layout chunk).
    layout = struct.pack(">III", 0, 0, 3) + b"".join(struct.pack(">II12x", label, 0) for label in (2, 1, 4))
    chunks = [(b"desc", description), (b"chan", layout), (b"data", bytes(4) + samples.tobytes())]
    packed = b"".join(struct.pack(">4sq", kind, len(data)) + data for kind, data in chunks)
    (tmp_path / "x.caf").write_bytes(b"caff\0\x01\0\0" + packed)
    mixed = read_audio(str(tmp_path / "x.caf"), sample_rate_hz=RATE_HZ)
    np.testing.assert_allclose(mixed, samples.mean(axis=1) / 32768, atol=1e-6)
