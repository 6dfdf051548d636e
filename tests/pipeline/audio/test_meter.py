"""What is measured of the sound, against plain NumPy over whole files, and against what the files were made to be."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal
import soundfile

from songbag_pipeline.audio.decode import decode
from songbag_pipeline.audio.files import open_regular
from songbag_pipeline.audio.meter import Meter, Sound
from songbag_pipeline.audio.recording import mono
from songbag_pipeline.audio.sniff import sniff
from songbag_pipeline.errors import SongError
from songbag_pipeline.songs.facts import SongFacts
from tests.support.audio import Audio, chirp, encode, write, write_aac
from tests.support.song_reader import SPEC, read

RATE_HZ = 44100
Samples = npt.NDArray[np.float64]


def noise(duration_s: float, channels: int = 2, level: float = 0.1, seed: int = 0) -> Audio:
    """Noise that is the louder the lower it is, as music is; the channels have nothing in common."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((round(duration_s * RATE_HZ), channels))
    return (level * scipy.signal.lfilter([0.3], [1, -0.9], white, axis=0)).astype(np.float32)


def by_numpy(samples: Samples, rate_hz: int) -> dict[str, float]:
    """All that a meter measures but the highest frequency, from whole arrays, shape (S, channels); NaN for none."""
    size, n_channels = rate_hz // 50, samples.shape[1]
    some = samples[: len(samples) // size * size].reshape(-1, size, n_channels)
    left, power = np.square(some.mean(axis=2)).mean(axis=1), np.square(some).mean(axis=(1, 2))
    sounding = power >= 1e-6
    sides = np.square(some - some.mean(axis=2, keepdims=True)).sum() / max(1e-30, np.square(some).sum())
    cancelled = (left < 0.1 * power / n_channels)[sounding]
    several = n_channels > 1 and sounding.any()
    return {
        "sample_peak": float(np.abs(samples).max()),
        "clipped_share": float((np.abs(samples) >= 1 - 2**-15).mean()),
        "silent_share": float((left < 1e-6).mean()),
        "cancelled_share": float(cancelled.mean()) if several else np.nan,
        "side_share": float(sides) if several else np.nan,
    }


def measured(facts: SongFacts | Sound) -> dict[str, float]:
    fields = dataclasses.asdict(facts)
    return {name: np.nan if fields[name] is None else fields[name] for name in by_numpy(np.zeros((882, 1)), RATE_HZ)}


def assert_alike(one: dict[str, float], other: dict[str, float]) -> None:
    for name, value in other.items():
        # These are of every eighth frame.
        is_estimate = name in ("silent_share", "side_share", "cancelled_share")
        assert one[name] == pytest.approx(value, rel=1e-5, abs=0.07 if is_estimate else 1e-7, nan_ok=True), name


def pieced_together(duration_s: float, channels: int) -> Audio:
    """Noise with a loud part that clips, a silent one, one that is very quiet, and one in opposite phase."""
    samples = noise(duration_s, channels)
    fifth = len(samples) // 5
    samples[:fifth] *= 12
    samples[fifth : 2 * fifth] = 0
    samples[2 * fifth : 3 * fifth] *= 1e-3
    samples[3 * fifth : 4 * fifth, 1:] = -samples[3 * fifth : 4 * fifth, :1] / max(1, channels - 1)
    return np.clip(samples, -1, 1)


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE"])
def test_every_kind_of_samples_gives_what_numpy_gives_of_the_whole_file(
    tmp_path: Path, channels: int, subtype: str
) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, pieced_together(5.0, channels), RATE_HZ, subtype=subtype)
    samples, _ = soundfile.read(path, always_2d=True, dtype="float64")
    expected = by_numpy(samples, RATE_HZ)
    if subtype == "PCM_U8":
        expected["clipped_share"] = float((np.abs(samples) >= 1 - 2**-7).mean())
    facts, _ = read(path)
    assert_alike(measured(facts), expected)
    assert 0 < (facts.clipped_share or 0) < 0.5 < (facts.sample_peak or 0)


def test_float_samples_beyond_full_scale_count_as_clipped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", 20 * noise(1.0), RATE_HZ, subtype="FLOAT")
    samples, _ = soundfile.read(tmp_path / "x.wav", dtype="float64")
    facts, _ = read(tmp_path / "x.wav")
    assert facts.sample_peak == pytest.approx(np.abs(samples).max(), rel=1e-6)
    assert (facts.sample_peak or 0) > 2
    assert facts.clipped_share == pytest.approx((np.abs(samples) >= 1).mean(), abs=1e-4)


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint8, np.float32, np.float64])
def test_no_fact_depends_on_where_blocks_end(kind: type[np.generic]) -> None:
    samples = pieced_together(3.0, 2)
    whole = samples.astype(kind)
    if np.issubdtype(kind, np.integer):
        info = np.iinfo(kind)
        half = 2.0 ** (info.bits - 1)
        whole = np.clip(np.rint(samples.astype(np.float64) * half + (half if info.min == 0 else 0)), info.min, info.max)
        whole = whole.astype(kind)
    found = []
    for seed in range(4):
        meter, rng, at = Meter(), np.random.default_rng(seed), 0
        while at < len(whole):
            stop = at + int(rng.choice([1, 500, 883, 30_000, 70_000])) if seed else len(whole)
            planar = [np.ascontiguousarray(channel) for channel in whole[at:stop].T]
            block = planar if seed % 2 else whole[at:stop].T
            meter.add(block, mono(block), RATE_HZ)
            at = stop
        found.append(measured(meter.sound()))
    for one in found[1:]:
        assert_alike(one, found[0])


def made(path: Path, samples: Audio) -> Path:
    if path.suffix == ".m4a":
        return write_aac(path, samples)
    return write(path, samples, 48000 if path.suffix == ".opus" else RATE_HZ)


