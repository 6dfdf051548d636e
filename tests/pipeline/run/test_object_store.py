"""Extraction into a bucket of a real S3 server, by worker processes that are told how to reach it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from songbag_pipeline import ExtractConfig, Summary, extract, relabel_from_tags
from songbag_pipeline.errors import ManifestError, SongError, SongsChanged, SourceError
from songbag_pipeline.run import batch as batches
from songbag_pipeline.songs.direct import features_of
from songbag_pipeline.sources.bucket import local_copy
from songbag_pipeline.sources.source import read_source
from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import StoreUnavailable
from songbag_store.format.array import decode
from songbag_store.progress import Silent
from songbag_store.storage.location import Location
from songbag_store.writer import open_for_writing
from tests.support import objects
from tests.support.audio import chirp, write
from tests.support.command import songbag_here
from tests.support.faulty_proxy import FaultyProxy, times
from tests.support.tagged import flac, plain_audio

SPEC = FeatureSpec(window_s=0.5, n_mels=40)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        write(tmp_path / "songs" / f"{number}.wav", chirp(1.0 + number / 2, seed=number))
    (tmp_path / "songs" / "broken.mp3").write_bytes(b"")
    return tmp_path / "songs"


Run = Callable[..., Summary]


@pytest.fixture
def run(standing_cluster: Path) -> Run:
    """Extract on two workers that stay from test to test."""

    def run(source: Path | Location, store: Location | Path, **more: Any) -> Summary:
        config = ExtractConfig(scheduler_file=standing_cluster, **more)
        return extract(source, store, SPEC, config, progress=Silent())

    return run


def test_songs_go_into_a_bucket_once_and_are_the_same_as_without_a_store(
    folder: Path, s3_url: str, s3_endpoint: str, run: Run
) -> None:
    bucket = Location(s3_url, objects.options(s3_endpoint))
    first = run(folder, bucket, limit=4)
    second = run(folder, bucket)
    third = run(folder, bucket)
    assert (first.n_stored, second.n_stored, third.n_stored) == (4, 2, 0)
    assert (first.n_failed + second.n_failed, third.n_failed_before) == (1, 1)
    store = SongStore.open(bucket)
    for song in features_of(folder, SPEC):
        if song.windows is not None:
            np.testing.assert_array_equal(store.windows(song.song_id), decode(song.windows, SPEC))


@pytest.mark.fault(50)
def test_a_run_ends_clearly_when_the_bucket_goes_away_and_the_next_takes_over_what_was_finished(
    folder: Path, s3_url: str, s3_endpoint: str, run: Run
) -> None:
    with FaultyProxy(s3_endpoint) as proxy:
        options = objects.options(proxy.url, patience_s="0.5")
        open_for_writing(Location(s3_url, options), SPEC)
        # The first part is written; from then on there is nobody.
        proxy.rule = lambda method, path: (
            "refuse" if any(asked == "PUT" and ".parquet" in key for asked, key, _ in proxy.requests) else None
        )
        with pytest.raises(StoreUnavailable, match="Run the same command again"):
            run(folder, Location(s3_url, options))
    summary = run(folder, Location(s3_url, objects.options(s3_endpoint)))
    assert summary.n_adopted > 0
    assert summary.n_adopted + summary.n_stored + summary.n_failed == 7


def test_every_command_reaches_a_bucket_by_its_options(folder: Path, s3_url: str, s3_endpoint: str) -> None:
    options = [f"--storage-option={key}={value}" for key, value in objects.options(s3_endpoint).items()]

    def songbag(*arguments: str) -> str:
        done = songbag_here(*arguments, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = songbag("extract", str(folder), s3_url, "--window", "0.5", "--workers", "1")
    assert "6 songs stored, 1 failed" in said
    assert json.loads(songbag("info", s3_url, "--json"))["songs"] == 6
    assert "6" in songbag("query", s3_url, "select count(*) from songs")
    assert "empty-file" in songbag("failures", s3_url)


def test_the_environment_and_a_profile_say_how_to_reach_a_bucket(
    s3_url: str, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = objects.options(s3_endpoint)
    open_for_writing(Location(s3_url, options), SPEC)
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
    assert SongStore.open(Location(s3_url, {"profile": "studio"})).spec == SPEC
    monkeypatch.setenv("AWS_PROFILE", "studio")
    assert SongStore.open(s3_url).spec == SPEC


def test_a_jobs_credentials_are_not_shown() -> None:
    job = batches.Job(
        Location("s3://b/x", {"secret_access_key": "hidden"}), "0" * 32, SPEC, "run", source_options={"key": "hidden"}
    )
    assert "hidden" not in repr(job)


ODD_NAMES = [
    "a b.wav",
    "\u00fc.wav",
    "#1.wav",
    "100%.wav",
    "x~y.wav",
    "[x]*.wav",
    "a?b=c&d+e.wav",
    "%41.wav",
    "\U0001f3b5.wav",
]


def put(url: str, endpoint: str, songs: dict[str, bytes]) -> str:
    """Put files beside the store of a test with a client that is not songbag's; return their address."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    prefix = url.removeprefix(f"s3://{objects.BUCKET}/").removesuffix("store") + "music"
    for name, data in songs.items():
        client.put_object(Bucket=objects.BUCKET, Key=f"{prefix}/{name}", Body=data)
    return f"s3://{objects.BUCKET}/{prefix}"


