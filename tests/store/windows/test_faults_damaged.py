"""Damaged, foreign and hostile stores: every fault ends in `DamagedStore` with key and songs."""

from __future__ import annotations

import dataclasses
import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import read_part
from songbag_store.errors import DamagedStore, NewerFormat, StoreInTheWay, StoreNotFound
from songbag_store.format.check import check_index
from songbag_store.format.facts import SnapshotFacts
from songbag_store.format.index import index_schema
from songbag_store.format.keys import snapshot_key
from songbag_store.format.sealed import Sealed, seal
from songbag_store.upkeep.verify import verify
from songbag_store.windows.spans import Spans
from songbag_store.writer import commit_change, commit_parts, open_for_writing
from tests.support.documents import edit_document
from tests.support.patience import PATIENCE_S
from tests.support.stores import MakeStore, fill, sixteenths

SHAPE = FeatureSpec().window_shape
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def store(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    return make_store({name: sixteenths(rng, n, SHAPE) for name, n in {"a": 3, "b": 1, "c": 5}.items()})


def fragment_folder(store: SongStore) -> Path:
    return Path(store.address, "features.zarr", store.index(arrow=True)["fragment"][0].as_py())


def shard(store: SongStore) -> Path:
    return fragment_folder(store) / "c" / "0" / "0" / "0"


def reopened(store: SongStore) -> SongStore:
    return SongStore.open(store.address)


@pytest.mark.fault(60)
def test_a_row_that_points_at_a_lost_fragment_is_an_error_with_the_song(store: SongStore) -> None:
    shutil.rmtree(fragment_folder(store))
    with pytest.raises(DamagedStore, match=r"songs hit: 'b'") as caught:
        reopened(store).windows("b")
    assert caught.value.key == f"features.zarr/{fragment_folder(store).name}"


@pytest.mark.parametrize("n_bytes", [0, 1, 100, -1], ids=["61-empty", "62-one-byte", "62-half", "62-last-byte"])
def test_rows_61_and_62_a_shard_empty_or_cut_off_is_an_error_with_the_song(store: SongStore, n_bytes: int) -> None:
    shard(store).write_bytes(shard(store).read_bytes()[:n_bytes])
    with pytest.raises(DamagedStore, match=r"songs hit: 'c'"):
        reopened(store).windows("c")


@pytest.mark.fault(63)
def test_sixty_bit_flips_anywhere_in_a_fragment_are_all_found_on_read(
    store: SongStore, rng: np.random.Generator
) -> None:
    """In the shard and in the metadata alike, on reading the songs or by the digests."""
    whole = shard(store).read_bytes()
    for bit in rng.integers(0, len(whole) * 8, 60):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << (bit % 8)
        shard(store).write_bytes(flipped)
        opened = reopened(store)
        with pytest.raises(DamagedStore, match="songs hit"):
            opened.inside.reader.read_all(Spans.of(opened.songs(arrow=True)))
        assert verify(opened, full=True)


@pytest.mark.fault(64)
def test_sixty_bit_flips_in_an_index_are_all_found_before_sql_sees_it(
    store: SongStore, rng: np.random.Generator
) -> None:
    path = Path(store.address, snapshot_key(1))
    whole = path.read_bytes()
    for bit in rng.integers(0, len(whole) * 8, 60):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(flipped)
        with pytest.raises(DamagedStore, match=snapshot_key(1)):
            SongStore.open(store.address).sql("select count(*) from songs")


@pytest.mark.fault(65)
@pytest.mark.parametrize("data", [b"", b"PAR1", bytes(range(256)) * 9, None], ids=["empty", "magic", "random", "half"])
def test_an_index_that_is_none_is_an_error_that_names_the_last_good_snapshot(
    store: SongStore, data: bytes | None
) -> None:
    commit_change(store, lambda base: (base.index.slice(1), base.parts), note="by hand")
    path = Path(store.address, snapshot_key(2))
    path.write_bytes(path.read_bytes()[:1500] if data is None else data)
    with pytest.raises(DamagedStore, match=r"last good snapshot is 1.*`snapshot=1`"):
        reopened(store)
    assert len(SongStore.open(store.address, snapshot=1).songs()) == 3


def by_hand(store: SongStore, index: pa.Table) -> None:
    """Put an index in place as somebody could who knows the format: sealed, with the right facts."""
    facts = SnapshotFacts(
        store=store.uuid,
        snapshot=2,
        token="",
        parts=sorted(store.inside.state.parts),
        committed_at=datetime.now(UTC).isoformat(),
        change="by hand",
    )
    store.inside.storage.create(snapshot_key(2), seal(index, dataclasses.asdict(facts)))


def with_column(index: pa.Table, name: str, values: list[Any]) -> pa.Table:
    field = index.schema.field(name)
    return index.set_column(index.schema.get_field_index(name), field, pa.array(values, field.type))


@pytest.mark.fault(65)
def test_an_index_of_another_schema_is_an_error(store: SongStore) -> None:
    by_hand(store, pa.table({"song_id": ["a"]}))
    with pytest.raises(DamagedStore, match="'path' is not there once"):
        reopened(store)


@pytest.mark.fault(66)
@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("row_start", [0, -1, 4], r"cannot be \(songs hit: 'b'\)"),
        ("row_start", [0, None, 4], r"cannot be \(songs hit: 'b'\)"),
        ("row_start", [0, 3, 2**62], r"cannot be \(songs hit: 'c'\)"),
        ("n_windows", [3, 0, 5], r"cannot be \(songs hit: 'b'\)"),
        ("n_windows", [3, -4, 5], r"cannot be \(songs hit: 'b'\)"),
        ("n_windows", [4, 1, 5], r"two songs \(songs hit: 'a', 'b'\)"),
        ("row_start", [0, 3, 3], r"two songs \(songs hit: '[bc]', '[bc]'\)"),
    ],
)
def test_rows_that_point_nowhere_or_overlap_are_an_error_at_open(
    store: SongStore, column: str, values: list[Any], said: str
) -> None:
    by_hand(store, with_column(store.index(arrow=True), column, values))
    with pytest.raises(DamagedStore, match=said):
        reopened(store)


