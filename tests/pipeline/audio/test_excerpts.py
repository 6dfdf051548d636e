"""Parts of recordings: their samples are those of the whole, and what lies before is not decoded where that can be."""

from __future__ import annotations

import itertools
import os
import re
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from songbag_pipeline.audio.decode import decode
from songbag_pipeline.audio.decoders.ffmpeg import open_ffmpeg
from songbag_pipeline.audio.decoders.frames import open_frames
from songbag_pipeline.audio.decoders.libsndfile import open_libsndfile
from songbag_pipeline.audio.files import open_regular
from songbag_pipeline.audio.recording import WHOLE, Excerpt, Undecodable
from songbag_pipeline.audio.sniff import sniff
from songbag_pipeline.errors import SongError
from songbag_pipeline.songs.direct import read_audio
from songbag_store import FeatureSpec
from songbag_store.errors import UsageError
from tests.support.audio import Audio, chirp, encode, sparse_wav, write, write_aac
from tests.support.encoders import at_other_times, encoded, sound_file
from tests.support.song_reader import read

RATE_HZ, LENGTH_S = 44100, 9.0
MUSIC = chirp(LENGTH_S, RATE_HZ, 2)
BOUNDS = [(0.0, 1.0), (3.3, 3.3004), (4.0, None), (6.54321, 7.1), (8.9, 9.0), (8.0, 12.0)]


def sound(form: str, subtype: str) -> Callable[[Path], object]:
    return lambda path: soundfile.write(path, MUSIC, RATE_HZ, format=form, subtype=subtype)


def ffmpeg(codec: str, form: str, rate_hz: int = RATE_HZ, bit_rate: int = 128_000) -> Callable[[Path], object]:
    samples = MUSIC if rate_hz == RATE_HZ else chirp(LENGTH_S, rate_hz, 2)
    return lambda path: encode(path, samples, rate_hz, codec, form, bit_rate)


FORMATS: dict[str, Callable[[Path], object]] = {
    "wav": sound("WAV", "PCM_16"),
    "wav 24": sound("WAV", "PCM_24"),
    "wav 8": sound("WAV", "PCM_U8"),
    "wav float": sound("WAV", "FLOAT"),
    "wav ulaw": sound("WAV", "ULAW"),
    "aiff": sound("AIFF", "PCM_16"),
    "au": sound("AU", "PCM_16"),
    "caf": sound("CAF", "PCM_16"),
    "w64": sound("W64", "PCM_16"),
    "flac": lambda path: write(path, MUSIC, RATE_HZ, "flac"),
    "mp3": lambda path: write(path, MUSIC, RATE_HZ, "mp3"),
    "mp3 of FFmpeg": ffmpeg("libmp3lame", "mp3"),
    "mp3 of few bits": ffmpeg("libmp3lame", "mp3", 22050, 8_000),
    "ogg": lambda path: write(path, MUSIC, RATE_HZ, "ogg"),
    "opus": lambda path: write(path, chirp(LENGTH_S, 48000, 2), 48000, "opus"),
}
"""These are not decoded from their beginning."""
STATEFUL: dict[str, Callable[[Path], object]] = {
    "wav adpcm": sound("WAV", "MS_ADPCM"),
    "m4a": lambda path: write_aac(path, MUSIC, RATE_HZ),
    "adts": ffmpeg("aac", "adts"),
    "wavpack": ffmpeg("wavpack", "wv"),
    "mka": ffmpeg("libopus", "matroska", 48000),
}
OPENERS = {"libsndfile": open_libsndfile, "ffmpeg": open_ffmpeg, "frames": open_frames}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("excerpts")

    def make(name: str) -> Path:
        path = folder / name.replace(" ", "-")
        if not path.exists():
            (FORMATS | STATEFUL)[name](path)
        return path

    return make


def samples(path: Path, excerpt: Excerpt = WHOLE) -> tuple[Audio, int]:
    """Decode with the first decoder of the format."""
    with open_regular(str(path)) as file:
        form = sniff(file)
        with decode(file, form, form.decoders[0], excerpt) as (recording, blocks):
            return np.concatenate([block.copy() for block in blocks]), recording.sample_rate_hz


