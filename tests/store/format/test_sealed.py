from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from songbag_store.errors import DamagedStore
from songbag_store.format.sealed import Sealed, check_seal, seal

TABLE = pa.table({"song_id": ["a", "b"], "songbag.sha256": ["0" * 64, "songbag.sha256\x18\x40" + "0" * 64]})


def test_a_sealed_table_comes_back_with_its_facts() -> None:
    sealed = Sealed(seal(TABLE, {"parts": ["x"]}), key="k", place="w")
    assert sealed.read().equals(TABLE)
    assert sealed.facts == {"parts": ["x"]}


def test_any_parquet_reader_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "sealed.parquet"
    path.write_bytes(seal(TABLE, {}))
    assert pq.read_table(path).equals(TABLE)
    assert duckdb.sql("select count(*) from read_parquet($path)", params={"path": str(path)}).fetchall() == [(2,)]


def test_every_single_bit_flip_is_found() -> None:
    data = seal(TABLE, {"parts": []})
    rng = np.random.default_rng(5)
    for position in rng.integers(0, len(data) * 8, 300):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << (position % 8)
        with pytest.raises(DamagedStore, match="index/1"):
            Sealed(bytes(flipped), key="index/1", place="store")


@pytest.mark.fault(102)
def test_no_changed_bit_of_the_footer_comes_to_arrow_which_may_crash_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = seal(TABLE, {"parts": ["songbag.sha256"]})
    footer = 8 + int.from_bytes(data[-8:-4], "little")
    monkeypatch.delattr("pyarrow.parquet.ParquetFile")
    monkeypatch.delattr("pyarrow.parquet.read_metadata")
    for position in range(8 * (len(data) - footer), 8 * len(data)):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << (position % 8)
        with pytest.raises(DamagedStore):
            Sealed(bytes(flipped), key="key", place="store")


@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: d[:-1], lambda d: d[: len(d) // 2], lambda d: b"x" * 99])
def test_a_file_cut_off_or_foreign_is_damage(damage: object) -> None:
    with pytest.raises(DamagedStore, match="key"):
        Sealed(damage(seal(TABLE, {})), key="key", place="store")  # type: ignore[operator]


def test_a_parquet_file_without_a_seal_is_damage() -> None:
    target = pa.BufferOutputStream()
    pq.write_table(pa.table({"song_id": ["a"]}), target)
    with pytest.raises(DamagedStore, match="not a file of songbag"):
        Sealed(target.getvalue().to_pybytes(), key="key", place="store")


def test_the_digest_depends_on_every_fact() -> None:
    assert check_seal(seal(TABLE, {"snapshot": 1})) != check_seal(seal(TABLE, {"snapshot": 2}))


def test_what_several_threads_decode_comes_in_the_order_of_the_rows() -> None:
    rows = pa.table({"song_id": [f"song {n}" for n in range(1000)], "n": np.arange(1000)})
    sealed = Sealed(seal(rows, {}, group_rows=10), key="key", place="place", group_rows=10)
    assert [piece["n"].to_pylist() for piece in sealed.pieces(["n"])] == [
        *sealed.each(lambda piece: piece["n"].to_pylist(), ["n"])
    ]
    few = Sealed(seal(rows.slice(0, 25), {}, group_rows=10), key="key", place="place", group_rows=10)
    assert [*few.each(len, ["song_id"])] == [10, 10, 5]
    with pytest.raises(ZeroDivisionError):
        list(sealed.each(lambda piece: piece.num_rows / 0, ["n"]))
