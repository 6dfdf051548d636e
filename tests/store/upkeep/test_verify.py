from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import read_part
from songbag_store.upkeep.verify import Damage, repair, report, verify
from songbag_store.writer import commit_change, commit_parts, open_for_writing
from tests.support.command import songbag_here as songbag
from tests.support.documents import edit_document
from tests.support.stores import fail, fill, sixteenths

SHAPE = FeatureSpec().window_shape


@pytest.fixture
def store(tmp_path: Path, rng: np.random.Generator) -> SongStore:
    """Songs of 2 windows in shards of 4: a and b in the first, c and d in the second; e in a fragment of its own."""
    store = open_for_writing(tmp_path / "store", FeatureSpec())
    for names in ("abcd", "e"):
        songs = {name: sixteenths(rng, 2, SHAPE) for name in names}
        fragment = fill(store, songs, shard_bytes=4 * FeatureSpec().window_bytes)
        part = read_part(store.inside.storage, store.uuid, store.spec, fragment)
        store = commit_parts(store, {fragment: part})
    return store


def shard(store: SongStore, number: int) -> Path:
    fragment = store.index(arrow=True)["fragment"][0].as_py()
    return Path(store.address, "features.zarr", fragment, "c", str(number), "0", "0")


def hit(damages: list[Damage]) -> set[str]:
    return {song_id for damage in damages for song_id in damage.song_ids}


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("full", [False, True])
def test_a_whole_store_has_no_damage(store: SongStore, full: bool) -> None:
    assert verify(store, full=full) == []


@pytest.mark.fault(60, 61, 62)
@pytest.mark.parametrize(("keep", "said"), [(None, "is missing"), (0, "has 0 bytes instead"), (500, "has 500 bytes")])
def test_the_quick_way_finds_a_shard_missing_empty_or_cut_off_and_names_its_songs_alone(
    store: SongStore, keep: int | None, said: str
) -> None:
    path = shard(store, 1)
    data = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(data[:keep])
    damages = verify(store)
    assert [damage.key for damage in damages] == [path.relative_to(store.address).as_posix()]
    assert said in damages[0].what
    assert damages[0].song_ids == ("c", "d")


def test_the_full_way_finds_a_flipped_bit_that_sizes_do_not_show(store: SongStore) -> None:
    flip(shard(store, 0), 1000)
    assert verify(store) == []
    assert hit(verify(store, full=True)) == {"a", "b"}


def test_a_missing_part_hits_the_songs_of_its_fragment(store: SongStore) -> None:
    fragment = store.index(arrow=True)["fragment"][4].as_py()
    Path(store.address, "parts", f"{fragment}.parquet").unlink()
    (damage,) = verify(store)
    assert (damage.key, damage.what, damage.song_ids) == (f"parts/{fragment}.parquet", "is missing", ("e",))


def test_metadata_of_another_length_are_found_by_the_quick_way(store: SongStore) -> None:
    path = shard(store, 0).parents[3] / "zarr.json"
    text = path.read_text()
    path.write_text(text.replace("    8,", "    9,", 1))
    assert len(path.read_text()) == len(text)
    (damage,) = verify(store)
    assert "says 9 windows; its part has 8" in damage.what
    assert damage.song_ids == tuple("abcd")


def test_windows_that_do_not_add_up_to_the_index_are_found_by_the_full_way(store: SongStore) -> None:
    index = store.index(arrow=True)
    sums = [[x + 1 / 16 for x in s] if i == 2 else s for i, s in enumerate(index["feature_sum"].to_pylist())]
    index = index.set_column(
        index.schema.get_field_index("feature_sum"),
        "feature_sum",
        pa.array(sums, index.schema.field("feature_sum").type),
    )
    wrong = commit_change(store, lambda base: (index, base.parts), note="by hand")
    (damage,) = verify(wrong, full=True)
    assert "do not add up to its feature_sum" in damage.what
    assert damage.song_ids == ("c",)


def test_a_row_that_points_beyond_the_array_is_found_by_the_full_way(store: SongStore) -> None:
    index = store.index(arrow=True)
    moved = pc.if_else(pc.equal(index["song_id"], "d"), 7, index["row_start"])
    index = index.set_column(index.schema.get_field_index("row_start"), index.schema.field("row_start"), moved)
    wrong = commit_change(store, lambda base: (index, base.parts), note="by hand")
    (damage,) = verify(wrong, full=True)
    assert "the index points at 7 to 9" in damage.what
    assert damage.song_ids == ("d",)


def test_the_full_way_looks_at_the_snapshots_of_the_past(store: SongStore) -> None:
    flip(Path(store.address, "index", f"{1:020d}.parquet"), 700)
    assert verify(store) == []
    assert [d.key for d in verify(store, full=True)] == [f"index/{1:020d}.parquet"]