@pytest.mark.fault(66)
@pytest.mark.parametrize("group_rows", [1, 2, 8192])
def test_overlaps_are_found_and_nothing_else_however_the_rows_come(store: SongStore, group_rows: int) -> None:
    def check(index: pa.Table) -> None:
        data = seal(index, {}, group_rows=group_rows)
        check_index(Sealed(data, key="k", place="w", group_rows=group_rows), key="k", place="w")

    index = with_column(store.index(arrow=True), "fragment", ["f", "g", "f"])
    index = with_column(index, "row_start", [3, 3, 0])
    check(with_column(index, "n_windows", [1, 1, 3]))
    with pytest.raises(DamagedStore, match=r"two songs \(songs hit: '[ac]', '[ac]'\)"):
        check(with_column(index, "n_windows", [1, 1, 4]))


@pytest.mark.fault(66)
def test_a_song_that_stands_in_an_index_twice_is_an_error_at_open(store: SongStore) -> None:
    by_hand(store, with_column(store.index(arrow=True), "song_id", ["a", "a", "c"]))
    with pytest.raises(DamagedStore, match=r"two rows of one song \(songs hit: 'a'\)"):
        reopened(store)


@pytest.mark.fault(66)
def test_a_row_beyond_the_end_of_its_array_is_an_error_and_never_a_short_slice(store: SongStore) -> None:
    by_hand(store, with_column(store.index(arrow=True), "n_windows", [3, 1, 6]))
    with pytest.raises(DamagedStore, match=r"has 9 windows, but the index points at 4 to 10 \(songs hit: 'c'\)"):
        reopened(store).windows("c")


@pytest.mark.fault(67)
def test_a_part_and_an_index_of_another_store_are_refused(
    store: SongStore, make_store: MakeStore, rng: np.random.Generator
) -> None:
    other = make_store({"x": sixteenths(rng, 1, SHAPE)}, name="other")
    shutil.copytree(other.address, store.address, dirs_exist_ok=True, ignore=lambda *_: ["store.json", "index"])
    (name,) = set(other.index(arrow=True)["fragment"].to_pylist())
    with pytest.raises(DamagedStore, match="belongs to another store"):
        read_part(store.inside.storage, store.uuid, store.spec, name)
    shutil.copy(Path(other.address, snapshot_key(1)), Path(store.address, snapshot_key(2)))
    with pytest.raises(DamagedStore, match="belongs to another store"):
        reopened(store)


