"""The length that a file gives, where it is not that of the sound that is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from songbag_pipeline.songs.facts import SongFacts
from tests.support.audio import chirp
from tests.support.broken_audio import cut
from tests.support.encoders import at_other_times, encoded, sound_file, with_video
from tests.support.song_reader import read

SHORT, LONG = chirp(1.0, 48000, 2), chirp(3.0, 48000, 2)
SEVERAL = {
    "matroska": ("aac", "matroska"),
    "matroska of flac": ("flac", "matroska"),
    "webm": ("libopus", "webm"),
    "ogg of flac": ("flac", "ogg"),
    "ogg of opus": ("libopus", "ogg"),
    "mov": ("aac", "mov"),
    "avi": ("libmp3lame", "avi"),
    "flv": ("aac", "flv"),
    "asf": ("libmp3lame", "asf"),
}
FILMS = {
    "matroska": ("aac", "matroska", "mpeg4"),
    "webm": ("libopus", "webm", "libvpx"),
    "mov": ("aac", "mov", "mpeg4"),
    "avi": ("libmp3lame", "avi", "mpeg4"),
    "flv": ("libmp3lame", "flv", "flv"),
    "asf": ("libmp3lame", "asf", "mpeg4"),
}


def facts_of(folder: Path, content: bytes) -> SongFacts:
    (folder / "x").write_bytes(content)
    facts, _ = read(folder / "x")
    assert (facts.status, facts.error) == ("ok", None)
    return facts


@pytest.mark.fault(93)
@pytest.mark.parametrize(("codec", "form"), SEVERAL.values(), ids=SEVERAL)
def test_a_stream_that_is_shorter_than_another_one_is_whole(tmp_path: Path, codec: str, form: str) -> None:
    facts = facts_of(tmp_path, encoded(SHORT, 48000, codec, form, LONG))
    assert facts.duration_s == pytest.approx(1.0, abs=0.1)
    assert not facts.truncated
    assert facts.declared_duration_s is None or facts.declared_duration_s == pytest.approx(1.0, abs=0.1)
    assert not facts_of(tmp_path, encoded(LONG, 48000, codec, form, SHORT)).truncated


@pytest.mark.fault(93)
@pytest.mark.parametrize(("codec", "form", "film"), FILMS.values(), ids=FILMS)
def test_the_sound_of_a_longer_film_is_whole(tmp_path: Path, codec: str, form: str, film: str) -> None:
    facts = facts_of(tmp_path, with_video(SHORT, 48000, codec, form, film, 3.0))
    assert facts.duration_s == pytest.approx(1.0, abs=0.1)
    assert not facts.truncated


@pytest.mark.fault(3)
@pytest.mark.parametrize("form", ["flv", "asf", "matroska", "avi"])
def test_a_film_that_is_cut_off_is_flagged(tmp_path: Path, form: str) -> None:
    codec, _, film = FILMS[form]
    (tmp_path / "x").write_bytes(with_video(LONG, 48000, codec, form, film, 1.0))
    facts, _ = read(cut(tmp_path / "x", 0.7))
    assert (facts.status, facts.truncated) == ("ok", True)


@pytest.mark.parametrize("codec", ["flac", "aac", "libopus", "libmp3lame"])
def test_a_matroska_that_does_not_give_its_length_is_not_said_to_lack_something(tmp_path: Path, codec: str) -> None:
    data = encoded(SHORT, 48000, codec, "matroska")
    place = data.index(b"\x18\x53\x80\x67\x01") + 4
    facts = facts_of(tmp_path, data[:place] + b"\x01" + b"\xff" * 7 + data[place + 8 :])
    assert (facts.declared_duration_s, facts.truncated) == (None, False)


PADDED: Mapping[str, tuple[str, str]] = {
    "mp3 in wav": ("libmp3lame", "wav"),
    "mp3 in matroska": ("libmp3lame", "matroska"),
    "mp3 in avi": ("libmp3lame", "avi"),
    "adpcm in avi": ("adpcm_ms", "avi"),
    "aac in matroska": ("aac", "matroska"),
    "aac in mov": ("aac", "mov"),
    "mp3": ("libmp3lame", "mp3"),
}


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
@pytest.mark.parametrize(("codec", "form"), PADDED.values(), ids=PADDED)
def test_what_an_encoder_adds_is_not_missing_at_any_rate(tmp_path: Path, codec: str, form: str, rate_hz: int) -> None:
    for duration_s in (0.6, 3.0):
        facts = facts_of(tmp_path, encoded(chirp(duration_s, rate_hz), rate_hz, codec, form))
        assert not facts.truncated, (facts.duration_s, facts.declared_duration_s)


@pytest.mark.fault(5)
def test_times_that_jump_in_an_ogg_are_noted(tmp_path: Path) -> None:
    for codec, jump, way in (("VORBIS", 144_000, "forward"), ("OPUS", 48_000, "forward"), ("VORBIS", -9600, "back")):
        whole = sound_file(chirp(12.0, 48000, 2), 48000, "OGG", codec)
        assert facts_of(tmp_path, whole).audio_note is None
        facts = facts_of(tmp_path, at_other_times(whole, jump))
        assert facts.duration_s == pytest.approx(12.0, abs=0.1)
        begin = f"the times in the file jump {way}, by {abs(jump) / 48_000:.1f}"
        assert (facts.audio_note or "").startswith(begin), (codec, facts.audio_note)
