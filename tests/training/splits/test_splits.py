from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from songbag_store.errors import UsageError
from songbag_store.format.sealed import Sealed, seal
from songbag_training.errors import DamagedRun, LabelError, LeakError, SplitMismatch
from songbag_training.songs.labels import read_labels
from songbag_training.splits.balance import format_balance
from songbag_training.splits.copies import CopiedSongs, CopyCounts
from songbag_training.splits.deal import make_split
from songbag_training.splits.split import SUBSETS, Split, apply_split, check_leaks


def _songs(labels: list[object], kind: pa.DataType | None = None, contents: list[str | None] | None = None) -> pa.Table:
    ids = [f"s{row:03}" for row in range(len(labels))]
    digests = pa.array(contents or [None] * len(ids), pa.string())
    return pa.table({"song_id": ids, "genre": pa.array(labels, kind), "content_sha256": digests})


def _split(songs: pa.Table, seed: int = 0) -> Split:
    return make_split(read_labels(songs, "genre"), "genre", seed=seed)


def test_every_class_is_divided_70_15_15() -> None:
    split = _split(_songs(["a"] * 40 + ["b"] * 20))
    counts = Counter(zip(split.labels, split.subsets, strict=True))
    assert [counts["a", subset] for subset in SUBSETS] == [28, 6, 6]
    assert [counts["b", subset] for subset in SUBSETS] == [14, 3, 3]


@pytest.mark.parametrize("n", range(3, 30))
def test_every_class_appears_in_every_subset(n: int) -> None:
    split = _split(_songs(["a"] * n + ["b"] * 3))
    assert set(zip(split.labels, split.subsets, strict=True)) == {(name, subset) for name in "ab" for subset in SUBSETS}


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_the_rows() -> None:
    songs = _songs(["a", "b"] * 20)
    backwards = songs.take(list(reversed(range(40))))
    assert _split(songs) == _split(backwards)
    assert _split(songs).digest != _split(songs, seed=1).digest


@pytest.mark.fault(32)
def test_byte_identical_recordings_stay_in_one_part() -> None:
    contents = [f"content-{row // 3}" for row in range(60)]
    songs = _songs(["a"] * 30 + ["b"] * 30, contents=contents)
    split = _split(songs)
    check_leaks(split, songs)
    subsets_of = {content: set[str]() for content in contents}
    for content, subset in zip(contents, split.subsets, strict=True):
        subsets_of[content].add(subset)
    assert all(len(subsets) == 1 for subsets in subsets_of.values())
    assert CopiedSongs.of(split, songs).counts() == CopyCounts(bytes=40, audio=0, alike=0)


def test_a_copy_on_the_other_side_is_a_leak_named_by_its_songs() -> None:
    songs = _songs(["a", "a"], contents=["same", "same"])
    with pytest.raises(LeakError, match="'s000', 's001'"):
        check_leaks(Split(("s000", "s001"), ("a", "a"), ("train", "test")), songs)


def test_a_song_listed_twice_is_a_leak() -> None:
    with pytest.raises(LeakError, match="more than once: 's000'"):
        check_leaks(Split(("s000", "s000"), ("a", "a"), ("train", "test")), _songs(["a"]))


def test_a_written_split_is_read_back_with_its_digest(tmp_path: Path) -> None:
    split = _split(_songs(["a", "b"] * 6))
    split.write(tmp_path / "split.parquet")
    read = Split.read(tmp_path / "split.parquet")
    assert (read, read.digest) == (split, split.digest)


def test_a_file_that_is_no_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "split.parquet").write_bytes(b"PAR1")
    with pytest.raises(DamagedRun, match="not a split"):
        Split.read(tmp_path / "split.parquet")


def test_a_split_of_songs_of_several_classes_is_written_and_read_back(tmp_path: Path) -> None:
    split = Split(("s0", "s1", "s2"), (("a", "b"), (), ("b",)), ("train", "validation", "test"))
    split.write(tmp_path / "split.parquet")
    read = Split.read(tmp_path / "split.parquet")
    assert (read, read.digest) == (split, split.digest)