def test_songs_of_a_bucket_are_the_same_as_those_of_a_folder(
    folder: Path, s3_url: str, s3_endpoint: str, tmp_path: Path, run: Run
) -> None:
    files = {f"album/{path.name}": path.read_bytes() for path in folder.iterdir()}
    hidden = dict.fromkeys(
        (".Trash/1.wav", "album/#recycle/2.wav", "album/._0.wav", "live/3.wav"), files["album/0.wav"]
    )
    music = put(s3_url, s3_endpoint, {**files, **hidden, "cover.jpg": b"x"})
    options = objects.options(s3_endpoint)

    def again(**more: bool) -> Summary:
        source = Location(music, options)
        return run(source, tmp_path / "store", label_from_folder=True, exclude=("live",), **more)

    first = again()
    assert (first.n_stored, first.n_failed) == (6, 1)
    assert first.warnings == (
        "hidden, trash, version and system entries left out: 3 (.Trash/1.wav, album/#recycle/2.wav, album/._0.wav);"
        " `hidden=True` takes them",
        "entries that `exclude` names left out: 1 (live/3.wav)",
        "files without the suffix of an audio file left out: 1 (.jpg)",
    )
    assert (again().n_known, again().n_failed_before) == (6, 1)
    store = SongStore.open(tmp_path / "store")
    assert set(store.songs()["label"]) == {"album"}
    assert store.songs()["path"].str.startswith(music).all()
    for song in features_of(folder, SPEC):
        if song.windows is not None:
            np.testing.assert_array_equal(store.windows(f"album/{song.song_id}"), decode(song.windows, SPEC))
    put(s3_url, s3_endpoint, {"album/0.wav": files["album/5.wav"]})
    with pytest.raises(SongsChanged, match=r"album/0\.wav"):
        again()
    assert again(update_changed=True).n_stored == 1


def test_objects_of_any_name_are_found_and_fetched(s3_url: str, s3_endpoint: str) -> None:
    music = put(s3_url, s3_endpoint, {name: name.encode() for name in ODD_NAMES})
    options = objects.options(s3_endpoint)
    songs = read_source(Location(music, options)).songs
    assert sorted(songs["song_id"].to_pylist()) == sorted(ODD_NAMES)
    for song_id, path in zip(songs["song_id"].to_pylist(), songs["path"].to_pylist(), strict=True):
        with local_copy(path, options) as copy:
            assert Path(copy).read_bytes() == song_id.encode()


def test_a_manifest_in_a_bucket_names_songs_beside_it_elsewhere_and_missing(
    folder: Path, s3_url: str, s3_endpoint: str
) -> None:
    text = f"path,genre\nhere.wav,rock\n{folder}/1.wav,jazz\ngone.wav,rock\n"
    files = {"here.wav": (folder / "0.wav").read_bytes(), "list.csv": text.encode()}
    music = put(s3_url, s3_endpoint, files)
    options = objects.options(s3_endpoint)
    songs = read_source(Location(f"{music}/list.csv", options)).songs
    assert songs["path"].to_pylist() == [f"{music}/here.wav", f"{folder}/1.wav", f"{music}/gone.wav"]
    assert songs["file_bytes"].to_pylist() == [len(files["here.wav"]), (folder / "1.wav").stat().st_size, None]
    assert songs["genre"].to_pylist() == ["rock", "jazz", "rock"]
    with pytest.raises(SongError, match="no such object"), local_copy(f"{music}/gone.wav", options):
        pass
    put(s3_url, s3_endpoint, {"bad.csv": b"file\nx.wav\n"})
    with pytest.raises(ManifestError, match=r"bad\.csv: there is no column 'path'"):
        read_source(Location(f"{music}/bad.csv", options))
    with pytest.raises(SourceError, match=r"none\.csv: there is no such object"):
        read_source(Location(f"{music}/none.csv", options))
    with pytest.raises(SourceError, match="no song in it"):
        read_source(Location(f"{music}/nothing/here", options))


@pytest.mark.parametrize("fault", ["cut", "drop", "refuse", "503:SlowDown"])
def test_a_song_is_fetched_whole_over_broken_connections(s3_url: str, s3_endpoint: str, fault: str) -> None:
    data = bytes(range(256)) * 40_000
    music = put(s3_url, s3_endpoint, {"long.wav": data})
    with FaultyProxy(s3_endpoint) as proxy:
        proxy.rule = times(2, fault, "GET", "long.wav")
        with local_copy(f"{music}/long.wav", objects.options(proxy.url)) as copy:
            assert Path(copy).read_bytes() == data


def test_a_bucket_that_does_not_answer_is_no_fault_of_the_song(s3_url: str) -> None:
    options = objects.options("http://127.0.0.1:9", patience_s="0.2")
    with pytest.raises(StoreUnavailable, match="does not answer"), local_copy(f"{s3_url}/x.wav", options):
        pass


def test_tags_of_songs_in_a_bucket_are_read_at_once_or_later(
    s3_url: str, s3_endpoint: str, tmp_path: Path, run: Run
) -> None:
    audio, options = plain_audio("FLAC"), objects.options(s3_endpoint)
    songs = {f"{name}.flac": flac(audio, b"ARTIST=" + name.encode()) for name in "ab"}
    source = Location(put(s3_url, s3_endpoint, songs), options)
    run(source, tmp_path / "at-once", tags=True)
    run(source, tmp_path / "later")
    put(s3_url, s3_endpoint, {"b.flac": flac(audio, b"ARTIST=another")})
    later = relabel_from_tags(Location(str(tmp_path / "later"), options), progress=Silent())
    assert SongStore.open(tmp_path / "at-once").index()["artist"].tolist() == ["a", "b"]
    assert later.store.index(arrow=True)["artist"].to_pylist() == ["a", None]
    assert (later.n_filled, later.gone, later.changed, later.unreadable) == (1, (), ("b.flac",), ())
