"""WAV, AIFF, AU and formats that only libsndfile reads, through soundfile."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import numpy as np
import soundfile

from songbag_pipeline.audio.chunks import chunks
from songbag_pipeline.audio.files import FilePart, RegularFile
from songbag_pipeline.audio.formats import AudioFormat
from songbag_pipeline.audio.recording import BLOCK_FRAMES, Blocks, Channels, Recording, Undecodable, falls_short

_BYTES = ("PCM_S8", "PCM_U8")
_SHORT = ("PCM_16", *_BYTES)
# Every frame has the same number of bytes, so any can be found.
_EVEN = (*_SHORT, "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
# What an encoder of MP3 puts around the music: two frames, and what its decoder adds.
_PADDING_SAMPLES = 2 * 1152 + 529
_EVEN_FORMATS = ("wav", "aiff", "au", "caf", "w64")


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile ships no types
    """A sound file that is read to its real end; a seekable one stops at the length in the header."""

    def seekable(self) -> bool:
        return False


@contextmanager
def open_libsndfile(file: RegularFile, form: AudioFormat) -> Iterator[tuple[Recording, Blocks]]:
    """Open a file with libsndfile; see `songbag_pipeline.audio.decode.decode`."""
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    end = _end_of_samples(FilePart(file, form.start), form.container) or form.end
    try:
        is_all = form.start == 0 and end is None
        sound = _Sequential(file.fileno() if is_all else FilePart(file, form.start, end), closefd=False)
    except soundfile.LibsndfileError as error:
        raise _header_error(form, error.error_string.rstrip(".")) from error
    with sound:
        declared = sound.frames if 0 < sound.frames < 2**62 else None
        recording = Recording(form.name, sound.samplerate, sound.channels, declared)
        if sound.subtype.startswith("MPEG"):
            recording.slack_s = _PADDING_SAMPLES / max(1, sound.samplerate)
        yield recording, partial(_blocks, sound, end is not None)


def _end_of_samples(part: FilePart, container: str) -> int | None:
    """Return where the samples of a W64 or 8SVX end, if something follows: libsndfile would play it."""
    kinds = {"w64": b"data", "iff": b"BODY"}
    found = chunks(part, container) if container in kinds else ()
    end = next((chunk.end for chunk in found if chunk.kind[:4] == kinds[container]), None)
    return part.start + end if end is not None and end < part.n_bytes else None


def _header_error(form: AudioFormat, reason: str) -> Undecodable:
    if form.name in ("wav", "aiff", "caf", "au") and ("unimplemented" in reason or "not supported" in reason):
        return Undecodable("unsupported-codec", f"the {form.name} file holds a codec that libsndfile does not decode")
    if "not exist" in reason:
        # libsndfile says this about an MP3 without a whole frame.
        reason = "no whole frame"
    return Undecodable("unreadable-header", f"the {form.name} header cannot be read ({reason})")


def _seek(sound: soundfile.SoundFile, recording: Recording, start_s: float) -> None:
    """Go to a time, if it is before the end in the header, which may be wrong, and there is a way but decoding."""
    if sound.subtype in _EVEN and recording.source_format in _EVEN_FORMATS:
        wanted = min(round(start_s * sound.samplerate), sound.frames)
        if 0 < wanted < sound.frames:
            with suppress(soundfile.LibsndfileError):
                recording.begin_at(sound.seek(wanted))


def _blocks(sound: soundfile.SoundFile, is_whole: bool, recording: Recording, start_s: float) -> Iterator[Channels]:
    _seek(sound, recording, start_s)
    # Fewer frames if there are many channels: 64 channels must not take 64 times the memory.
    frames = max(1024, BLOCK_FRAMES * 2 // max(2, recording.channels))
    # libsndfile turns short samples into floats five times slower than numpy.
    short = sound.subtype in _SHORT
    space = np.empty((frames, recording.channels), np.int16 if short else np.float32)
    while True:
        try:
            block = sound.read(out=space)
        except soundfile.LibsndfileError as error:
            if "END_OF_STREAM" not in sound.extra_info:
                raise recording.corrupt(error.error_string) from error
            recording.ended(noted=True)
            return
        if not len(block):
            break
        yield (block >> 8).astype(np.int8).T if sound.subtype in _BYTES else block.T
    if recording.decoded_frames == 0 and recording.source_format == "wav":
        # A recorder that was interrupted may leave a length of 0, which libsndfile believes.
        raise Undecodable("no-audio", "the header gives a length of 0")
    _end(recording, "" if is_whole else sound.extra_info)


# The length of the samples of a WAV, AIFF or AU file, and of a whole RF64 or W64.
_TOO_LONG = re.compile(r"^ *(?:data|SSND|Data Size|Riff size|riff) *: (\d+) \(should be (\d+)\)", re.MULTILINE)


def _end(recording: Recording, log: str) -> None:
    """Note the end by libsndfile's log, because it decodes a file that is cut off without an error."""
    lengths = _TOO_LONG.search(log)
    declared, present = (int(lengths[1]), int(lengths[2])) if lengths else (0, 0)
    # Recorders that were interrupted leave 2 or 4 GB, or the largest number, instead of a length.
    open_end = 0x7FFFF000 <= declared <= 0x80001000 or 0xFFFFF000 <= declared < 1 << 32 or declared >= 1 << 62
    cut_off = not open_end and falls_short(present, declared)
    if cut_off and present:
        recording.declared_frames = round(recording.decoded_frames * declared / present)
    recording.ended(noted=cut_off or "lacks an end-of-stream bit" in log)
