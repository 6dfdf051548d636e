"""The formats of audio that songbag knows, told by their first bytes."""

from __future__ import annotations

import dataclasses
from typing import Literal

Decoder = Literal["libsndfile", "ffmpeg", "frames"]


@dataclasses.dataclass(frozen=True, slots=True)
class AudioFormat:
    """A known format.

    Attributes
    ----------
    name : str
        Its name in the index.
    decoders : tuple of str
        What reads it, in the order in which they are tried.
    container : str
        FFmpeg's name of the container; no other one is opened.
    start : int
        Where the audio begins behind tags and padding, in bytes.
    skipped : int
        Bytes in front of it that are neither.
    end : int or None
        Where it ends, in bytes, if something else is behind it that decoders must not see.
    """

    name: str
    decoders: tuple[Decoder, ...]
    container: str = ""
    start: int = 0
    skipped: int = 0
    end: int | None = None


_LIBSNDFILE_FIRST: tuple[Decoder, ...] = ("libsndfile", "ffmpeg")
_FFMPEG_FIRST: tuple[Decoder, ...] = ("ffmpeg", "libsndfile")
_FFMPEG: tuple[Decoder, ...] = ("ffmpeg",)

# Each format goes to its fastest decoder first (docs/explanation/speed.md). FFmpeg takes half of libsndfile's time for
# Vorbis and Opus, and also less for FLAC and MP3 if it gets many frames at once.
WAV = AudioFormat("wav", _LIBSNDFILE_FIRST, "wav")
# libsndfile is the last: of files that were joined it reads only the first, without an error.
MP3 = AudioFormat("mp3", ("frames", "ffmpeg", "libsndfile"), "mp3")
MPEG_AUDIO = AudioFormat("mp3", _FFMPEG_FIRST, "mp3")
AAC = AudioFormat("aac", _FFMPEG, "aac")
AC3, EAC3, DTS = (
    AudioFormat("ac3", _FFMPEG, "ac3"),
    AudioFormat("eac3", _FFMPEG, "eac3"),
    AudioFormat("dts", _FFMPEG, "dts"),
)
_MP4 = AudioFormat("mp4", _FFMPEG, "mov")
_MPEG_TS, _MPEG_PS = AudioFormat("mpeg-ts", _FFMPEG, "mpegts"), AudioFormat("mpeg-ps", _FFMPEG, "mpeg")

_OGG = AudioFormat("ogg", _FFMPEG_FIRST, "ogg")
_OGG_CODECS = (
    (b"\x01vorbis", dataclasses.replace(_OGG, name="ogg-vorbis")),
    (b"OpusHead", dataclasses.replace(_OGG, name="ogg-opus")),
    (b"\x7fFLAC", dataclasses.replace(_OGG, name="ogg-flac")),
    (b"Speex   ", dataclasses.replace(_OGG, name="ogg-speex")),
)
_OGG_HEAD_BYTES = 600
_RIFF_KINDS = {b"WAVE": WAV, b"AVI ": AudioFormat("avi", _FFMPEG, "avi")}
_FORM_KINDS = {
    b"AIFF": AudioFormat("aiff", _LIBSNDFILE_FIRST, "aiff"),
    b"AIFC": AudioFormat("aiff", _LIBSNDFILE_FIRST, "aiff"),
    b"8SVX": AudioFormat("svx", _LIBSNDFILE_FIRST, "iff"),
    b"16SV": AudioFormat("svx", _LIBSNDFILE_FIRST, "iff"),
}
_BY_START: tuple[tuple[bytes, AudioFormat], ...] = (
    (b"fLaC", AudioFormat("flac", ("frames", "ffmpeg", "libsndfile"), "flac")),
    (b"caff\0", AudioFormat("caf", _LIBSNDFILE_FIRST, "caf")),
    (b".snd\0", AudioFormat("au", _LIBSNDFILE_FIRST, "au")),
    (b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00", AudioFormat("w64", _LIBSNDFILE_FIRST, "w64")),
    (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), AudioFormat("asf", _FFMPEG, "asf")),
    (b"\x1aE\xdf\xa3", AudioFormat("matroska", _FFMPEG, "matroska")),
    (b"wvpk", AudioFormat("wavpack", _FFMPEG, "wv")),
    (b"TTA1", AudioFormat("tta", _FFMPEG, "tta")),
    (b"MP+\x07", AudioFormat("musepack", _FFMPEG, "mpc")),
    (b"MP+\x17", AudioFormat("musepack", _FFMPEG, "mpc")),
    (b"MPCK", AudioFormat("musepack", _FFMPEG, "mpc8")),
    (b"tBaK", AudioFormat("tak", _FFMPEG, "tak")),
    (b"#!AMR", AudioFormat("amr", _FFMPEG, "amr")),
    (b"DSD \x1c\0", AudioFormat("dsf", _FFMPEG, "dsf")),
    (b"FLV\x01", AudioFormat("flv", _FFMPEG, "flv")),
    (b".RMF\0", AudioFormat("realmedia", _FFMPEG, "rm")),
    # libsndfile plays the headers of further blocks as samples.
    (b"Creative Voice File\x1a", AudioFormat("voc", _FFMPEG_FIRST, "voc")),
    (b"NIST_1A\n", AudioFormat("nist", _LIBSNDFILE_FIRST, "nistsphere")),
)
_LIBSNDFILE: tuple[Decoder, ...] = ("libsndfile",)
_OLD = {
    "avr": (b"2BIT",),
    "paf": (b" paf", b"fap "),
    "pvf": (b"PVF1\n",),
    "ircam": tuple(order for n in b"\1\2\3\4" for order in (bytes([0x64, 0xA3, n, 0]), bytes([0, n, 0xA3, 0x64]))),
    "wve": (b"ALawSoundFile**",),
    "xi": (b"Extended Instrument: ",),
}
_BY_START += tuple((mark, AudioFormat(name, _LIBSNDFILE)) for name, marks in _OLD.items() for mark in marks)
_APE = AudioFormat("ape", _FFMPEG, "ape")
# Behind a length, or a length and a time.
_FIFTH_BYTE_ON = {
    b"\xf8\x72\x6f\xba": AudioFormat("truehd", _FFMPEG, "truehd"),
    b"\xf8\x72\x6f\xbb": AudioFormat("mlp", _FFMPEG, "mlp"),
    b"ftyp": _MP4,
}
_MP4_ATOMS = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"moof", b"sidx"})
_TS_PACKET_BYTES = ((0, 188), (4, 192), (0, 204))
_TS_PACKETS = 5

