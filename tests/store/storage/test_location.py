"""A location: one value, made from whatever a user gives, and read from the options of a command line."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from songbag_store import FeatureSpec
from songbag_store.errors import UsageError
from songbag_store.storage.folder import LocalStorage
from songbag_store.storage.location import Location, parse_size
from songbag_store.writer import open_for_writing


def test_a_location_is_made_of_a_text_a_path_a_location_and_an_open_store(tmp_path: Path) -> None:
    location = Location(str(tmp_path), {"region": "x"}, snapshot=3)
    assert Location.of(str(tmp_path)) == Location.of(tmp_path) == Location(str(tmp_path))
    assert Location(tmp_path).address == str(tmp_path)  # type: ignore[arg-type]
    assert Location.of(location) is location
    assert Location.of(location, 4) == Location(str(tmp_path), {"region": "x"}, snapshot=4)
    store = open_for_writing(location, FeatureSpec())
    assert Location.of(store) is location


def test_a_relative_folder_becomes_absolute_and_an_address_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Location("a/b", {"k": "v"}).absolute() == Location(os.path.join(tmp_path, "a", "b"), {"k": "v"})
    assert Location("s3://bucket/a").absolute() == Location("s3://bucket/a")


def test_a_location_travels_to_other_processes_and_never_shows_its_secrets() -> None:
    location = Location("s3://bucket/a", {"secret_access_key": "hidden"})
    assert pickle.loads(pickle.dumps(location)) == location  # noqa: S301 (made in this line)
    assert "hidden" not in f"{location} {location!r}"


def test_a_folder_is_reached_without_options(tmp_path: Path) -> None:
    storage = Location(str(tmp_path), {"region": "of the songs"}).storage()
    assert isinstance(storage, LocalStorage)


def test_the_options_of_a_command_line_make_a_location() -> None:
    parsed = Location.parse("s3://b/x", ["Region = eu", "endpoint=http://a=b"], 7, Path("/scratch"), "2 kB")
    assert parsed == Location("s3://b/x", {"region": " eu", "endpoint": "http://a=b"}, Path("/scratch"), 2000, 7)
    assert Location.parse("x") == Location("x")


@pytest.mark.parametrize("option", ["secret", "=secret"])
def test_an_option_without_a_key_is_refused_and_its_text_not_shown(option: str) -> None:
    with pytest.raises(UsageError, match="an option without '='") as caught:
        Location.parse("s3://b/x", [option])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "n_bytes"), [("50GB", 50 * 10**9), ("1.5 T", 15 * 10**11), ("4000", 4000), ("8kB", 8000)]
)
def test_sizes_are_written_as_people_write_them(text: str, n_bytes: int) -> None:
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "much", "-1GB", "1e9", "5 parsecs"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a size"):
        parse_size(text)


def test_an_address_of_a_file_and_the_home_folder_become_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for given, address in {
        "file:///music/a%20b": "/music/a b",
        "FILE://localhost/music": "/music",
        "file:/music": "/music",
        "~/music": "/home/me/music",
        "~": "/home/me",
        "music/~": "music/~",
        "file.csv": "file.csv",
    }.items():
        assert Location.of(given).address == address
    with pytest.raises(UsageError, match="names the machine 'server'"):
        Location("file://server/music")
