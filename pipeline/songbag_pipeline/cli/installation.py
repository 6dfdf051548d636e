"""What `songbag doctor` finds out about decoding: real files are made and decoded as `extract` decodes them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from songbag_store.doctor import Finding, broken, missing_extra

if TYPE_CHECKING:
    from songbag_pipeline.types import FloatArray

_PART = "decoders"
_RATE_HZ = 22_050
_N_SAMPLES = _RATE_HZ
_REINSTALL = "Install the decoders again: pip install --force-reinstall soundfile av"
_CODECS = (
    *("aac", "mp3float", "flac", "vorbis", "opus", "alac", "wmav2", "wavpack", "tta", "ape", "mpc7", "tak", "ac3"),
    *("eac3", "dca", "truehd", "amrnb", "cook", "dsd_lsbf"),
)
"""FFmpeg's names of the decoders behind the formats that songbag takes; some builds of FFmpeg leave some out."""


def findings() -> Iterator[Finding]:
    """Yield which decoders work."""
    try:
        import av
        import soundfile
    except ModuleNotFoundError:
        yield missing_extra(_PART, "audio", "pipeline")
        return
    except Exception as error:  # a native library that cannot be loaded
        yield broken(_PART, "audio", error, _REINSTALL)
        return
    yield Finding(_PART, "libsndfile", "works", soundfile.__libsndfile_version__)
    version = ".".join(map(str, av.library_versions["libavcodec"]))
    yield Finding(_PART, "FFmpeg", "works", f"libavcodec {version}")
    lacking = [name for name in _CODECS if not _has_codec(name)]
    if lacking:
        remedy = "The wheel of PyAV has them all: pip install --force-reinstall --only-binary av av"
        yield Finding(_PART, "codecs", "wrong", f"FFmpeg was built without {', '.join(lacking)}", remedy)
    with tempfile.TemporaryDirectory(prefix="songbag-doctor-") as folder:
        for name, write in _WRITERS.items():
            yield _tried(name, Path(folder) / f"song.{name.lower()}", write)


def _has_codec(name: str) -> bool:
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    try:
        Codec(name, "r")
    except UnknownCodecError:
        return False
    return True


def _tried(name: str, path: Path, write: Callable[[Path, FloatArray], None]) -> Finding:
    """Write a second of sound in a format, and decode it in a contained process."""
    import numpy as np

    from songbag_pipeline.songs.direct import read_audio

    sound = 0.5 * np.sin(np.arange(_N_SAMPLES, dtype=np.float32) * np.float32(0.1))
    try:
        write(path, sound)
    except Exception as error:  # an encoder that this machine lacks; songbag itself needs none
        said = (str(error).splitlines() or [""])[0][:100]
        return Finding(_PART, name, "missing", f"was not tried: no file could be made ({said})")
    try:
        heard = read_audio(str(path), sample_rate_hz=_RATE_HZ)
    except Exception as error:
        return broken(_PART, name, error, _REINSTALL)
    if abs(len(heard) - _N_SAMPLES) > _RATE_HZ // 4 or not 0.3 < float(np.abs(heard).max(initial=0)) < 0.7:
        return Finding(_PART, name, "wrong", "was decoded to something else than what was written", _REINSTALL)
    return Finding(_PART, name, "works", "decoded")


def _by_libsndfile(form: str, subtype: str) -> Callable[[Path, FloatArray], None]:
    def write(path: Path, sound: FloatArray) -> None:
        import soundfile

        soundfile.write(path, sound, _RATE_HZ, format=form, subtype=subtype)

    return write


def _by_ffmpeg(path: Path, sound: FloatArray) -> None:
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream: Any = container.add_stream("aac", rate=_RATE_HZ, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[None, :], format="fltp", layout="mono")
        frame.sample_rate = _RATE_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


_WRITERS: dict[str, Callable[[Path, FloatArray], None]] = {
    "WAV": _by_libsndfile("WAV", "PCM_16"),
    "FLAC": _by_libsndfile("FLAC", "PCM_16"),
    "OGG": _by_libsndfile("OGG", "VORBIS"),
    "MP3": _by_libsndfile("MP3", "MPEG_LAYER_III"),
    "M4A": _by_ffmpeg,
}
