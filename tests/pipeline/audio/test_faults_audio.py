"""Bad audio of every kind in one run of `extract`: each with its outcome, good songs stored.

What needs more than an outcome is in `test_songs`, `test_bad_audio` and `test_containment`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import soundfile

from songbag_pipeline import ExtractConfig
from songbag_pipeline.songs.containment import Containment
from songbag_store import FeatureSpec, SongStore
from songbag_store.format.failure_codes import REMEDIES
from songbag_store.upkeep.summary import failures, failures_text
from tests.support.audio import ENCODINGS, Audio, chirp, silent_mp4, sparse_wav, write, write_aac
from tests.support.broken_audio import (
    broken_flac,
    cut,
    header_only,
    id3_only,
    patched_wav,
    unknown_codec,
    with_samples,
    write_claiming_4_gb,
)
from tests.support.clusters import extract_inside
from tests.support.encoders import encoded
from tests.support.long import LONG

SPEC = FeatureSpec(window_s=0.5, n_mels=40, max_duration_s=30.0)
Make = Callable[[Path], object]
OK, FLAGGED, NOTED = "ok", "ok, truncated", "ok, noted"


def beginning(n_bytes: int) -> Make:
    return lambda path: path.write_bytes(write(path, chirp(1.0, 48000), 48000).read_bytes()[:n_bytes])


def cut_off(keep: float) -> Make:
    return lambda path: cut(write(path, chirp(10.0, 48000, 2), 48000), keep)


def noisy(start: float, n_bytes: int) -> Make:
    def make(path: Path) -> None:
        data = bytearray(write(path, chirp(10.0)).read_bytes())
        place = int(len(data) * start)
        data[place : place + n_bytes] = bytes(255 - b for b in data[place : place + n_bytes])
        path.write_bytes(data)

    return make


def zeros_from(start: int) -> Make:
    def make(path: Path) -> None:
        data = write(path, chirp(10.0)).read_bytes()
        path.write_bytes(data[:start] + bytes(len(data) - start))

    return make


def sound(rate_hz: int = 22050, channels: int = 1, subtype: str = "PCM_16", duration_s: float = 2.0) -> Make:
    return lambda path: soundfile.write(path, chirp(duration_s, rate_hz, channels), rate_hz, subtype=subtype)


def as_if(encoding: str) -> Make:
    return lambda path: write(path, chirp(2.0), encoding=encoding)


def of_ffmpeg(codec: str, form: str, *tracks: Audio, default: int | None = None, **options: str) -> Make:
    return lambda path: path.write_bytes(
        encoded(tracks[0], 48000, codec, form, *tracks[1:], default=default, options=options)
    )


def chained(path: Path) -> None:
    links = [write(path, chirp(1.0, rate_hz), rate_hz).read_bytes() for rate_hz in (44100, 22050)]
    path.write_bytes(b"".join(links))


def behind(lead: bytes) -> Make:
    return lambda path: path.write_bytes(lead + write(path, chirp(2.0)).read_bytes())


BAD_AUDIO: list[tuple[str, Make, str]] = [
    ("empty.wav", lambda p: p.write_bytes(b""), "empty-file"),
    ("empty.mp3", lambda p: p.write_bytes(b""), "empty-file"),
    *((f"header-cut.{suffix}", beginning(20), "unreadable-header") for suffix in ENCODINGS),
    ("cut.wav", cut_off(0.5), FLAGGED),
    ("cut.mp3", cut_off(0.5), FLAGGED),
    ("cut.ogg", cut_off(0.5), FLAGGED),
    ("cut.flac", cut_off(0.5), FLAGGED),
    ("cut.m4a", lambda p: cut(write_aac(p, chirp(3.0, 44100, 2)), 0.5), "unreadable-header"),
    ("noisy.mp3", noisy(0.5, 200), NOTED),
    ("noisy.wav", noisy(0.5, 200), OK),
    ("broken.flac", broken_flac, "corrupt"),
    ("broken-once.flac", lambda p: broken_flac(p, holes=1), NOTED),
    ("no-packet.ogg", zeros_from(4500), "no-audio"),
    ("text.mp3", lambda p: p.write_text("dear diary, " * 500), "not-audio"),
    ("page.m4a", lambda p: p.write_text("<html>" * 500), "not-audio"),
    ("flac-named.mp3", as_if("flac"), OK),
    ("mp3-named.wav", as_if("mp3"), OK),
    ("tag-alone.mp3", id3_only, "no-audio"),
    ("header-alone.wav", header_only, "no-audio"),
    ("one-sample.wav", sound(duration_s=1 / 22050), "too-short"),
    ("padded.wav", sound(duration_s=0.3), OK),
    ("silence.wav", lambda p: sparse_wav(p, hours=0.001), OK),
    ("nan.wav", with_samples(float("nan")), "non-finite"),
    ("infinite.wav", with_samples(float("inf")), "non-finite"),
    ("huge-samples.wav", with_samples(1e30), "out-of-range"),
    ("low-rate.wav", sound(8000), OK),
    ("high-rate.wav", sound(192000), OK),
    ("8-channels.wav", sound(channels=8), OK),
    ("24-bits.wav", sound(subtype="PCM_24"), OK),
    ("32-bits.wav", sound(subtype="PCM_32"), OK),
    ("rate-0.wav", patched_wav(24, b"\0\0\0\0"), "unreadable-header"),
    ("rate-2-to-31.wav", patched_wav(24, b"\xff\xff\xff\x7f"), "bad-sample-rate"),
    ("1024-channels.wav", sound(channels=1024, duration_s=0.1), "too-many-channels"),
    ("claims-4-gb.wav", write_claiming_4_gb, OK),
    ("hours.wav", lambda p: sparse_wav(p, hours=10 if LONG else 2, rate_hz=22050, channels=1), OK),
    ("unknown-codec.m4a", unknown_codec, "unsupported-codec"),
    ("silent-video.mp4", silent_mp4, "no-audio"),
    ("playlist.mp3", lambda p: p.write_text("ffconcat version 1.0\nfile 'good.wav'\n" * 20), "not-audio"),
    ("segfault-x.wav", as_if("wav"), "decoder-crash"),
    ("abort-x.wav", as_if("wav"), "decoder-crash"),
    ("allocate-x.wav", as_if("wav"), "out-of-memory"),
    ("gone.wav", lambda p: None, "missing"),
    ("touch-x.wav", as_if("wav"), "changed-while-read"),
    ("8-channels.flac", sound(channels=8), OK),
    ("8-channels.opus", of_ffmpeg("libopus", "ogg", chirp(1.0, 48000, 8), mapping_family="255"), OK),
    ("ogg-flac.ogg", of_ffmpeg("flac", "ogg", chirp(1.0, 48000, 2)), OK),
    ("chained.ogg", chained, NOTED),
    ("two-streams.mka", of_ffmpeg("aac", "matroska", chirp(1.0, 48000), chirp(1.0, 48000), default=1), NOTED),
    ("behind-zeros.mp3", behind(b"ID3\x04\0\0\0\0\0\x20" + bytes(32 + 100_000)), OK),
    ("behind-junk.mp3", behind(b"?" * 100_000), NOTED),
    ("good.wav", sound(44100, 2), OK),
    ("good.mp3", as_if("mp3"), OK),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SongStore:
    """Return the store after a run over all of them."""
    folder = tmp_path_factory.mktemp("catalogue")
    with (folder / "songs.csv").open("w", newline="") as file:
        manifest = csv.writer(file)
        manifest.writerow(["song_id", "path"])
        for name, make, _ in BAD_AUDIO:
            make(folder / name)
            manifest.writerow([name, name])
    faulty = Containment(reader="tests.support.decoder_faults:read")
    extract_inside(folder / "songs.csv", folder / "store", ExtractConfig(workers=1), SPEC, containment=faulty)
    return SongStore.open(folder / "store")


@pytest.mark.fault(
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    20,
    21,
    22,
    23,
    24,
    25,
    26,
    27,
    28,
    89,
    90,
    91,
    92,
    93,
)
@pytest.mark.parametrize(("name", "expected"), [(name, expected) for name, _, expected in BAD_AUDIO])
def test_a_bad_file_fails_or_is_used_as_its_fault_allows(store: SongStore, name: str, expected: str) -> None:
    row: dict[str, Any] = store.index(arrow=True).filter(pc.field("song_id") == name).to_pylist()[0]
    if not expected.startswith(OK):
        assert (row["status"], row["error_code"], row["n_windows"]) == ("failed", expected, 0)
        assert row["error"]
        return
    assert (row["status"], row["error"]) == ("ok", None)
    assert (bool(row["truncated"]), bool(row["padded"])) == (expected == FLAGGED, "padded" in name)
    assert bool(row["audio_note"]) == (expected == NOTED)
    windows = store.windows(name)
    assert len(windows) == row["n_windows"] > 0
    assert np.isfinite(windows).all()


def test_every_reason_is_shown_with_its_own_remedy(store: SongStore) -> None:
    failed = {name: code for name, _, code in BAD_AUDIO if not code.startswith(OK)}
    text = failures_text(failures(store, arrow=True))
    for code in set(failed.values()):
        assert f"{code} ({list(failed.values()).count(code)}): {REMEDIES[code]}" in text
    assert all(f"  {name}: " in text for name in failed)
    assert store.sql("select distinct error_code from failures").size == len(set(failed.values()))