@pytest.mark.fault(94)
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "m4a", "ogg", "opus"])
def test_a_song_in_opposite_phase_is_stored_and_flagged_whatever_its_format(tmp_path: Path, suffix: str) -> None:
    one = chirp(3.0, RATE_HZ)
    kinds = {"opposite": np.hstack([one, -one]), "same": np.hstack([one, one]), "normal": noise(3.0) / 2}
    kinds["half"] = np.vstack([kinds["opposite"], kinds["normal"]])
    shares = {}
    for name, samples in kinds.items():
        facts, _ = read(made(tmp_path / f"{name}.{suffix}", samples))
        assert facts.status == "ok"
        shares[name] = facts.cancelled_share or 0, facts.side_share or 0
    assert shares["opposite"][0] > 0.9
    assert shares["opposite"][1] > 0.95
    assert shares["same"][0] == shares["normal"][0] == 0
    assert shares["same"][1] < 0.05
    assert shares["normal"][1] == pytest.approx(0.5, abs=0.1)
    assert shares["half"][0] == pytest.approx(0.5, abs=0.1)


def test_silence_has_no_content_and_no_sides(tmp_path: Path) -> None:
    facts, _ = read(write(tmp_path / "x.wav", np.zeros((RATE_HZ, 2), np.float32), RATE_HZ))
    assert (facts.sample_peak, facts.clipped_share, facts.silent_share) == (0, 0, 1)
    assert (facts.cancelled_share, facts.side_share, facts.highest_hz) == (None, None, None)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 96000, 192000])
def test_noise_has_content_up_to_half_the_sample_rate_and_a_tone_up_to_its_own(tmp_path: Path, rate_hz: int) -> None:
    samples = noise(2.0, 1)
    assert read(write(tmp_path / "noise.wav", samples, rate_hz))[0].highest_hz == pytest.approx(rate_hz / 2, rel=0.02)
    tone = 0.5 * np.sin(2 * np.pi * np.arange(2 * rate_hz) / 8)
    expected = pytest.approx(rate_hz / 8, abs=rate_hz / 100)
    assert read(write(tmp_path / "tone.wav", tone[:, None].astype(np.float32), rate_hz))[0].highest_hz == expected


@pytest.fixture(scope="module", params=[128_000, 192_000])
def from_mp3(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Samples, float, Path]:
    """Music-like noise after an MP3 of a bit rate, the frequency where the encoder cut it, and the MP3."""
    path = encode(tmp_path_factory.mktemp("mp3") / "x.mp3", noise(6.0), RATE_HZ, "libmp3lame", "mp3", request.param)
    with av.open(str(path)) as container:
        decoded = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    hz, power = scipy.signal.welch(decoded[0].astype(np.float64), RATE_HZ, nperseg=4096)
    level = power[(hz > 14_000) & (hz < 15_000)].mean()
    return decoded.T.astype(np.float64), float(hz[power > level / 100][-1]), path


@pytest.mark.parametrize("kind", ["mp3", "16 bit", "24 bit", "float", "dither", "8 bit", "quiet", "too loud"])
def test_lossless_made_from_mp3_ends_where_the_encoder_cut_it(
    tmp_path: Path, from_mp3: tuple[Samples, float, Path], kind: str
) -> None:
    samples, cut_hz, path = from_mp3
    assert 15_500 < cut_hz < 20_000
    rng, step = np.random.default_rng(1), 2.0**-15
    loud = 1.5 * samples / np.abs(samples).max()
    files = {
        "16 bit": (samples, "PCM_16"),
        "24 bit": (samples, "PCM_24"),
        "float": (samples, "FLOAT"),
        "dither": (samples + step * (rng.random(samples.shape) - rng.random(samples.shape)), "PCM_16"),
        "8 bit": (samples, "PCM_U8"),
        "quiet": (samples / 10, "PCM_16"),
        "too loud": (np.clip(loud, -1, 1), "PCM_16"),
    }
    if kind in files:
        path = tmp_path / "x.wav"
        soundfile.write(path, files[kind][0], RATE_HZ, subtype=files[kind][1])
    assert read(path)[0].highest_hz == pytest.approx(cut_hz, abs=500)


def test_a_song_that_is_read_twice_is_measured_once(tmp_path: Path) -> None:
    path = write(tmp_path / "x.flac", pieced_together(5.0, 2), RATE_HZ)
    expected = measured(read(path)[0])
    assert expected["clipped_share"] > 0.01
    data = bytearray(path.read_bytes())
    place = len(data) * 9 // 10
    data[place : place + 500] = bytes(255 - byte for byte in data[place : place + 500])
    path.write_bytes(data)
    with open_regular(str(path)) as file, pytest.raises(SongError), decode(file, sniff(file), "frames") as (_, blocks):
        list(blocks)
    facts, _ = read(path)
    assert facts.status == "ok"
    # One damaged frame of 4,096 samples is left out; a second count of the first 4 seconds would change much more.
    assert facts.clipped_share == pytest.approx(expected["clipped_share"], rel=0.08)


def test_only_the_part_that_is_used_is_measured(tmp_path: Path) -> None:
    samples = noise(4.0)
    samples[2 * RATE_HZ :] = 1
    spec = dataclasses.replace(SPEC, max_duration_s=2.0)
    facts, _ = read(write(tmp_path / "x.wav", samples, RATE_HZ), spec)
    assert facts.clipped_share == 0


def test_samples_as_large_as_floats_can_be_are_no_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", 1e30 * noise(1.0), RATE_HZ, subtype="FLOAT")
    assert read(tmp_path / "x.wav")[0].error_code in (None, "out-of-range")
