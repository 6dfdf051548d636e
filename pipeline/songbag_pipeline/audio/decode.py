"""Audio files as streams of mono samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from songbag_pipeline.audio.decoders.ffmpeg import open_ffmpeg
from songbag_pipeline.audio.decoders.frames import open_frames
from songbag_pipeline.audio.decoders.libsndfile import open_libsndfile
from songbag_pipeline.audio.files import RegularFile
from songbag_pipeline.audio.formats import AudioFormat, Decoder
from songbag_pipeline.audio.meter import Meter
from songbag_pipeline.audio.recording import WHOLE, Channels, Excerpt, Recording, Undecodable, cut, mono
from songbag_pipeline.audio.rest.first import first_alone
from songbag_pipeline.audio.sniff import sniff
from songbag_pipeline.errors import SongError
from songbag_pipeline.types import FloatArray

_OPENERS = {"libsndfile": open_libsndfile, "ffmpeg": open_ffmpeg, "frames": open_frames}
# Of what the decoders say, the most telling comes first; but before all, if one has decoded something.
_TELLING = ("unsupported-codec", "no-audio", "corrupt", "unreadable-header")


def with_any_decoder(file: RegularFile, use: Callable[[AudioFormat, Decoder], Recording]) -> None:
    """Use a file with one decoder after the other, until one reads it: what one refuses is not damaged yet.

    Parameters
    ----------
    file : RegularFile
        An open file.
    use : callable
        Decodes the file with `decode`, and returns the recording. It is called again if it raises `Undecodable`.

    Raises
    ------
    SongError
        If no decoder reads it: what the most telling of them says.
    """
    form = sniff(file)
    refusals: list[Undecodable] = []
    for decoder in form.decoders:
        try:
            recording = use(form, decoder)
        except Undecodable as refusal:
            refusals.append(refusal)
            continue
        # A decoder that passes over a damaged part in silence must not hide what another one has found.
        if all(recording.decoded_s >= refusal.whole_s for refusal in refusals):
            return
    raise min(reversed(refusals), key=lambda refusal: (-refusal.whole_s, _TELLING.index(refusal.code)))


@contextmanager
def decode(
    file: RegularFile,
    form: AudioFormat,
    decoder: Decoder,
    excerpt: Excerpt = WHOLE,
    *,
    meter: Meter | None = None,
) -> Iterator[tuple[Recording, Iterator[FloatArray]]]:
    """Decode an open file as a stream.

    Parameters
    ----------
    file : RegularFile
        Hashed on the way if `hash_while_read` was called.
    form : AudioFormat
        What `sniff` returned.
    decoder : str
        One of the format's.
    excerpt : Excerpt
        What is wanted of it. What lies before is not decoded where the decoder finds a later place to begin, and left
        out elsewhere; the samples are the same.
    meter : Meter, optional
        Measures what is yielded, before it is mixed to mono.

    Yields
    ------
    recording : Recording
        The header; filled in while blocks are drawn.
    blocks : iterator of float32, shape (S,)
        Mono samples at `Recording.block_rate_hz`, in order; all finite.

    Raises
    ------
    Undecodable
        If this decoder cannot read the file, here or while drawing blocks; another one may.
    SongError
        If the file cannot be used.
    """
    form, notes = first_alone(file, form)
    with _OPENERS[decoder](file, form) as (recording, blocks):
        recording.check(recording.sample_rate_hz, recording.channels)
        if form.skipped:
            recording.notes.append(f"the first {form.start:,} bytes are no audio and were left out")
        recording.notes += notes
        recording.start_s = excerpt.start_s
        yield recording, _mixed(recording, blocks(recording, excerpt.start_s), excerpt, meter)


def _mixed(
    recording: Recording, blocks: Iterator[Channels], excerpt: Excerpt, meter: Meter | None
) -> Iterator[FloatArray]:
    """Mix what is wanted of blocks to mono; count and measure it, and refuse NaN and infinity."""
    for block in blocks:
        first, stop = recording.wanted(excerpt, len(block[0]))
        if first < stop or not first:
            kept = cut(block, first, stop)
            mixed = mono(kept)
            if meter is not None:
                meter.add(kept, mixed, recording.block_rate_hz)
            if not recording.integers and not np.isfinite(mixed).all():
                raise SongError("non-finite", f"there are NaN or infinite samples after {recording.decoded_s:.1f} s")
            recording.count(stop, len(mixed))
            yield mixed
        else:
            recording.count(stop, 0)
        if recording.is_over(excerpt):
            recording.truncated = False
            return
    if not recording.decoded_s:
        raise Undecodable("no-audio", "the file has a header and no samples")
    recording.ended_within(excerpt)