@pytest.mark.fault(68)
def test_a_lost_store_json_is_never_written_over(store: SongStore) -> None:
    Path(store.address, "store.json").unlink()
    with pytest.raises(StoreNotFound, match=r"no store\.json"):
        reopened(store)
    with pytest.raises(StoreInTheWay, match="not empty and not a store"):
        open_for_writing(store.address, FeatureSpec())
    assert not Path(store.address, "store.json").exists()


@pytest.mark.fault(68)
@pytest.mark.parametrize("text", ["", "{", "null", '{"minimum_reader": 1}', '{"minimum_reader": 1e999}'])
def test_a_store_json_that_is_none_is_damage(store: SongStore, text: str) -> None:
    Path(store.address, "store.json").write_text(text)
    with pytest.raises(DamagedStore, match=r"store\.json"):
        reopened(store)


@pytest.mark.fault(68)
def test_a_newer_format_is_refused_with_the_version_needed(store: SongStore) -> None:
    edit_document(Path(store.address, "store.json"), minimum_reader=2)
    with pytest.raises(NewerFormat, match="format 2"):
        reopened(store)


def edit_metadata(store: SongStore, edit: Edit) -> None:
    path = fragment_folder(store) / "zarr.json"
    metadata = json.loads(path.read_text())
    edit(metadata)
    path.write_text(json.dumps(metadata))


@pytest.mark.fault(69)
def test_an_array_that_says_10_to_the_15_windows_is_found_and_reads_no_zeros(store: SongStore) -> None:
    def enlarge(metadata: dict[str, Any]) -> None:
        metadata["shape"][0] = 10**15

    edit_metadata(store, enlarge)
    (damage, *_) = verify(reopened(store))
    assert damage.song_ids == ("a", "b", "c")
    by_hand(store, with_column(store.index(arrow=True), "row_start", [0, 3, 10**12]))
    with pytest.raises(DamagedStore, match="songs hit: 'c'"):
        reopened(store).windows("c")


@pytest.mark.fault(69)
def test_shards_of_any_size_are_refused_before_memory_is_taken(store: SongStore) -> None:
    def enlarge(metadata: dict[str, Any]) -> None:
        metadata["chunk_grid"]["configuration"]["chunk_shape"][0] = 10**12

    edit_metadata(store, enlarge)
    with pytest.raises(DamagedStore, match="larger than songbag's"):
        reopened(store).windows("a")


def codec(name: str) -> Edit:
    def edit(metadata: dict[str, Any]) -> None:
        metadata["codecs"][0]["configuration"]["codecs"][1] = {"name": name, "configuration": {}}

    return edit


def put(name: str, value: Any) -> Edit:
    return lambda metadata: metadata.update({name: value})


@pytest.mark.fault(70)
@pytest.mark.parametrize(
    "edit",
    [
        codec("zstd"),
        codec("numcodecs.pickle"),
        codec("no-such-codec"),
        put("data_type", "object"),
        put("data_type", {"name": "numpy.object"}),
        put("codecs", []),
        put("codecs", [{"name": "bytes"}]),
        put("shape", "many"),
        put("node_type", "group"),
        put("zarr_format", 2),
        put("consolidated_metadata", {"must_understand": True}),
        put("storage_transformers", [{"name": "x"}]),
        put("chunk_grid", {"name": "rectilinear", "configuration": {"chunk_shape": [1, 13, 216]}}),
    ],
)
def test_array_metadata_that_songbag_does_not_write_are_one_kind_of_error(store: SongStore, edit: Edit) -> None:
    edit_metadata(store, edit)
    with pytest.raises(DamagedStore, match="songs hit: 'a'"):
        reopened(store).windows("a")


@pytest.mark.fault(70)
@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"a":' * 100_000, " " * 2_000_000])
def test_metadata_empty_or_nested_deep_are_the_same_error(store: SongStore, text: str) -> None:
    (fragment_folder(store) / "zarr.json").write_text(text)
    with pytest.raises(DamagedStore, match="songs hit: 'a'"):
        reopened(store).windows("a")


