"""Decoding with libsndfile, through soundfile: WAV, AIFF, AU and what only it reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader

import numpy as np
import soundfile

from songbag_pipeline.audio.recording import BLOCK_FRAMES, Blocks, Damaged, Recording, falls_short, mono
from songbag_pipeline.audio.sniff import AudioFormat
from songbag_pipeline.errors import SongError
from songbag_pipeline.types import FloatArray

_SHORT = ("PCM_16", "PCM_S8", "PCM_U8")


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile ships no types
    """A sound file that is read to its real end: a seekable one stops at the length in the header."""

    def seekable(self) -> bool:
        return False


@contextmanager
def open_libsndfile(file: BufferedReader, form: AudioFormat) -> Iterator[tuple[Recording, Blocks]]:
    """Open a file that is of a format of libsndfile's; see `songbag_pipeline.audio.decode.decode`."""
    file.seek(0)
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    try:
        sound = _Sequential(file.fileno(), closefd=False)
    except soundfile.LibsndfileError as error:
        raise _header_error(form, str(error)) from error
    with sound:
        declared = sound.frames if 0 < sound.frames < 2**62 else None

        def blocks(recording: Recording) -> Iterator[FloatArray]:
            return _blocks(sound, recording)

        yield Recording(form.name, sound.samplerate, sound.channels, declared), blocks


def _header_error(form: AudioFormat, text: str) -> SongError:
    reason = text.rpartition("': ")[2].rstrip(".")
    if form.name in ("wav", "aiff", "caf", "au") and ("unimplemented" in reason or "not supported" in reason):
        return SongError("unsupported-codec", f"the {form.name} file holds a codec that libsndfile does not decode")
    if "not exist" in reason:
        # libsndfile says so of an MP3 without a whole frame, which would mislead.
        reason = "no whole frame"
    return SongError("unreadable-header", f"the {form.name} header cannot be read ({reason})")


def _blocks(sound: soundfile.SoundFile, recording: Recording) -> Iterator[FloatArray]:
    # A block's size depends on the channels: 64 of them must not take 64 times the memory.
    frames = max(1024, BLOCK_FRAMES * 2 // max(2, recording.channels))
    # libsndfile turns short samples into floats five times slower than numpy.
    short = sound.subtype in _SHORT
    space = np.empty((frames, recording.channels), np.int16 if short else np.float32)
    while True:
        try:
            block = sound.read(out=space)
        except soundfile.LibsndfileError as error:
            if "END_OF_STREAM" not in sound.extra_info:
                kind = Damaged if recording.source_format == "mp3" else SongError
                raise recording.corrupt(str(error), kind) from error
            recording.ended(noted=True)
            return
        if not len(block):
            break
        # A single channel would be passed on as it is, in the space that the next block goes to.
        yield mono(block.T) if recording.channels > 1 or short else block[:, 0].copy()
    if recording.decoded_frames == 0 and recording.source_format == "wav":
        # A recorder that could not go back may have left a length of 0, which libsndfile believes.
        raise recording.corrupt("the header gives a length of 0", Damaged)
    _end(recording, sound.extra_info)


# Of the samples of a WAV, AIFF or AU file, and of the whole of an RF64.
_TOO_LONG = re.compile(r"^ *(?:data|SSND|Data Size|Riff size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)


def _end(recording: Recording, log: str) -> None:
    """Note the end by libsndfile's log: it decodes a cut-off file without an error, and takes what is left for all."""
    lengths = _TOO_LONG.search(log)
    declared, present = (int(lengths[1]), int(lengths[2])) if lengths else (0, 0)
    cut_off = _is_length(declared) and falls_short(present, declared)
    if cut_off and present:
        recording.declared_frames = round(recording.decoded_frames * declared / present)
    recording.ended(noted=cut_off or "lacks an end-of-stream bit" in log)


def _is_length(n_bytes: int) -> bool:
    """Tell a length from what a recorder writes that cannot go back: 2 or 4 GB, or the largest number."""
    return not (0x7FFFF000 <= n_bytes <= 0x80001000 or 0xFFFFF000 <= n_bytes < 1 << 32 or n_bytes >= 1 << 62)