@pytest.mark.fault(102)
@pytest.mark.parametrize(
    ("changes", "full", "said"),
    [
        (None, False, "is damaged"),
        ({"snapshot": 7}, False, "pins snapshot 7, which is not there"),
        ({"sha256": "0" * 64}, False, "pins another snapshot 2 than the one that is there"),
        ({"snapshot": 1}, True, "pins another snapshot 1 than the one that is there"),
    ],
)
def test_a_tag_that_is_not_that_of_its_snapshot_is_found(
    store: SongStore, changes: dict[str, object] | None, full: bool, said: str
) -> None:
    store.tag("paper")
    path = Path(store.address, "tags", "paper.json")
    if changes is None:
        path.write_text("{}")
    else:
        edit_document(path, **changes)
    (damage,) = verify(store, full=full)
    assert (damage.key, said in damage.what) == ("tags/paper.json", True)


@pytest.mark.fault(102)
def test_metadata_of_the_group_that_are_not_as_written_are_found(store: SongStore) -> None:
    path = Path(store.address, "features.zarr", "zarr.json")
    path.write_bytes(path.read_bytes().replace(b"{}", b"{ }"))
    (damage,) = verify(store)
    assert (damage.key, damage.what) == ("features.zarr/zarr.json", "is not what songbag wrote")


@pytest.mark.fault(102)
def test_the_part_of_songs_that_failed_is_looked_at_by_the_full_way_and_repair_has_them_tried_again(
    store: SongStore,
) -> None:
    fragment = fail(store, ["bad", "worse"])
    store = commit_parts(store, {fragment: read_part(store.inside.storage, store.uuid, store.spec, fragment)})
    assert verify(store, full=True) == []
    flip(Path(store.address, "parts", f"{fragment}.parquet"), 99)
    (damage,) = verify(store, full=True)
    assert damage.song_ids == ("bad", "worse")
    after, n_removed = repair(store, full=True)
    assert (n_removed, verify(after, full=True)) == (2, [])


@pytest.mark.fault(102)
def test_a_part_that_waits_for_a_commit_is_looked_at_by_the_full_way(
    store: SongStore, rng: np.random.Generator
) -> None:
    fragment = fill(store, {"f": sixteenths(rng, 2, SHAPE)})
    assert verify(store, full=True) == []
    flip(Path(store.address, "features.zarr", fragment, "c", "0", "0", "0"), 99)
    assert [damage.key for damage in verify(store, full=True)] == [f"features.zarr/{fragment}/c/0/0/0"]
    flip(Path(store.address, "parts", f"{fragment}.parquet"), 99)
    (damage,) = verify(store, full=True)
    assert (damage.key, "next extract computes" in damage.what) == (f"parts/{fragment}.parquet", True)
    assert verify(store.at(1), full=True) == []


def test_a_lost_group_is_said_though_songbag_reads_without_it(store: SongStore) -> None:
    Path(store.address, "features.zarr", "zarr.json").unlink()
    (damage,) = verify(store)
    assert "other tools" in damage.what
    assert len(store.windows("a")) == 2


def test_repair_commits_a_snapshot_without_the_songs_hit_and_only_those(store: SongStore) -> None:
    shard(store, 1).unlink()
    after, n_removed = repair(store, verify(store))
    assert (n_removed, after.snapshot) == (2, store.snapshot + 1)
    assert set(dict(after.iter_windows())) == {"a", "b", "e"}
    again, n_removed = repair(after, verify(after))
    assert (again.snapshot, n_removed) == (after.snapshot, 0)


def test_repair_keeps_a_song_that_somebody_computed_anew_meanwhile(store: SongStore, rng: np.random.Generator) -> None:
    shard(store, 1).unlink()
    damages = verify(store)
    anew = sixteenths(rng, 3, SHAPE)
    fragment = fill(store, {"d": anew})
    rows = read_part(store.inside.storage, store.uuid, store.spec, fragment)
    old = store.index(arrow=True).filter(pc.field("song_id") == "d")["fragment"]
    commit_parts(store, {fragment: rows.set_column(rows.schema.get_field_index("replaces"), "replaces", old)})
    after, n_removed = repair(store, damages)
    assert n_removed == 1
    np.testing.assert_array_equal(after.windows("d"), anew)


def test_a_report_names_songs_without_control_characters() -> None:
    assert report([Damage("k", "is missing", (("a\x1b[31m", "f"),))]) == "k: is missing\n  song a\\x1b[31m"


def test_verify_and_repair_as_commands_exit_with_1_and_0(store: SongStore) -> None:
    assert songbag("verify", store.address, "--full").returncode == 0
    shard(store, 1).unlink()
    found = songbag("verify", store.address)
    assert found.returncode == 1
    assert "song c" in found.stdout
    assert "songbag repair" in found.stdout
    mended = songbag("repair", store.address)
    assert (mended.returncode, "2 songs left" in mended.stdout) == (0, True)
    assert songbag("verify", store.address).returncode == 0
    assert songbag("verify", store.address, "--snapshot", "2").returncode == 1


def test_the_command_that_repairs_can_be_typed_as_it_is_shown(store: SongStore) -> None:
    shard(store, 1).unlink()
    moved = Path(store.address).rename(Path(store.address).parent / "my $tore")
    found = songbag("verify", moved)
    assert shlex.split(found.stdout.splitlines()[-1])[-3:] == ["songbag", "repair", str(moved)]
