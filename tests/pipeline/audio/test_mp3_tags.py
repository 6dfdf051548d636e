"""MP3 whose first frame counts the others, in the ways of several encoders, alone and joined with another one."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from songbag_pipeline.audio.mpeg_frames import frame_bytes
from songbag_pipeline.songs.direct import read_audio
from tests.support.audio import chirp
from tests.support.encoders import encoded
from tests.support.song_reader import read

RATE_HZ, LENGTH_S = 44100, 4.0
SAMPLES = round(RATE_HZ * LENGTH_S)


@cache
def mp3(rate_hz: int = RATE_HZ, duration_s: float = LENGTH_S) -> bytes:
    data = encoded(chirp(duration_s, rate_hz), rate_hz, "libmp3lame", "mp3")
    return data[data.index(b"\xff\xfb" if rate_hz > 24000 else b"\xff\xf3") :]


def named(encoder: bytes) -> bytes:
    """An MP3 of another encoder: its name stands in the tag of the first frame."""
    data = bytearray(mp3())
    at = data.index(b"Lavf")
    data[at : at + 4] = encoder
    return bytes(data)


def uncounted() -> bytes:
    """An MP3 with a tag that does not say how many frames there are."""
    at = mp3().index(b"Info") if b"Info" in mp3()[:100] else mp3().index(b"Xing")
    return mp3()[: at + 4] + bytes(50) + mp3()[at + 54 :]


def of_fraunhofer(counted: int = 0) -> bytes:
    """An MP3 with the tag VBRI, which may count its own frame too."""
    music = mp3()[frame_bytes(mp3()[:7]) :]
    length, at, n_frames = frame_bytes(music[:7]), 0, counted
    while at < len(music):
        at, n_frames = at + frame_bytes(music[at : at + 7]), n_frames + 1
    tag = b"VBRI" + struct.pack(">HHHIIHHHH", 1, 1105, 50, len(music) + length, n_frames, 0, 1, 2, 1)
    return (music[:4] + bytes(32) + tag).ljust(length, b"\0") + music


COUNTED = {
    "LAME": lambda: named(b"LAME"),
    "GOGO": lambda: named(b"GOGO"),
    "iTunes": lambda: named(b"iTun"),
    "no name": lambda: named(bytes(4)),
    "no count": uncounted,
    "VBRI": of_fraunhofer,
    "VBRI that counts itself": lambda: of_fraunhofer(1),
}


@pytest.mark.parametrize("name", COUNTED)
def test_a_counted_mp3_is_whole_and_a_cut_off_one_is_not(tmp_path: Path, name: str) -> None:
    data = COUNTED[name]()
    (tmp_path / "x.mp3").write_bytes(data)
    facts, _ = read(tmp_path / "x.mp3")
    assert (facts.status, facts.truncated, facts.audio_note) == ("ok", False, None)
    assert facts.duration_s == pytest.approx(LENGTH_S, abs=0.06)
    (tmp_path / "x.mp3").write_bytes(data[: len(data) * 2 // 3])
    facts, _ = read(tmp_path / "x.mp3")
    assert (facts.status, facts.truncated) == ("ok", True)


@pytest.mark.parametrize("name", ["LAME", "GOGO", "iTunes"])
def test_what_an_encoder_put_around_the_music_is_left_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.mp3").write_bytes(COUNTED[name]())
    assert len(read_audio(str(tmp_path / "x.mp3"), sample_rate_hz=RATE_HZ)) == SAMPLES
    (tmp_path / "lame.mp3").write_bytes(mp3())
    own, expected = (read_audio(str(tmp_path / x), sample_rate_hz=RATE_HZ) for x in ("x.mp3", "lame.mp3"))
    np.testing.assert_array_equal(own, expected)


@pytest.mark.fault(91)
@pytest.mark.parametrize("rate_hz", [RATE_HZ, 22050])
@pytest.mark.parametrize("name", COUNTED)
def test_what_is_joined_is_read_to_its_end_whatever_the_first_tag_counts(
    tmp_path: Path, name: str, rate_hz: int
) -> None:
    (tmp_path / "x.mp3").write_bytes(COUNTED[name]() + mp3(rate_hz, 2.0))
    facts, _ = read(tmp_path / "x.mp3")
    assert (facts.status, facts.truncated) == ("ok", False)
    assert facts.duration_s == pytest.approx(LENGTH_S + 2, abs=0.15)
    own = read_audio(str(tmp_path / "x.mp3"), sample_rate_hz=rate_hz, start_s=4.5, end_s=5.5)
    assert len(own) == rate_hz
    if rate_hz == RATE_HZ:  # else the whole is resampled, and its samples lie between those of the part
        whole = read_audio(str(tmp_path / "x.mp3"), sample_rate_hz=rate_hz)
        np.testing.assert_array_equal(own, whole[round(4.5 * rate_hz) :][:rate_hz])