@pytest.mark.parametrize("name", [*FORMATS, *STATEFUL])
def test_a_part_has_the_samples_of_the_whole(made: Callable[[str], Path], name: str) -> None:
    whole, rate_hz = samples(made(name))
    for start_s, end_s in BOUNDS:
        own, _ = samples(made(name), Excerpt(start_s=start_s, end_s=end_s))
        stop = len(whole) if end_s is None else round(end_s * rate_hz)
        np.testing.assert_array_equal(own, whole[round(start_s * rate_hz) : stop], f"{start_s} to {end_s}")


@pytest.mark.parametrize("name", FORMATS)
def test_what_lies_before_a_part_is_not_decoded(made: Callable[[str], Path], name: str) -> None:
    with open_regular(str(made(name))) as file:
        form = sniff(file)
        with OPENERS[form.decoders[0]](file, form) as (recording, blocks):
            next(blocks(recording, 8.0))
            assert 3.0 < recording.decoded_s <= 8.0


def flac(duration_s: float, seed: int, *, alone: bool = False) -> bytes:
    """A FLAC file; its header may be the only block before the frames."""
    data = sound_file(chirp(duration_s, RATE_HZ, seed=seed), RATE_HZ, "FLAC", "PCM_16")
    return b"fLaC\x80" + data[5:42] + music_of(data) if alone else data


def music_of(data: bytes) -> bytes:
    """The frames of a FLAC file."""
    at, last = 4, 0
    while not last:
        last, at = data[at] & 0x80, at + 4 + int.from_bytes(data[at + 1 : at + 4])
    return data[at:]


def beheaded() -> bytes:
    """A FLAC file that lacks its first frames: the numbers of the others go on from where they were."""
    data = flac(9.0, 0)
    music = music_of(data)
    return data[: len(data) - len(music)] + music[music.index(music[:4] + b"\x14") :]


JOINED: dict[str, Callable[[], bytes]] = {
    "flac, short first": lambda: flac(3.0, 0) + flac(9.0, 1),
    "flac, long first": lambda: flac(9.0, 0) + flac(3.0, 1),
    "flac, as long": lambda: flac(6.0, 0) + flac(6.0, 1) + flac(6.0, 2),
    "flac, small headers": lambda: flac(3.0, 0, alone=True) + flac(9.0, 1, alone=True),
    "flac, begin cut off": beheaded,
    "ogg": lambda: b"".join(sound_file(chirp(9.0, RATE_HZ, seed=n), RATE_HZ, "OGG", "VORBIS") for n in (0, 1)),
    "mp3": lambda: b"".join(encoded(chirp(s, RATE_HZ), RATE_HZ, "libmp3lame", "mp3") for s in (3.0, 9.0)),
    "adts": lambda: b"".join(encoded(chirp(s, RATE_HZ), RATE_HZ, "aac", "adts") for s in (3.0, 9.0)),
}


@pytest.mark.fault(99)
@pytest.mark.parametrize("name", JOINED)
def test_a_part_of_joined_recordings_has_the_samples_of_the_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(JOINED[name]())
    whole = read_audio(str(path), sample_rate_hz=RATE_HZ)
    length_s = len(whole) / RATE_HZ
    for start_s in (0.5, 2.0, 3.5, 4.5, length_s - 3.0, length_s - 1.5):
        own = read_audio(str(path), sample_rate_hz=RATE_HZ, start_s=start_s, end_s=start_s + 1)
        np.testing.assert_array_equal(own, whole[round(start_s * RATE_HZ) :][:RATE_HZ], f"{start_s}")


