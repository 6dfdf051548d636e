"""Stretches of a recording, cut out and joined to one audio file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import soundfile

from songbag_pipeline.audio.files import file_sha256
from songbag_pipeline.errors import SongError
from songbag_pipeline.songs.direct import read_audio
from songbag_pipeline.sources.bucket import local_copy
from songbag_store.errors import SongbagError, UsageError
from songbag_store.storage.files import replacing, require_output

CLIP_FORMATS = {".flac": "FLAC", ".wav": "WAV", ".ogg": "OGG", ".mp3": "MP3", ".aiff": "AIFF"}
"""Formats of a clip by the suffix of its file, as libsndfile names them."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Where the audio of a song is.

    Attributes
    ----------
    address : str
        A path, or the address of an object.
    start_s : float
        Where the song begins in the file.
    content_sha256 : str, optional
        The digest of the file whose features are known; None if any file will do.
    options : mapping of str to str
        How to reach an object.
    """

    address: str
    start_s: float = 0.0
    content_sha256: str | None = None
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)


def write_clip(
    recording: Recording, spans: Sequence[tuple[float, float]], output: str | Path, *, sample_rate_hz: int
) -> float:
    """Write stretches of a song into one audio file, one after the other, mono; return its length in seconds.

    The audio is decoded as for features, in a contained process. Memory holds one stretch.

    Parameters
    ----------
    recording : Recording
        The song.
    spans : sequence of tuple of two floats
        Begin and end of each stretch, in seconds of the song.
    output : str or pathlib.Path
        A file with a suffix of `CLIP_FORMATS`, written whole or not at all.
    sample_rate_hz : int
        Of the file.

    Raises
    ------
    SongError
        If the recording is not there or cannot be decoded.
    SongbagError
        If it is another one than the features were computed of.
    UsageError
        If the file cannot be written, or its format does not take the sample rate.
    """
    target = Path(output)
    require_output(target, *CLIP_FORMATS)
    form, n_samples, address = CLIP_FORMATS[target.suffix.lower()], 0, recording.address
    try:
        with local_copy(address, recording.options) as path:
            if recording.content_sha256 not in (None, file_sha256(path)):
                raise _changed(address)
            with replacing(target) as temporary:
                file = soundfile.SoundFile(temporary, "w", sample_rate_hz, 1, format=form)
                with file:
                    for start, end in spans:
                        bounds = recording.start_s + start, recording.start_s + end
                        samples = read_audio(path, sample_rate_hz=sample_rate_hz, start_s=bounds[0], end_s=bounds[1])
                        n_samples += len(samples)
                        file.write(samples)
    except SongError as error:
        raise SongError(error.code, error.what, place=address) from error
    except (soundfile.LibsndfileError, ValueError) as error:
        if isinstance(error, SongbagError):
            raise
        what = f"{form} at {sample_rate_hz:,} Hz cannot be written ({error})"
        raise UsageError(what, place=str(target), remedy="End it in .wav or .flac.") from error
    return n_samples / sample_rate_hz


def _changed(address: str) -> SongbagError:
    what = "the file is not the one that the features were computed of, so the seconds may be others"
    remedy = "Put that file back; or extract the song again with `songbag extract --update-changed`, and explain that."
    return SongbagError(what, place=address, remedy=remedy)
