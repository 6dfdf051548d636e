"""The first recording of a file alone, where decoders would not see the next one, or trip over it."""

from __future__ import annotations

import dataclasses

from songbag_pipeline.audio.files import FilePart, RegularFile
from songbag_pipeline.audio.formats import AudioFormat
from songbag_pipeline.audio.frames import end_of_frames
from songbag_pipeline.audio.rest.ends import SAMPLES_ALONE, begins, end_of_first
from songbag_pipeline.audio.rest.tails import end_of_run, is_followed, next_begin
from songbag_pipeline.audio.sniff import behind_tags

_SHORT_BYTES = 16
_ZEROS_WITHIN = 1 << 16
_MUCH = 0.01
"""Share of a file above which bytes behind its end are noted although nothing says what they are."""
_OF_SAMPLES = ("wav", "aiff", "iff", "au", "caf", "w64", "tta", "voc")
"""Containers whose samples all lie before the end that their header gives."""
_READ_ON = ("matroska", "avi")
"""Containers of which FFmpeg reads on in the next one of their kind."""


def first_alone(file: RegularFile, form: AudioFormat) -> tuple[AudioFormat, list[str]]:
    """Return a format that ends where the first recording of a file ends, and notes on what is not read.

    Decoders and players stop there without a word, or take what follows for damage. Noted are another recording, and
    many bytes that the header does not count. Tags, zeros, and chunks that the length in the header leaves out are
    neither. Of most files at most 64 KiB are read.
    """
    part = FilePart(file, form.start)
    end, n_sounds = end_of_first(part, form)
    alone, note = _alone(file, part, form, end)
    several = f"of {n_sounds} chunks with samples, where there may be one, the last was read"
    return alone, [*([several] if n_sounds > 1 else []), *filter(None, [note])]


def _alone(file: RegularFile, part: FilePart, form: AudioFormat, end: int | None) -> tuple[AudioFormat, str | None]:
    if end is None or end >= part.n_bytes:
        return _stream_alone(file, form) if end is None and is_followed(file, form) else (form, None)
    found, _, rest = behind_tags(file, form.start + end, _ZEROS_WITHIN)
    if found is not None and (found.container != "mov" or begins(part, found.start - form.start)):
        reads_on = found.container == form.container and form.container in _READ_ON
        return (form, None) if reads_on else _before(form, form.start + end, found.start)
    n_bytes = form.start + part.n_bytes - rest
    is_zero = not any(part.read_at(_SHORT_BYTES, rest - form.start))
    if form.name in (*SAMPLES_ALONE, "wavpack"):
        form = dataclasses.replace(form, end=form.start + end)
    if (form.container in _OF_SAMPLES or form.name in SAMPLES_ALONE) and n_bytes > _MUCH * part.n_bytes and not is_zero:
        return form, f"the last {n_bytes:,} bytes lie behind the end that the header gives, and were left out"
    return form, None


def _stream_alone(file: RegularFile, form: AudioFormat) -> tuple[AudioFormat, str | None]:
    if (places := next_begin(file, form)) is not None:
        return _before(form, end_of_frames(file, places[0]), places[1])
    end = end_of_run(file, form)
    # FFmpeg takes zeros behind pages and packets for damage.
    is_nothing = end is not None and behind_tags(file, end, _ZEROS_WITHIN)[2] > end
    return dataclasses.replace(form, end=end) if is_nothing else form, None


def _before(form: AudioFormat, end: int, begin: int) -> tuple[AudioFormat, str]:
    return dataclasses.replace(form, end=end), f"another recording, from byte {begin:,} on, was left out"
