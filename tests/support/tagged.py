"""Tags as programs write them, in the bytes of each format."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
import soundfile


def plain_audio(form: str, tone: float = 0.05) -> bytes:
    """A second of a tone without tags, in radians a sample: WAV, AIFF, FLAC, MP3, OGG."""
    file, samples = io.BytesIO(), 0.1 * np.sin(np.arange(22050) * tone)
    soundfile.write(file, samples.astype(np.float32), 22050, format=form)
    return file.getvalue()


def with_ffmpeg(container: str, codec: str, tags: dict[str, str]) -> bytes:
    """A second of sound in a container of FFmpeg's, with its own tags."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        out.metadata.update(tags)
        stream = out.add_stream(codec, rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return file.getvalue()


def _seven(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def id3(version: int, **frames: bytes) -> bytes:
    """An ID3v2 tag; each frame begins with the number of its encoding."""
    size = _seven if version == 4 else struct.Struct(">I").pack
    body = b"".join(name.encode() + size(len(data)) + b"\0\0" + data for name, data in frames.items())
    return b"ID3" + bytes([version, 0, 0]) + _seven(len(body)) + body


def id3v1(title: bytes, artist: bytes, album: bytes, year: bytes, track: int, genre: int) -> bytes:
    """An ID3v1.1 tag, which stands at the end."""
    texts = b"".join(text.ljust(30, b"\0")[:30] for text in (title, artist, album))
    return b"TAG" + texts + year + b"\0" * 29 + bytes([track, genre])


def riff(audio: bytes, **chunks: bytes) -> bytes:
    """A WAV with further chunks at its end; their names have an underscore for a space."""
    body = audio[12:] + b"".join(_chunk("<I", name, data) for name, data in chunks.items())
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def info(**texts: bytes) -> bytes:
    """The content of a LIST chunk of a WAV."""
    return b"INFO" + b"".join(_chunk("<I", name, text + b"\0") for name, text in texts.items())


def form(audio: bytes, **chunks: bytes) -> bytes:
    """An AIFF with further chunks at its end."""
    body = audio[12:] + b"".join(_chunk(">I", name, data) for name, data in chunks.items())
    return b"FORM" + struct.pack(">I", len(body) + 4) + b"AIFF" + body


def _chunk(size: str, name: str, data: bytes) -> bytes:
    return name.replace("_", " ").encode() + struct.pack(size, len(data)) + data + b"\0" * (len(data) % 2)


def flac(audio: bytes, *comments: bytes) -> bytes:
    """A FLAC with these Vorbis comments in the place of its own."""
    texts = b"".join(struct.pack("<I", len(one)) + one for one in comments)
    block = struct.pack("<I", 0) + struct.pack("<I", len(comments)) + texts
    rest, kind = 42, 4
    while audio[rest] & 0x7F == 4:
        kind = audio[rest]  # with the bit of the last block
        rest += 4 + int.from_bytes(audio[rest + 1 : rest + 4])
    return audio[:42] + bytes([kind]) + struct.pack(">I", len(block))[1:] + block + audio[rest:]
