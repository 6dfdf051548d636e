"""Audio files made on the spot."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soundfile

Audio = npt.NDArray[np.float32]

AUDIO = Path(__file__).parents[3] / "shared" / "audio"
"""Real recordings beside the checkout, used where present."""

ENCODINGS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def chirp(duration_s: float, rate_hz: int = 22050, channels: int = 1, seed: int = 0) -> Audio:
    """A rising tone with a little noise, shape (S, channels), the channels at different levels."""
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    noise = np.random.default_rng(seed).standard_normal(len(t))
    mono = 0.4 * np.sin(2 * np.pi * (220 + 40 * t) * t) + 0.02 * noise
    return (mono[:, None] * np.linspace(1, 0.5, channels)).astype(np.float32)


def write(path: Path, samples: Audio, rate_hz: int = 22050, encoding: str | None = None) -> Path:
    """Write an audio file of the kind its suffix says, or of another."""
    form, subtype = ENCODINGS[encoding or path.suffix[1:]]
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", rate_hz, samples.shape[1], subtype, format=form) as sound:
        # libvorbis overflows its stack when it is given a whole minute at once.
        for start in range(0, len(samples), 1 << 14):
            sound.write(samples[start : start + (1 << 14)])
    return path


def sf_write(path: Path, form: str, subtype: str = "PCM_16") -> None:
    soundfile.write(path, chirp(6.0, 48000, 2), 48000, format=form, subtype=subtype)


def write_aac(path: Path, samples: Audio, rate_hz: int = 44100, container_format: str = "ipod") -> Path:
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream("aac", rate=rate_hz, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout="stereo")
        frame.sample_rate = rate_hz
        fifo = av.AudioFifo()
        fifo.write(frame)
        for piece in fifo.read_many(1024, partial=True):
            piece.pts = None
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


def mux(path: Path, codec: str, form: str) -> None:
    """Write 6 s with an encoder of FFmpeg's into a container of FFmpeg's."""
    encode(path, chirp(6.0, 48000, 2), 48000, codec, form)


def encode(path: Path, samples: Audio, rate_hz: int, codec: str, form: str, bit_rate: int = 128_000) -> Path:
    """Write stereo with an encoder of FFmpeg's into a container of FFmpeg's."""
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="stereo")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), "fltp", "stereo")
        frame.sample_rate = rate_hz
        fifo = av.AudioFifo()
        for piece in av.AudioResampler(stream.format.name, "stereo", rate_hz).resample(frame):
            piece.pts = None
            fifo.write(piece)
        for piece in fifo.read_many(stream.codec_context.frame_size, partial=True):
            piece.pts = None
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


def silent_mp4(path: Path) -> None:
    """Write a video without sound."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def sparse_wav(path: Path, hours: float, rate_hz: int = 44100, channels: int = 2) -> Path:
    """Write a WAV of silence that takes no room on the disk."""
    n_bytes = round(hours * 3600 * rate_hz) * channels * 2
    size = min(n_bytes, 0xFFFFFFFF - 36)
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate_hz, rate_hz * channels * 2, channels * 2, 16)
    with path.open("wb") as file:
        file.write(b"RIFF" + struct.pack("<I", size + 36) + b"WAVEfmt " + form + b"data" + struct.pack("<I", size))
        file.truncate(44 + n_bytes)
    return path