def test_a_class_of_one_song_is_named_with_its_count() -> None:
    with pytest.raises(LabelError, match=r"label column 'genre': too few .*: 'b' has 1\.\n  Each class needs 3"):
        _split(_songs(["a"] * 9 + ["b"]))


def test_copies_do_not_make_a_class_large_enough() -> None:
    with pytest.raises(LabelError, match="'b' has 1"):
        _split(_songs(["a"] * 4 + ["b"] * 4, contents=[None] * 4 + ["same"] * 4))


def _grouped(labels: list[object], **columns: list[object]) -> pa.Table:
    songs = _songs(labels)
    for name, values in columns.items():
        songs = songs.append_column(name, pa.array(values))
    return songs


def _sides(split: Split, values: list[object]) -> dict[object, set[str]]:
    sides: dict[object, set[str]] = {}
    for value, subset in zip(values, split.subsets, strict=True):
        sides.setdefault(value, set()).add(subset)
    return sides


def test_songs_of_one_artist_stay_on_one_side() -> None:
    artists = [f"artist {row // 4}" for row in range(120)]
    songs = _grouped(["a", "b"] * 60, artist=artists)
    split = make_split(read_labels(songs, "genre"), "genre", seed=0, group=["artist"])
    assert all(len(subsets) == 1 for subsets in _sides(split, list(artists)).values())
    assert split.group == ("artist",)
    counts = split.counts()
    assert counts["test"] == pytest.approx(18, abs=4)
    assert counts["validation"] == pytest.approx(18, abs=4)


def test_groups_that_hang_together_by_chains_stay_on_one_side() -> None:
    # The same artist on two albums, a guest on a third, and a copy of a song by somebody else.
    songs = _grouped(
        ["a", "b"] * 20,
        artists=[["x"], ["x", "y"], ["y"], ["z"]] + [[f"p{row}"] for row in range(36)],
        album=["1", "2", "3", "4"] + [None, ""] * 18,
    )
    songs = songs.set_column(2, "content_sha256", pa.array(["same" if row in (2, 3) else None for row in range(40)]))
    split = make_split(read_labels(songs, "genre"), "genre", folds=4, seed=3, group=["artists", "album"])
    assert len(set(split.subsets[:4])) == 1
    # Neither null nor empty text holds songs together.
    assert len(set(split.subsets[4:])) == 4


@given(data=st.data())
@settings(max_examples=60)
def test_any_division_keeps_units_whole_and_classes_in_every_subset(data: st.DataObject) -> None:
    n_classes, n_folds = data.draw(st.integers(2, 5)), data.draw(st.integers(2, 6))
    sizes = data.draw(st.lists(st.integers(n_folds, 40), min_size=n_classes, max_size=n_classes))
    labels = [f"c{number}" for number, size in enumerate(sizes) for _ in range(size)]
    songs = _songs(list(labels))
    split = make_split(read_labels(songs, "genre"), "genre", folds=n_folds, seed=data.draw(st.integers(0, 9)))
    for number, size in enumerate(sizes):
        counts = Counter(subset for subset, label in zip(split.subsets, labels, strict=True) if label == f"c{number}")
        assert set(counts) == set(split.names)
        assert max(counts.values()) - min(counts.values()) <= 1, (size, counts)
    totals = Counter(split.subsets)
    assert max(totals.values()) - min(totals.values()) <= 1


def test_songs_of_several_classes_have_their_classes_in_every_subset() -> None:
    rng = np.random.default_rng(0)
    names = [[name for name in "abcde" if rng.random() < 0.1 + 0.15 * "abcde".index(name)] for _ in range(300)]
    labels = read_labels(_songs(list(names)), "genre")
    split = make_split(labels, "genre", folds=5, seed=0)
    for name in "abcde":
        own = [subset for subset, has in zip(split.subsets, names, strict=True) if name in has]
        counts = Counter(own)
        assert max(counts.values()) - min(counts.values()) <= 2, (name, counts)
    assert max(Counter(split.subsets).values()) - min(Counter(split.subsets).values()) <= 2


