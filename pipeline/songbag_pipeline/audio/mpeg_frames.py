"""Frames of MPEG audio and of ADTS: how long each is, and what the first one says of all of them."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

_ENCODERS = (b"LAME", b"Lavf", b"Lavc")
_DECODER_DELAY = 529
"""Samples by which every decoder of layer 3 is late (LAME's technical FAQ: 528, and the one it begins at)."""


def frame_bytes(header: bytes) -> int:
    """Length of a frame of MPEG audio or of ADTS by its first 7 bytes; 0 if they are of neither."""
    return _adts_length(header) or _mpeg_length(header)


@lru_cache(maxsize=4096)
def mpeg_frame_bytes(header: bytes) -> int:
    """Length of a frame of MPEG audio by its first 3 bytes, which hold all it takes; 0 if they are of none."""
    return _mpeg_length(header + b"\0")


def _adts_length(header: bytes) -> int:
    """Length in bytes of an ADTS frame (ISO 13818-7, 6.2), 0 where there is none."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return 0
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > 7 else 0


# Bit rates in kbit/s and sample rates in Hz of ISO 11172-3 and 13818-3, by version (MPEG-1, or 2 and 2.5) and layer.
_BIT_RATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = (44100, 48000, 32000)


def _mpeg_length(header: bytes) -> int:
    """Length in bytes of an MPEG audio frame (ISO 11172-3, 2.4.3.1), 0 where there is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    rate, frequency = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or rate in (0, 15) or frequency == 3:
        return 0
    generation = 1 if version == 3 else 2
    bit_rate = _BIT_RATES[generation, layer][rate - 1] * 1000
    sample_rate = _SAMPLE_RATES[frequency] >> (3 - version if version else 2)
    padding = header[2] >> 1 & 1
    if layer == 1:
        return (12 * bit_rate // sample_rate + padding) * 4
    samples = 72 if layer == 3 and generation == 2 else 144
    return samples * bit_rate // sample_rate + padding


@dataclasses.dataclass(frozen=True, slots=True)
class Layer3:
    """What the first frame of an MP3 says.

    Attributes
    ----------
    sample_rate_hz, channels : int
        As in its header.
    is_tag : bool
        Whether it holds a count and no music.
    n_samples : int or None
        Samples of all frames behind the tag, as it counts them.
    start, stop : int
        Of these the first that is music, and the one behind the last.
    """

    sample_rate_hz: int
    channels: int
    is_tag: bool = False
    n_samples: int | None = None
    start: int = 0
    stop: int | None = None


def is_layer_3(header: bytes) -> bool:
    """Tell MP3 from the layers before it, by the header of a frame."""
    return header[1] >> 1 & 3 == 1


def counts_frames(frame: bytes) -> bool:
    """Tell whether the first frame counts all others, as Xing, LAME and Fraunhofer write it."""
    return any(mark in frame[:64] for mark in (b"Xing", b"Info", b"VBRI"))


def read_first_frame(frame: bytes) -> Layer3 | None:
    """Read the first frame of an MP3; None if it counts the frames otherwise than LAME and FFmpeg do.

    LAME's tag says how many samples it put before and behind the music (Mp3 Info Tag rev 1, "encoder delays").
    """
    version = frame[1] >> 3 & 3
    sample_rate_hz = _SAMPLE_RATES[frame[2] >> 2 & 3] >> (3 - version if version else 2)
    channels = 1 if frame[3] >> 6 == 3 else 2
    if not counts_frames(frame):
        return Layer3(sample_rate_hz, channels)
    side_information = {(True, 1): 17, (True, 2): 32, (False, 1): 9, (False, 2): 17}[version == 3, channels]
    tag = frame[4 + side_information :]
    flags = int.from_bytes(tag[4:8])
    n_frames = int.from_bytes(tag[8:12]) if flags & 1 else 0
    encoder = 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    if tag[:4] not in (b"Xing", b"Info") or tag[encoder : encoder + 4] not in _ENCODERS or not n_frames:
        return None
    delays = int.from_bytes(tag[encoder + 21 : encoder + 24])
    n_samples = n_frames * (1152 if version == 3 else 576)
    start, stop = (delays >> 12) + _DECODER_DELAY, n_samples - (delays & 0xFFF) + _DECODER_DELAY
    return Layer3(sample_rate_hz, channels, True, n_samples, start, min(stop, n_samples))
