from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from songbag_training.dividing import split_songs
from songbag_training.errors import DamagedRun, LabelError, LeakError
from songbag_training.grouping import n_duplicates
from songbag_training.labels import read_labels
from songbag_training.splits import PARTS, Split, check_leaks


def _songs(labels: list[object], kind: pa.DataType | None = None, contents: list[str | None] | None = None) -> pa.Table:
    ids = [f"s{row:03}" for row in range(len(labels))]
    digests = pa.array(contents or [None] * len(ids), pa.string())
    return pa.table({"song_id": ids, "genre": pa.array(labels, kind), "content_sha256": digests})


def _split(songs: pa.Table, seed: int = 0) -> Split:
    return split_songs(read_labels(songs, "genre"), "genre", seed=seed)


def test_every_class_is_divided_70_15_15() -> None:
    split = _split(_songs(["a"] * 40 + ["b"] * 20))
    counts = Counter(zip(split.labels, split.parts, strict=True))
    assert [counts["a", part] for part in PARTS] == [28, 6, 6]
    assert [counts["b", part] for part in PARTS] == [14, 3, 3]


@pytest.mark.parametrize("n", range(3, 30))
def test_every_class_appears_in_every_part(n: int) -> None:
    split = _split(_songs(["a"] * n + ["b"] * 3))
    assert set(zip(split.labels, split.parts, strict=True)) == {(name, part) for name in "ab" for part in PARTS}


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_the_rows() -> None:
    songs = _songs(["a", "b"] * 20)
    backwards = songs.take(list(reversed(range(40))))
    assert _split(songs) == _split(backwards)
    assert _split(songs).digest != _split(songs, seed=1).digest


def test_byte_identical_recordings_stay_in_one_part() -> None:
    contents = [f"content-{row // 3}" for row in range(60)]
    songs = _songs(["a"] * 30 + ["b"] * 30, contents=contents)
    split = _split(songs)
    check_leaks(split, songs)
    parts_of = {content: set[str]() for content in contents}
    for content, part in zip(contents, split.parts, strict=True):
        parts_of[content].add(part)
    assert all(len(parts) == 1 for parts in parts_of.values())
    assert n_duplicates(songs) == 40


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
