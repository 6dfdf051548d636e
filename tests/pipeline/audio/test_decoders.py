"""What one decoder refuses, another one may read; a file is damaged only if all of them say so."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from songbag_pipeline.audio.decode import decode
from songbag_pipeline.audio.files import open_regular
from songbag_pipeline.audio.recording import Undecodable
from songbag_pipeline.audio.sniff import sniff
from songbag_pipeline.errors import SongError
from songbag_pipeline.songs.direct import read_audio
from tests.support.audio import chirp, write
from tests.support.broken_audio import broken_flac, cut
from tests.support.encoders import encoded, sound_file
from tests.support.song_reader import failing, read


def refused_by(path: Path) -> str:
    """The decoder that is tried first, which refuses this file."""
    with open_regular(str(path)) as file:
        form = sniff(file)
        with pytest.raises(Undecodable), decode(file, form, form.decoders[0]) as (_, blocks):
            list(blocks)
    return form.decoders[0]


@pytest.mark.fault(90)
def test_a_codec_that_libsndfile_does_not_know_is_read_by_ffmpeg(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(encoded(chirp(2.0, 44100, 2), 44100, "ac3", "wav"))
    assert refused_by(tmp_path / "x") == "libsndfile"
    facts, _ = read(tmp_path / "x")
    assert (facts.status, facts.source_format) == ("ok", "wav")
    assert facts.duration_s == pytest.approx(2.0, abs=0.1)


@pytest.mark.fault(90)
def test_every_format_of_libsndfile_is_read_as_libsndfile_reads_it(tmp_path: Path) -> None:
    samples = chirp(0.5, 24000, 2)
    for form in sorted(soundfile.available_formats().keys() - NOT_RECOGNISED):
        for subtype in soundfile.available_subtypes(form):
            if not soundfile.check_format(form, subtype):
                continue
            for channels in (2, 1):
                try:
                    data = sound_file(samples[:, :channels], 24000, form, subtype)
                except soundfile.LibsndfileError:
                    continue  # this one takes a single channel, or another rate
                (tmp_path / "x").write_bytes(data)
                rate_hz = soundfile.info(tmp_path / "x").samplerate  # VOC has 24001 Hz
                mixed = read_audio(str(tmp_path / "x"), sample_rate_hz=rate_hz)
                if subtype not in NOT_COMPARED:
                    expected, _ = soundfile.read(tmp_path / "x", dtype="float32", always_2d=True)
                    n = min(len(mixed), len(expected))
                    assert n > 11000, (form, subtype)
                    np.testing.assert_allclose(
                        mixed[:n], expected[:n].mean(axis=1), atol=1e-4, err_msg=f"{form} {subtype}"
                    )
                break


NOT_RECOGNISED = {"RAW", "SD2", "HTK", "MAT4", "MAT5", "MPC2K", "SDS", "XI"}
"""Formats without a begin of their own, or that hold other things than audio as a rule."""
NOT_COMPARED = {
    "VORBIS",
    "OPUS",
    "MPEG_LAYER_I",
    "MPEG_LAYER_II",
    "MPEG_LAYER_III",
    "DWVW_12",
    "DWVW_16",
    "DWVW_24",
    "DWVW_N",
    "DPCM_8",
    "DPCM_16",
}
"""Subtypes that two decoders need not read alike, or that `soundfile.read` cannot seek in."""


def test_a_caf_of_alac_is_read_to_its_last_sample_whoever_wrote_it(tmp_path: Path) -> None:
    samples = chirp(2.0, 44100, 2)
    for data in (encoded(samples, 44100, "alac", "caf"), sound_file(samples, 44100, "CAF", "ALAC_16")):
        (tmp_path / "x.caf").write_bytes(data)
        mixed = read_audio(str(tmp_path / "x.caf"), sample_rate_hz=44100)
        np.testing.assert_allclose(mixed, samples.mean(axis=1), atol=1e-4)


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_mulaw", "pcm_alaw", "pcm_u8"])
def test_the_headers_of_the_blocks_of_a_voc_are_no_samples(tmp_path: Path, codec: str) -> None:
    samples = np.full((50_000, 2), 0.25, np.float32)
    (tmp_path / "x.voc").write_bytes(encoded(samples, 44100, codec, "voc"))
    facts, _ = read(tmp_path / "x.voc")
    assert (facts.status, facts.truncated) == ("ok", False)
    mixed = read_audio(str(tmp_path / "x.voc"), sample_rate_hz=facts.source_sample_rate_hz or 0)
    np.testing.assert_allclose(mixed, np.full(len(samples), 0.25), atol=0.02)


@pytest.mark.fault(9, 90)
def test_a_damaged_file_is_damaged_whatever_reads_it(tmp_path: Path) -> None:
    broken_flac(tmp_path / "x.flac")
    facts, _ = read(tmp_path / "x.flac")
    assert facts.error_code == "corrupt"
    assert "packets could not be decoded" in (facts.error or "")


@pytest.mark.fault(90)
def test_of_several_reasons_the_most_telling_is_given(tmp_path: Path) -> None:
    data = bytearray(write(tmp_path / "x.wav", chirp(1.0)).read_bytes())
    data[20:22] = b"\x99\x99"
    (tmp_path / "x.wav").write_bytes(data)
    assert failing(tmp_path / "x.wav") == "unsupported-codec"


def test_reasons_hold_no_numbers_of_another_system_and_no_impossible_times(tmp_path: Path) -> None:
    for suffix in ("flac", "ogg", "wav", "mp3", "opus"):
        whole = write(tmp_path / f"x.{suffix}", chirp(3.0, 48000), 48000).read_bytes()
        for n_bytes in (4, 20, 40):
            (tmp_path / "x").write_bytes(whole[:n_bytes])
            with pytest.raises(SongError) as caught:
                read_audio(str(tmp_path / "x"))
            assert "Errno" not in caught.value.what
            assert "<none>" not in caught.value.what
            assert re.search(r"-\d", caught.value.what) is None


def test_what_was_decoded_is_never_longer_than_what_a_message_gives_as_the_whole(tmp_path: Path) -> None:
    first = encoded(chirp(2.0, 44100), 44100, "flac", "ogg")
    then = bytearray(encoded(chirp(2.0, 22050), 22050, "flac", "ogg"))
    then[200:] = bytes(len(then) - 200)
    (tmp_path / "x").write_bytes(first + then)
    facts, _ = read(tmp_path / "x")
    assert facts.error_code == "corrupt"
    assert "decoding stopped at 2.0 s of 2.0 s" in (facts.error or "")


CUT = {
    "wavpack": ("wavpack", "wv"),
    "tta": ("tta", "tta"),
    "ac3": ("ac3", "ac3"),
    "mpeg-ts": ("mp2", "mpegts"),
    "mpeg-ps": ("mp2", "mpeg"),
    "avi": ("libmp3lame", "avi"),
    "w64": ("pcm_s16le", "w64"),
    "ogg-flac": ("flac", "ogg"),
}


@pytest.mark.fault(3)
@pytest.mark.parametrize(("codec", "form"), CUT.values(), ids=CUT)
def test_a_file_cut_off_is_used(tmp_path: Path, codec: str, form: str) -> None:
    (tmp_path / "x").write_bytes(encoded(chirp(3.0, 48000, 2), 48000, codec, form))
    facts, _ = read(cut(tmp_path / "x", 0.6))
    assert (facts.status, facts.error) == ("ok", None)
    assert 1.0 < (facts.duration_s or 0) < 2.2
    # A transport or program stream does not tell how long it is.
    assert facts.truncated or form.startswith("mpeg")
