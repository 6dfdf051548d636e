"""Audio files that are damaged, cut off or not what they say."""

from __future__ import annotations

import struct
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from songbag_pipeline.audio.mpeg_frames import frame_bytes
from tests.support.audio import chirp, write, write_aac


def cut(path: Path, keep: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def header_only(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(22050)


def id3_only(path: Path) -> None:
    path.write_bytes(b"ID3\x04\x00\x00\x00\x00\x00\x20" + b"TIT2" + b"\0" * 28)


def patched_wav(offset: int, value: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        data = bytearray(write(path, chirp(1.0)).read_bytes())
        data[offset : offset + len(value)] = value
        path.write_bytes(data)

    return make


def with_samples(value: float) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        samples = chirp(1.0) * np.float32(1 if np.isnan(value) else value)
        samples[5000:5100] = value
        soundfile.write(path, samples, 22050, subtype="FLOAT")

    return make


def broken_flac(path: Path, holes: int = 40) -> None:
    """Damage many places, so that some 40 of the 108 frames cannot be decoded."""
    data = bytearray(write(path, chirp(20.0), encoding="flac").read_bytes())
    for place in np.linspace(len(data) / 4, len(data) - 2000, holes).astype(int):
        data[place : place + 500] = bytes(255 - b for b in data[place : place + 500])
    path.write_bytes(data)


def write_claiming_4_gb(path: Path) -> None:
    data = bytearray(write(path, chirp(2.0)).read_bytes())
    data[40:44] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(data)


def unknown_codec(path: Path) -> None:
    data = write_aac(path, chirp(3.0, 44100, 2)).read_bytes()
    path.write_bytes(data.replace(b"mp4a", b"zzzz").replace(b"esds", b"zzzz"))


def music_alone(path: Path) -> bytes:
    """Return the frames of an MP3 without the first, which counts the others."""
    data = path.read_bytes()
    return data[frame_bytes(data[:7]) :]
