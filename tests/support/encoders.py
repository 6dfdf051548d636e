"""Audio files of any codec and container that FFmpeg writes, with any number of channels and streams."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import numpy as np
import soundfile
from av.stream import Disposition

from tests.support.audio import Audio

_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_OTHER_LAYOUTS = {"alac": {7: "6.1(back)", 8: "7.1(wide)"}, "libopus": {4: "quad"}}
_BITS = {"wavpack": "s16p", "tta": "s16"}
_FRAMES_AT_ONCE = 1024


def encoded(
    samples: Audio,
    rate_hz: int,
    codec: str,
    form: str,
    *more: Audio,
    default: int | None = None,
    layout: str = "",
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
) -> bytes:
    """Return the bytes of a file.

    Parameters
    ----------
    samples : float32, shape (S, channels)
        In [-1, 1].
    rate_hz, codec, form : int, str, str
        Sample rate, FFmpeg's encoder and FFmpeg's container.
    *more : float32, shape (S, channels)
        Further streams of the same codec.
    default : int, optional
        Which stream alone is flagged as the default.
    layout : str
        Of the channels; by default FFmpeg's usual one.
    options, container_options : mapping of str to str, optional
        Of the encoder, and of the writer of the container.
    """
    file = io.BytesIO()
    tracks = [samples, *more]
    with av.open(file, "w", format=form, options=dict(container_options or {})) as container:
        streams = [_stream(container, track, rate_hz, codec, layout, options) for track in tracks]
        for number, stream in enumerate(streams):
            if default is not None:
                stream.disposition = Disposition.default if number == default else Disposition(0)
        for stream, track in zip(streams, tracks, strict=True):
            for piece in [*_pieces(stream, track, rate_hz), None]:
                # FLAC's encoder ends with a packet of side data that only its own container takes.
                container.mux([packet for packet in stream.encode(piece) if packet.size or form == "flac"])
    return file.getvalue()


def with_video(samples: Audio, rate_hz: int, codec: str, form: str, video_codec: str, video_s: float) -> bytes:
    """Return the bytes of a file with a film of grey frames, then the sound."""
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        film: Any = container.add_stream(video_codec, rate=25)
        film.width, film.height, film.pix_fmt = 64, 64, "yuv420p"
        stream = _stream(container, samples, rate_hz, codec, "", None)
        for number in range(round(video_s * 25)):
            picture: Any = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number % 255, np.uint8), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(film.encode(picture))
        container.mux(film.encode(None))
        for piece in [*_pieces(stream, samples, rate_hz), None]:
            container.mux([packet for packet in stream.encode(piece) if packet.size])
    return file.getvalue()


def sound_file(samples: Audio, rate_hz: int, form: str, subtype: str) -> bytes:
    """Return the bytes of a file that libsndfile writes."""
    with tempfile.NamedTemporaryFile() as file:
        with soundfile.SoundFile(file.name, "w", rate_hz, samples.shape[1], subtype, format=form) as sound:
            # libvorbis overflows its stack when it is given a whole minute at once.
            for start in range(0, len(samples), _FRAMES_AT_ONCE):
                sound.write(samples[start : start + _FRAMES_AT_ONCE])
        return file.read()


def _stream(
    container: Any, track: Audio, rate_hz: int, codec: str, layout: str, options: Mapping[str, str] | None
) -> Any:
    n_channels = track.shape[1]
    usual = _LAYOUTS | _OTHER_LAYOUTS.get(codec, {})
    layout = layout or usual.get(n_channels, f"{n_channels} channels")
    stream = container.add_stream(codec, rate=rate_hz, layout=layout, options=dict(options or {}))
    stream.format = _BITS.get(codec, stream.format.name)
    stream.codec_context.open()
    return stream


def _pieces(stream: Any, track: Audio, rate_hz: int) -> list[Any]:
    """Return the samples in frames as the encoder takes them.

    The frame that is given is packed: PyAV cannot fill planar ones of eight channels or more.
    """
    packed = np.ascontiguousarray(track, np.float32).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, "flt", stream.layout)
    frame.sample_rate = rate_hz
    fifo = av.AudioFifo()
    for piece in av.AudioResampler(stream.format.name, stream.layout, rate_hz).resample(frame):
        piece.pts = None
        fifo.write(piece)
    pieces = fifo.read_many(stream.codec_context.frame_size or _FRAMES_AT_ONCE, partial=True)
    for piece in pieces:
        piece.pts = None
    return pieces


def at_other_times(data: bytes, n_samples: int) -> bytes:
    """Return an Ogg file of which the pages from the middle on say that they are later, or earlier, than they are."""
    begins = [match.start() for match in re.finditer(b"OggS", data)]
    middle = begins[len(begins) // 2]
    pages = [data[:middle]]
    for begin, end in pairwise([*(at for at in begins if at >= middle), len(data)]):
        page = bytearray(data[begin:end])
        page[6:14] = (int.from_bytes(page[6:14], "little") + n_samples).to_bytes(8, "little")
        page[22:26] = bytes(4)
        page[22:26] = _ogg_checksum(page).to_bytes(4, "little")
        pages.append(bytes(page))
    return b"".join(pages)


def _ogg_checksum(page: bytes | bytearray) -> int:
    """Return the checksum of a page, bit by bit (RFC 3533, section 6)."""
    checksum = 0
    for byte in page:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x04C11DB7 if checksum & 1 << 31 else 0)) & 0xFFFFFFFF
    return checksum