_LOOK = """
import sys
from songbag_store import SongStore
from songbag_store.errors import DamagedStore
from songbag_store.upkeep.verify import verify

def peak_mb():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) // 1024

store = SongStore.open(sys.argv[1])
before = peak_mb()
hit = {song_id for damage in verify(store, full=True) for song_id in damage.song_ids}
print(peak_mb() - before, *sorted(hit))
"""


@pytest.mark.fault(71)
def test_a_bomb_is_found_by_its_digest_before_it_is_unpacked(make_store: MakeStore, rng: np.random.Generator) -> None:
    """A Blosc chunk of 35 KB that unpacks to 256 MB, with a valid CRC, in a shard with a valid list of chunks."""
    store = make_store({name: sixteenths(rng, 5, SHAPE) for name in "ab"})
    metadata = json.loads((fragment_folder(store) / "zarr.json").read_text())
    in_chunk = metadata["codecs"][0]["configuration"]["chunk_shape"][0]
    n_chunks = metadata["chunk_grid"]["configuration"]["chunk_shape"][0] // in_chunk
    packed = bytes(numcodecs.Blosc(cname="zstd").encode(bytes(256 << 20)))
    chunk = packed + struct.pack("<I", google_crc32c.value(packed))
    listed = struct.pack("<QQ", 0, len(chunk)) * n_chunks
    shard(store).write_bytes(chunk + listed + struct.pack("<I", google_crc32c.value(listed)))
    with pytest.raises(DamagedStore, match="songs hit: 'a'"):
        reopened(store).windows("a")
    done = subprocess.run(
        [sys.executable, "-c", _LOOK, store.address], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    grown_mb, *hit = done.stdout.split()
    assert hit == ["a", "b"]
    assert int(grown_mb) < 64


@pytest.mark.fault(72)
def test_an_index_of_more_rows_than_bytes_is_refused_before_it_is_unpacked() -> None:
    rows = pa.table({"x": pa.nulls(3_000_000, pa.int8())})
    data = seal(rows, {})
    assert len(data) < 1_000_000
    with pytest.raises(DamagedStore, match="rows of"):
        Sealed(data, key="index/1", place="store")


@pytest.mark.fault(72)
def test_an_honest_index_of_constant_columns_is_far_from_that_bound() -> None:
    rows = [
        {"song_id": f"{i:05d}", "status": "ok", "fragment": "f", "n_windows": 1, "run_id": "r"} for i in range(9999)
    ]
    table = pa.Table.from_pylist(rows, schema=index_schema([]))
    assert Sealed(seal(table, {}), key="k", place="w").n_rows == 9999


def commit_more(store: SongStore, name: str, rng: np.random.Generator) -> SongStore:
    fragment = fill(store, {name: sixteenths(rng, 1, SHAPE)})
    return commit_parts(store, {fragment: read_part(store.inside.storage, store.uuid, store.spec, fragment)})


@pytest.mark.fault(73)
def test_a_copy_that_took_the_index_first_is_whole_at_its_newest_snapshot(
    store: SongStore, rng: np.random.Generator, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(Path(store.address, "index"), copy / "index")
    commit_more(store, "later", rng)
    for name in ("store.json", "features.zarr", "parts"):
        source = Path(store.address, name)
        shutil.copytree(source, copy / name) if source.is_dir() else shutil.copy(source, copy / name)
    opened = SongStore.open(copy)
    assert opened.snapshot == 1
    assert not verify(opened, full=True)
    assert dict(opened.iter_windows()).keys() == {"a", "b", "c"}


@pytest.mark.fault(73)
def test_verify_says_what_a_copy_that_took_the_index_last_lacks(
    store: SongStore, rng: np.random.Generator, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    for name in ("features.zarr", "parts"):
        shutil.copytree(Path(store.address, name), copy / name)
    after = commit_more(store, "later", rng)
    shutil.copy(Path(store.address, "store.json"), copy / "store.json")
    shutil.copytree(Path(store.address, "index"), copy / "index")
    damages = verify(SongStore.open(copy))
    fragment = after.index(arrow=True).filter(pc.field("song_id") == "later")["fragment"][0].as_py()
    assert [(d.key, d.song_ids) for d in damages] == [(f"parts/{fragment}.parquet", ("later",))]
