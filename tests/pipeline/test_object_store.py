"""Extraction into a bucket of a real S3 server, by worker processes that are told how to reach it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from songbag_pipeline import Summary, batches, extract
from songbag_pipeline.direct import features_of
from songbag_store import FeatureSpec, SongStore
from songbag_store.fragments import decode
from tests import objects
from tests.pipeline.conftest import chirp, write

SPEC = FeatureSpec(window_s=0.5, n_mels=40)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        write(tmp_path / "songs" / f"{number}.wav", chirp(1.0 + number / 2, seed=number))
    (tmp_path / "songs" / "broken.mp3").write_bytes(b"")
    return tmp_path / "songs"


def run(folder: Path, url: str, endpoint: str, **more: object) -> Summary:
    options = objects.options(endpoint)
    quiet = Console(quiet=True)
    return extract(folder, url, SPEC, workers=2, console=quiet, storage_options=options, **more)  # type: ignore[arg-type]


def test_songs_go_into_a_bucket_once_and_are_the_same_as_without_a_store(
    folder: Path, s3_url: str, s3_endpoint: str
) -> None:
    first = run(folder, s3_url, s3_endpoint, limit=4)
    second = run(folder, s3_url, s3_endpoint)
    third = run(folder, s3_url, s3_endpoint)
    assert (first.n_stored, second.n_stored, third.n_stored) == (4, 2, 0)
    assert (first.n_failed + second.n_failed, third.n_failed_before) == (1, 1)
    store = SongStore.open(s3_url, storage_options=objects.options(s3_endpoint))
    for song in features_of(folder, SPEC):
        if song.windows is not None:
            np.testing.assert_array_equal(store.windows(song.song_id), decode(song.windows))


def test_every_command_reaches_a_bucket_by_its_options(folder: Path, s3_url: str, s3_endpoint: str) -> None:
    options = [f"--storage-option={key}={value}" for key, value in objects.options(s3_endpoint).items()]

    def songbag(*arguments: str) -> str:
        command = [sys.executable, "-m", "songbag_store", *arguments, *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    said = songbag("extract", str(folder), s3_url, "--window", "0.5", "--workers", "1")
    assert "6 songs stored, 1 failed" in said
    assert json.loads(songbag("info", s3_url, "--json"))["songs"] == 6
    assert "6" in songbag("query", s3_url, "select count(*) from songs")
    assert "empty-file" in songbag("failures", s3_url)


def test_the_environment_and_a_profile_say_how_to_reach_a_bucket(
    s3_url: str, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = objects.options(s3_endpoint)
    SongStore.open_for_writing(s3_url, SPEC, storage_options=options)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    assert SongStore.open(s3_url).spec == SPEC
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text("[studio]\naws_access_key_id = test\naws_secret_access_key = test\n")
    (tmp_path / "config").write_text(f"[profile studio]\nregion = us-east-1\nendpoint_url = {s3_endpoint}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert SongStore.open(s3_url, storage_options={"profile": "studio"}).spec == SPEC
    monkeypatch.setenv("AWS_PROFILE", "studio")
    assert SongStore.open(s3_url).spec == SPEC


def test_a_jobs_credentials_are_not_shown() -> None:
    job = batches.Job("s3://b/x", SPEC, "run", {"secret_access_key": "hidden"})
    assert "hidden" not in repr(job)