def without(name: str, first: float, n_places: int, shift: int = 0) -> bytes:
    """Half a minute without what lies between two pages or frames, or between bytes a little behind their begins."""
    data, begins = long(name), places(name)
    number = int(first * len(begins))
    return data[: begins[number] + shift] + data[begins[number + n_places] + shift // 2 :]


def places(name: str) -> list[int]:
    """Where pages or frames begin in half a minute of sound."""
    data = long(name)
    mark = {"flac": music_of(data)[:4] if name == "flac" else b"", "mp3": b"\xff\xfb\x90"}.get(name, b"OggS")
    return [match.start() for match in re.finditer(re.escape(mark), data)]


def overwritten(data: bytes, start: int, n_bytes: int) -> bytes:
    return data[:start] + bytes(255 - byte for byte in data[start : start + n_bytes]) + data[start + n_bytes :]


@cache
def long(name: str) -> bytes:
    """Half a minute of sound."""
    rate_hz = 48000 if name == "opus" else RATE_HZ
    make, *kind = WRITERS[name]
    return make(chirp(30.0, rate_hz, 2), rate_hz, *kind)


def first_mp3_frame() -> int:
    """Where the first frame with music begins; the one before it counts the frames."""
    data = long("mp3")
    tag = data.index(b"Info") if b"Info" in data[:4096] else data.index(b"Xing")
    return data.index(b"\xff\xfb", tag)


WRITERS: dict[str, tuple[Callable[..., bytes], str, str]] = {
    "flac": (sound_file, "FLAC", "PCM_16"),
    "vorbis": (sound_file, "OGG", "VORBIS"),
    "opus": (sound_file, "OGG", "OPUS"),
    "mp3": (encoded, "libmp3lame", "mp3"),
    "alac": (encoded, "alac", "ipod"),
}


GAPS: dict[str, Callable[[], bytes]] = {
    "flac, frames cut out": lambda: without("flac", 0.3, 5),
    "flac, a quarter cut out": lambda: without("flac", 0.3, 80),
    "flac, bytes cut out": lambda: without("flac", 0.3, 3, 1000),
    "flac, damaged": lambda: overwritten(long("flac"), places("flac")[100] + 400, 300),
    "flac, first frame damaged": lambda: overwritten(long("flac"), places("flac")[0] + 400, 300),
    "vorbis, pages cut out": lambda: without("vorbis", 0.3, 3),
    "vorbis, bytes cut out": lambda: without("vorbis", 0.3, 2, 600),
    "vorbis, a page twice": lambda: without("vorbis", 0.3, -2),
    "vorbis, times jump": lambda: at_other_times(long("vorbis"), 3 * RATE_HZ),
    "vorbis, times jump a little": lambda: at_other_times(long("vorbis"), 64),
    "vorbis, times jump back": lambda: at_other_times(long("vorbis"), -3 * RATE_HZ),
    "opus, times jump": lambda: at_other_times(long("opus"), 3 * 48000),
    "flac, frames twice": lambda: without("flac", 0.3, -7),
    "vorbis, damaged": lambda: overwritten(long("vorbis"), places("vorbis")[25] + 400, 100),
    "opus, pages cut out": lambda: without("opus", 0.3, 3),
    "opus, damaged": lambda: overwritten(long("opus"), places("opus")[10] + 400, 100),
    "mp3, frames cut out": lambda: without("mp3", 0.3, 2),
    "mp3, damaged": lambda: overwritten(long("mp3"), places("mp3")[10] + 4, 32),
    "mp3, first frame damaged": lambda: overwritten(long("mp3"), first_mp3_frame() + 4, 32),
    "alac, damaged": lambda: overwritten(long("alac"), len(long("alac")) // 3, 3000),
}


@pytest.mark.fault(99)
@pytest.mark.parametrize("name", GAPS)
def test_a_part_behind_a_gap_has_the_samples_of_the_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(GAPS[name]())
    rate_hz = 48000 if name.startswith("opus") else RATE_HZ
    whole = read_audio(str(path), sample_rate_hz=rate_hz)
    for start_s in (2.0, 8.5, 10.0, 12.5, 16.0, 21.5, 25.0):
        own = read_audio(str(path), sample_rate_hz=rate_hz, start_s=start_s, end_s=start_s + 1)
        np.testing.assert_array_equal(own, whole[round(start_s * rate_hz) :][:rate_hz], f"{start_s}")


def box(kind: bytes, *content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + sum(map(len, content)), kind) + b"".join(content)


def with_edits(data: bytes, *edits: tuple[int, int]) -> bytes:
    """An MP4 with one track, of which stretches are played: their lengths in milliseconds, and their first samples."""
    stretches = [struct.pack(">IiI", length_ms, first, 0x10000) for length_ms, first in edits]
    edited = box(b"edts", box(b"elst", bytes(4), struct.pack(">I", len(edits)), *stretches))
    moov, trak = data.index(b"moov") - 4, data.index(b"trak") - 4
    head = data.index(b"mdia") - 4
    track_bytes = int.from_bytes(data[trak : trak + 4])
    rest = data[trak + track_bytes :]
    track = box(b"trak", data[trak + 8 : data.index(b"tkhd") + 88], edited, data[head : trak + track_bytes])
    return data[:moov] + box(b"moov", data[moov + 8 : trak], track, rest)


@pytest.mark.fault(99)
@pytest.mark.parametrize(
    "edits",
    [
        [(29_886, 5000)],
        [(10_000, 0), (10_000, 15 * RATE_HZ)],
        [(10_000, 0), (2000, -1), (10_000, 10 * RATE_HZ)],
        [(10_000, 0), (10_000, 0)],
    ],
    ids=["a later begin", "a cut", "silence within", "twice"],
)
def test_a_part_of_an_edited_mp4_has_the_samples_of_the_whole(tmp_path: Path, edits: list[tuple[int, int]]) -> None:
    path = tmp_path / "x"
    path.write_bytes(with_edits(long("alac"), *edits))
    whole = read_audio(str(path), sample_rate_hz=RATE_HZ)
    assert len(whole) == pytest.approx(sum(length_ms for length_ms, _ in edits) * RATE_HZ / 1000, abs=8192)
    for start_s in (2.0, 8.5, 11.5, 14.2, 18.3):
        own = read_audio(str(path), sample_rate_hz=RATE_HZ, start_s=start_s, end_s=start_s + 1)
        np.testing.assert_array_equal(own, whole[round(start_s * RATE_HZ) :][:RATE_HZ], f"{start_s}")


@pytest.mark.parametrize("name", ["flac, a quarter cut out", "flac, damaged", "mp3, damaged", "alac, damaged"])
def test_what_is_missing_is_silent_and_what_lies_behind_keeps_its_time(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(long(name.split(",")[0]))
    expected = read_audio(str(tmp_path / "x"), sample_rate_hz=RATE_HZ)
    (tmp_path / "x").write_bytes(GAPS[name]())
    whole = read_audio(str(tmp_path / "x"), sample_rate_hz=RATE_HZ)
    np.testing.assert_array_equal(whole[20 * RATE_HZ :], expected[20 * RATE_HZ :])
    for start_s, noted in ((0.0, True), (20.0, False)):
        facts, _ = read(tmp_path / "x", excerpt=Excerpt(start_s=start_s, end_s=25.0))
        assert ("are missing or damaged, and silent here" in (facts.audio_note or "")) is noted


@pytest.mark.fault(9)
def test_frames_of_a_flac_that_are_there_twice_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(long("flac"))
    expected = read_audio(str(tmp_path / "x"))
    for n_frames in (1, 20):
        (tmp_path / "x").write_bytes(without("flac", 0.3, -n_frames))
        np.testing.assert_array_equal(read_audio(str(tmp_path / "x")), expected)
        note = f"{n_frames * 4096 / RATE_HZ:.3f} s are in the file once more, or out of their order, and were left out"
        assert read(tmp_path / "x")[0].audio_note == note


@pytest.mark.fault(91)
def test_a_joined_flac_is_read_by_the_decoder_that_knows_where_recordings_begin(tmp_path: Path) -> None:
    for first, then in itertools.permutations((flac(3.0, 0), flac(9.0, 1))):
        (tmp_path / "x.flac").write_bytes(first + then)
        with open_regular(str(tmp_path / "x.flac")) as file:
            form = sniff(file)
            with pytest.raises(Undecodable, match="decoding stopped"), decode(file, form, "frames") as (_, blocks):
                list(blocks)


def test_a_part_of_ten_hours_reads_a_part_of_them(tmp_path: Path) -> None:
    path = sparse_wav(tmp_path / "long.wav", hours=6)
    with path.open("r+b") as file:
        file.seek(44 + 5 * 3600 * RATE_HZ * 4)
        file.write((MUSIC * 32767).astype("<i2").tobytes())
    own, _ = samples(path, Excerpt(start_s=5 * 3600.0 + 2, end_s=5 * 3600.0 + 4))
    expected = (MUSIC * 32767).astype("<i2")[2 * RATE_HZ : 4 * RATE_HZ].mean(axis=1, dtype=np.float32) / 32768
    np.testing.assert_allclose(own, expected, atol=1e-7)


def test_the_facts_of_a_part_are_its_own(made: Callable[[str], Path], tmp_path: Path) -> None:
    path, cut = made("flac"), tmp_path / "cut.flac"
    data, _ = soundfile.read(path, dtype="int16")
    soundfile.write(cut, data[round(4.25 * RATE_HZ) : round(7.75 * RATE_HZ)], RATE_HZ)
    spec = FeatureSpec(window_s=0.5, n_mels=40)
    alone, expected = read(cut, spec)
    part, found = read(path, spec, Excerpt(start_s=4.25, end_s=7.75))
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(expected))
    of_file = {"content_sha256", "file_bytes", "modified_at", "declared_duration_s"}
    for name in part.to_dict().keys() - of_file:
        own, other = getattr(part, name), getattr(alone, name)
        assert own == (pytest.approx(other, abs=1e-6) if isinstance(other, float) else other), name
    assert (part.duration_s, part.declared_duration_s, part.truncated) == (3.5, 3.5, False)
    whole, _ = read(path, spec)
    assert (part.content_sha256, part.file_bytes) == (whole.content_sha256, whole.file_bytes)
    first, _ = read(path, FeatureSpec(window_s=0.5, n_mels=40, max_duration_s=1.0), Excerpt(start_s=4.25))
    assert (first.duration_s, first.truncated) == (1.0, False)


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "ogg", "m4a"])
def test_a_part_beyond_the_end_fails_or_is_flagged(made: Callable[[str], Path], name: str) -> None:
    for start_s in (LENGTH_S + 1, 1e300):
        facts, windows = read(made(name), excerpt=Excerpt(start_s=start_s))
        assert (facts.status, facts.error_code, windows) == ("failed", "part-beyond-end", [])
        assert "the recording ends at 9." in (facts.error or "")
    facts, _ = read(made(name), excerpt=Excerpt(start_s=7.0, end_s=20.0))
    assert (facts.status, facts.truncated, facts.declared_duration_s) == ("ok", True, 13.0)
    assert facts.duration_s == pytest.approx(2.0, abs=0.1)
    assert "the part ends at 20.000 s, and the recording at 9." in (facts.audio_note or "")
    facts, _ = read(made(name), excerpt=Excerpt(start_s=2.0, end_s=2.000001))
    assert (facts.status, facts.error_code) == ("failed", "too-short")


