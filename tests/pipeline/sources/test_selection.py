"""What of a folder is taken: hidden and system entries, patterns, links."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from songbag_pipeline.errors import SourceError
from songbag_pipeline.run.config import ExtractConfig, selection_of
from songbag_pipeline.sources.selection import Selection, matches
from songbag_pipeline.sources.source import read_source
from songbag_store.errors import UsageError
from tests.pipeline.sources.test_sources import ids, touch

ALBUMS = ("..But Seriously", "...And Justice for All", "$O$", "#1 Record", "@", "~", "_", "Trash", "Vol. 2", "recycle")
HIDDEN = (".git/annex/objects/aa", ".stversions", ".Trash-1000/files", ".Trashes/501", ".zfs/snapshot/x", ".38 Special")
SYSTEM = ("$RECYCLE.BIN", "$Recycle.Bin/S-1", "RECYCLER", "System Volume Information", "lost+found", "@eaDir/x.mp3")
SYSTEM += ("#recycle", "#snapshot/a", "@Recycle", "~snapshot", "__MACOSX", "FOUND.000", "x.mp3.download")


@pytest.mark.fault(95)
def test_hidden_trash_version_and_system_entries_are_left_out_with_one_note(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{folder}/1.mp3" for folder in (*ALBUMS, *HIDDEN, *SYSTEM)))
    touch(tmp_path, "rock/._1.mp3", "rock/.nfs01.mp3", "rock/sub/@eaDir/1.mp3", "rock/~syncthing~2.mp3")
    source = read_source(tmp_path, Selection(), label_from_folder=True)
    assert ids(source) == sorted(f"{album}/1.mp3" for album in ALBUMS)
    assert set(source.songs["label"].to_pylist()) == set(ALBUMS)
    n_entries = len(HIDDEN) + len(SYSTEM) + 4
    (note,) = source.warnings
    assert note.startswith(f"hidden, trash, version and system entries left out: {n_entries} (#recycle, #snapshot, ")
    assert note.endswith("; `hidden=True` takes them")
    assert "`" not in read_source(tmp_path).warnings[0]


@pytest.mark.fault(95)
def test_hidden_takes_all_but_what_holds_no_audio(tmp_path: Path) -> None:
    names = [f"{folder}/1.mp3" for folder in (*HIDDEN, *SYSTEM)]
    touch(tmp_path, *names, "rock/._1.mp3")
    source = read_source(tmp_path, Selection(hidden=True))
    assert ids(source) == sorted(names)
    assert source.warnings == ("AppleDouble files (._name), which hold no audio, left out: 1 (rock/._1.mp3)",)


@pytest.mark.fault(95)
def test_the_source_itself_may_be_hidden(tmp_path: Path) -> None:
    touch(tmp_path, ".cache/@eaDir/music/rock/1.mp3")
    assert ids(read_source(tmp_path / ".cache" / "@eaDir" / "music")) == ["rock/1.mp3"]


@pytest.mark.parametrize(
    ("pattern", "path", "matched"),
    [
        ("*.wav", "rock/a.wav", True),
        ("*.wav", "rock/a.WAV", False),
        ("demos", "rock/demos", True),
        ("demos/", "rock/demos", False),
        ("/demos", "demos", True),
        ("/demos", "rock/demos", False),
        ("rock/*", "rock/a.wav", True),
        ("rock/*", "rock/live/a.wav", False),
        ("rock/**", "rock/live/a.wav", True),
        ("**/live", "live", True),
        ("**/live", "rock/x/live", True),
        ("./rock/a?.wav", "rock/ab.wav", True),
        ("rock/?", "rock/ab", False),
        ("[!a-c].wav", "rock/d.wav", True),
        ("[!a-c].wav", "rock/b.wav", False),
        ("[1969] Abbey Road", "[1969] Abbey Road", True),
        ("[1969] Abbey Road", "1 Abbey Road", True),
        ("[2003-2001] Demos", "[2003-2001] Demos", True),
        ("[2003-2001] Demos", "2 Demos", True),
        ("[2003-2001] Demos", "- Demos", False),
        ("[z-a]", "m", False),
        ("[!z-a]", "m", True),
        ("[^a]", "^", True),
        ("[^a]", "b", False),
        ("[a&&b]", "&", True),
        ("[+--]", ",", True),
        ("[a-]", "-", True),
        ("[]a]", "]", True),
        ("[!]", "a", False),
        ("rock[!-0]a", "rock/a", False),
        ("rock[--0]/a", "rock//a", False),
        ("a[.wav", "a[.wav", True),
        ("a(b|c).wav", "ab.wav", False),
        ("a\\d", "a\\d", True),
        ("caf\u00e9*", "rock/cafe\u0301.wav", True),
        ("*", "new\nline", True),
    ],
)
def test_a_pattern_names_names_or_with_a_slash_paths(pattern: str, path: str, matched: bool) -> None:
    assert matches(pattern, path.rpartition("/")[2], path, is_folder=False) is matched


@pytest.mark.fault(95)
def test_what_a_pattern_names_goes_with_all_below_it_and_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3", "a.wav", "demos/1.mp3", "rock/demos/x/2.mp3", "rock/live/3.mp3", "rock/live/4.mp3")
    chosen = selection_of(ExtractConfig(exclude=["*.wav", "demos/", "rock/live/4*", "nothing"]))  # type: ignore[arg-type]
    source = read_source(tmp_path, chosen)
    assert ids(source) == ["a.mp3", "rock/live/3.mp3"]
    assert source.warnings == (
        "entries that `exclude` names left out: 4 (a.wav, demos, rock/demos, ...)",
        "the pattern 'nothing' of `exclude` names nothing in the source",
    )
    assert ExtractConfig(exclude="*.wav").exclude == ("*.wav",)  # type: ignore[arg-type]


def test_an_empty_pattern_and_a_pattern_for_a_manifest_are_refused(tmp_path: Path) -> None:
    for pattern in ("", "/", "./"):
        with pytest.raises(UsageError, match="names nothing"):
            ExtractConfig(exclude=(pattern,))
    with pytest.raises(UsageError, match="any number of texts"):
        ExtractConfig(exclude=(1,))  # type: ignore[arg-type]
    (tmp_path / "list.csv").write_text("path\na.mp3\n")
    with pytest.raises(UsageError, match="`exclude` is for folders"):
        read_source(tmp_path / "list.csv", Selection(exclude=("*.wav",)))


def link(path: Path, target: str | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.fault(96)
def test_a_folder_of_links_that_lead_out_says_what_follows_them(tmp_path: Path) -> None:
    touch(tmp_path, "hub/blobs/1f", "hub/blobs/2e", "elsewhere/rock/3.mp3")
    songs = tmp_path / "hub" / "snapshots"
    link(songs / "a.mp3", "../blobs/1f")
    link(songs / "b.mp3", tmp_path / "hub" / "blobs" / "2e")
    link(songs / "more", tmp_path / "elsewhere")
    with pytest.raises(SourceError, match=r"no song in it; links out .*: 2 \(a.mp3, b.mp3\); `follow_links=True`"):
        read_source(songs, Selection())
    source = read_source(songs, Selection(follow_links=True), label_from_folder=True)
    assert dict(zip(ids(source), source.songs["label"].to_pylist(), strict=True)) == {
        "a.mp3": None,
        "b.mp3": None,
        "more/rock/3.mp3": "more",
    }
    assert source.songs["path"][2].as_py() == str(songs / "more" / "rock" / "3.mp3")
    assert source.songs["file_bytes"].to_pylist() == [10, 10, 10]
    assert source.warnings == ()


@pytest.mark.fault(96)
def test_loops_end_and_what_is_there_twice_is_said(tmp_path: Path) -> None:
    music = tmp_path / "music"
    touch(tmp_path, "music/rock/1.mp3", "music/jazz/2.mp3", "beside/3.mp3", "outside/deep/4.mp3")
    link(music / "rock" / "up", "..")
    link(music / "self", "self")
    link(music / "above", tmp_path)
    link(music / "root", "/")
    link(music / "best" / "jazz", music / "jazz")
    link(music / "best" / "one.mp3", music / "rock" / "1.mp3")
    link(music / "in", tmp_path / "outside")
    link(music / "in2", tmp_path / "outside" / "deep")
    link(music / "x1.mp3", tmp_path / "beside" / "3.mp3")
    link(music / "x2.mp3", tmp_path / "beside" / "3.mp3")
    link(tmp_path / "outside" / "deep" / "back", music)
    source = read_source(music, Selection(follow_links=True))
    songs = ["best/one.mp3", "in/deep/4.mp3", "jazz/2.mp3", "rock/1.mp3", "x1.mp3", "x2.mp3"]
    assert ids(source) == songs
    _, taken, twice = source.warnings
    assert "or that links lead back to, left out: 6 (above, best/jazz, in/deep/back, ...)" in taken
    assert "with another name here: 3" in twice


@pytest.mark.fault(96)
def test_links_between_many_folders_do_not_multiply(tmp_path: Path) -> None:
    for number in range(12):
        touch(tmp_path, f"{number}/song.mp3")
        for other in range(12):
            link(tmp_path / str(number) / f"to-{other}", tmp_path / str(other))
    assert len(ids(read_source(tmp_path, Selection(follow_links=True)))) == 12


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3", "closed/b.mp3")
    (tmp_path / "closed").chmod(0)
    source = read_source(tmp_path)
    (tmp_path / "closed").chmod(0o755)
    assert source.warnings == ("folders that may not be read, or are gone, left out: 1 (closed)",)


def test_a_folder_that_cannot_be_listed_is_an_error_and_can_be_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3")
    folder, name = os.open(tmp_path, os.O_RDONLY), "x" * 250
    for _ in range(20):  # longer than any path may be
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    with pytest.raises(SourceError, match=r"cannot be listed \(File name too long\)"):
        read_source(tmp_path)
    assert ids(read_source(tmp_path, Selection(exclude=(name,)))) == ["a.mp3"]
    shutil.rmtree(tmp_path)