def test_folds_are_taken_from_a_column_and_ordered_by_number() -> None:
    songs = _grouped(["a", "b"] * 6, fold=[10, 10, 2, 2, 1, 1] * 2)
    split = make_split(read_labels(songs, "genre"), "genre", fold_column="fold")
    assert (split.is_folds, split.names) == (True, ["1", "2", "10"])
    assert split.fold("2").counts() == {"train": 8, "validation": 0, "test": 4}


def test_parts_may_be_given_by_a_column() -> None:
    songs = _grouped(["a", "b"] * 3, official=["train", "train", "validation", "validation", "test", "test"])
    split = make_split(read_labels(songs, "genre"), "genre", fold_column="official")
    assert not split.is_folds
    assert split.counts() == {"train": 2, "validation": 2, "test": 2}


def test_songs_without_a_given_fold_are_named() -> None:
    songs = _grouped(["a", "b"] * 2, fold=["1", "2", None, " "])
    with pytest.raises(UsageError, match="2 labelled songs have no fold in 'fold': 's002', 's003'"):
        make_split(read_labels(songs, "genre"), "genre", fold_column="fold")


def test_a_changed_file_is_refused_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "split.parquet"
    _split(_songs(["a", "b"] * 6)).write(path)
    table = pq.read_table(path)
    facts = Sealed(path.read_bytes(), key=path.name, place="").facts
    subsets = ["test" if subset == "train" else "train" for subset in table["part"].to_pylist()]
    changed = table.set_column(2, "part", pa.array(subsets, pa.string()))
    pq.write_table(changed, path)
    with pytest.raises(DamagedRun, match="cut off or not a file of songbag"):
        Split.read(path)
    path.write_bytes(seal(changed, facts))
    with pytest.raises(DamagedRun, match="another digest"):
        Split.read(path)


def test_a_saved_split_is_used_for_other_labels_of_the_same_songs() -> None:
    songs = _songs(["a", "b"] * 10)
    saved = _split(songs)
    now = songs.slice(0, 18).append_column("mood", pa.array(["calm", "wild", "calm"] * 6))
    labels, applied = apply_split(saved, read_labels(now, "mood"), songs)
    assert applied.song_ids == saved.song_ids[:18]
    assert applied.subsets == saved.subsets[:18]
    assert applied.labels == tuple(labels.names) == ("calm", "wild", "calm") * 6


def test_a_store_without_songs_of_the_split_is_refused_and_they_are_named() -> None:
    songs = _songs(["a", "b"] * 10)
    saved, left = _split(songs), songs.slice(2)
    with pytest.raises(SplitMismatch, match="no features of 2 songs of the split: 's000', 's001'"):
        apply_split(saved, read_labels(left, "genre"), left)


def test_a_group_that_has_come_to_be_on_two_sides_is_a_leak_when_the_split_is_used_again() -> None:
    artists: list[object] = [f"artist {row // 2}" for row in range(40)]
    songs = _grouped(["a", "b"] * 20, artist=artists)
    saved = make_split(read_labels(songs, "genre"), "genre", seed=0, group=["artist"])
    first = saved.subsets.index("train")
    artists[saved.subsets.index("test")] = artists[first]
    corrected = songs.set_column(3, "artist", pa.array(artists))
    with pytest.raises(LeakError, match=f"songs of the same 'artist' are in two subsets: .*'s{first:03}'"):
        apply_split(saved, read_labels(corrected, "genre"), corrected)


def test_the_balance_is_a_table_of_classes_and_parts() -> None:
    text = format_balance(_split(_songs(["a"] * 40 + ["b"] * 20)), ["a", "b"])
    assert [line.split() for line in text.splitlines()] == [
        ["class", "train", "validation", "test"],
        ["a", "28", "6", "6"],
        ["b", "14", "3", "3"],
        ["songs", "42", "9", "9"],
    ]


def test_a_hundred_thousand_songs_are_divided_evenly() -> None:
    n = 100_000
    songs = _grouped([f"c{row % 30}" for row in range(n)], artist=[f"artist {row // 9}" for row in range(n)])
    songs = songs.set_column(0, "song_id", pa.array([f"s{row:06}" for row in range(n)]))
    split = make_split(read_labels(songs, "genre"), "genre", folds=5, seed=0, group=["artist"])
    counts = split.counts().values()
    assert max(counts) - min(counts) < 0.001 * n