def test_the_file_of_several_parts_is_hashed_once(
    made: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(made("wav").read_bytes())
    n_bytes = 0
    pread = os.pread

    def counting(descriptor: int, length: int, at: int) -> bytes:
        nonlocal n_bytes
        data = pread(descriptor, length, at)
        n_bytes += len(data)
        return data

    monkeypatch.setattr(os, "pread", counting)
    digests = {read(path, excerpt=Excerpt(start_s=start))[0].content_sha256 for start in (1.0, 3.0, 5.0)}
    assert len(digests) == 1
    assert n_bytes < 2 * path.stat().st_size
    path.write_bytes(made("wav 24").read_bytes())
    assert read(path)[0].content_sha256 not in digests


def test_read_audio_takes_the_bounds(made: Callable[[str], Path], tmp_path: Path) -> None:
    own = read_audio(str(made("wav")), start_s=2.5, end_s=4.0)
    data, _ = soundfile.read(made("wav"), frames=round(1.5 * RATE_HZ), start=round(2.5 * RATE_HZ), dtype="int16")
    soundfile.write(tmp_path / "cut.wav", data, RATE_HZ)
    np.testing.assert_array_equal(own, read_audio(str(tmp_path / "cut.wav")))
    np.testing.assert_array_equal(read_audio(str(made("wav")), start_s=2.5, max_duration_s=1.5), own)
    for bounds in itertools.product((-1.0, float("nan"), float("inf")), (None, 2.0)):
        with pytest.raises(UsageError, match="start_s"):
            read_audio("x", start_s=bounds[0], end_s=bounds[1])
    for end_s in (1.0, 0.5, float("nan")):
        with pytest.raises(UsageError, match="end_s"):
            read_audio("x", start_s=1.0, end_s=end_s)
    with pytest.raises(SongError, match=r"begins at 10\.000 s, and the recording ends at 9\.000 s"):
        read_audio(str(made("wav")), start_s=10.0)