FOREIGN = {
    b"PK\x03\x04": "a ZIP archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x1f\x8b\x08": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\0": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"%PDF": "a PDF",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG\r\n": "a PNG image",
    b"GIF8": "a GIF image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"SQLite format 3\0": "a database",
    b"MThd": "a MIDI file, which holds notes and no sound",
}
"""First bytes of files that are no audio, even if they have some inside."""
_TAR = (257, b"ustar")


def by_magic(head: bytes, n_bytes: int) -> AudioFormat | None:
    """Return the format that begins like this.

    Parameters
    ----------
    head : bytes
        The first bytes.
    n_bytes : int
        How many bytes there are from its beginning to the end of the file.
    """
    kind = head[8:12]
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return _RIFF_KINDS.get(kind, WAV if kind == b"" else None)
    if head[:4] == b"FORM":
        return _FORM_KINDS.get(kind)
    if head[:4] == b"OggS":
        known = (form for mark, form in _OGG_CODECS if mark in head[27:_OGG_HEAD_BYTES])
        return next(known, _OGG)
    if head[4:8] in _FIFTH_BYTE_ON:
        return _FIFTH_BYTE_ON[head[4:8]]
    if head[4:8] in _MP4_ATOMS and (int.from_bytes(head[:4]) in (0, 1) or 8 <= int.from_bytes(head[:4]) <= n_bytes):
        return _MP4
    if head[:4] == b"\0\0\x01\xba" and len(head) > 4 and (head[4] & 0xC4 == 0x44 or head[4] & 0xF1 == 0x21):
        return _MPEG_PS
    if head[:4] == b"MAC " and head[5:6] == b"\x0f":  # its version, 3840 or newer
        return _APE
    if any(_repeats(head, *place) for place in _TS_PACKET_BYTES):
        return _MPEG_TS
    return next((form for mark, form in _BY_START if head.startswith(mark)), None)


def _repeats(head: bytes, first: int, period: int) -> bool:
    """Return whether packets of a transport stream begin at these places (ISO 13818-1, 2.4.3.2)."""
    return head[first : first + period * _TS_PACKETS : period] == b"G" * _TS_PACKETS


def foreign(head: bytes) -> str | None:
    """Return what a file is that begins like this, if it is known not to be audio."""
    if head[_TAR[0] : _TAR[0] + 5] == _TAR[1]:
        return "a tar archive"
    return next((what for mark, what in FOREIGN.items() if head.startswith(mark)), None)
