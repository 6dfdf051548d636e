"""Audio files as streams of mono samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from songbag_pipeline.audio.decoders.ffmpeg import open_ffmpeg
from songbag_pipeline.audio.decoders.frames import open_frames
from songbag_pipeline.audio.decoders.libsndfile import open_libsndfile
from songbag_pipeline.audio.files import RegularFile
from songbag_pipeline.audio.recording import Recording
from songbag_pipeline.audio.sniff import sniff
from songbag_pipeline.errors import SongError
from songbag_pipeline.types import FloatArray

MAX_CHANNELS = 64
SAMPLE_RATES_HZ = (1_000, 768_000)
_OPENERS = {"libsndfile": open_libsndfile, "ffmpeg": open_ffmpeg, "frames": open_frames}


@contextmanager
def decode(
    file: RegularFile, max_duration_s: float | None = None, *, leniently: bool = False
) -> Iterator[tuple[Recording, Iterator[FloatArray]]]:
    """Decode an open file as a stream.

    Parameters
    ----------
    file : RegularFile
        Read from its beginning, and hashed on the way if `hash_while_read` was called.
    max_duration_s : float, optional
        Stop after this much of the recording, in seconds.
    leniently : bool
        Leave out the damaged parts of a FLAC or MP3 file if they are few.

    Yields
    ------
    recording : Recording
        The header; filled in while blocks are drawn.
    blocks : iterator of float32, shape (S,)
        Mono samples at the recording's rate, in order; all finite.

    Raises
    ------
    Damaged
        If a FLAC or MP3 file has a damaged part; decoding leniently may help.
    SongError
        If the file cannot be used, here or while drawing blocks.
    """
    form = sniff(file)
    if leniently:
        form = dataclasses.replace(form, decoder="ffmpeg")
    with _OPENERS[form.decoder](file, form) as (recording, blocks):
        _check_header(recording)
        limit = None if max_duration_s is None else int(max_duration_s * recording.sample_rate_hz)
        yield recording, _counted(recording, blocks(recording), limit)


def _check_header(recording: Recording) -> None:
    low, high = SAMPLE_RATES_HZ
    if not low <= recording.sample_rate_hz <= high:
        raise SongError("bad-sample-rate", f"the header gives {recording.sample_rate_hz} Hz, outside {low} to {high}")
    if recording.channels > MAX_CHANNELS:
        raise SongError("too-many-channels", f"the header gives {recording.channels} channels, above {MAX_CHANNELS}")
    if recording.channels < 1:
        raise SongError("unreadable-header", "the header gives no channel")


def _counted(recording: Recording, blocks: Iterator[FloatArray], limit: int | None) -> Iterator[FloatArray]:
    """Pass blocks on up to a limit in frames; count them and refuse NaN and infinity."""
    for block in blocks:
        kept = block if limit is None else block[: limit - recording.decoded_frames]
        if not recording.integers and not np.isfinite(kept).all():
            at_s = recording.decoded_frames / recording.sample_rate_hz
            raise SongError("non-finite", f"there are NaN or infinite samples after {at_s:.1f} s")
        recording.decoded_frames += len(kept)
        yield kept
        if limit is not None and recording.decoded_frames >= limit:
            recording.truncated = False
            return
    if recording.decoded_frames == 0:
        raise SongError("no-audio", "the file has a header and no samples")
