"""SQL from strangers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import QueryError
from songbag_store.sql.answer import Limits
from songbag_store.sql.query import select
from songbag_store.upkeep.change import remove
from tests.support.stores import MakeStore, sixteenths

HOSTILE = ["' OR 1=1; DROP TABLE songs --", '"', "a\nb", "\\", "x'); select 1; --", "$1", "?", "%s", "ünïçødé 🎵"]


@pytest.fixture
def store(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    windows = sixteenths(rng, 1, FeatureSpec().window_shape)
    return make_store(dict.fromkeys(HOSTILE, windows), {"artist": HOSTILE})


@pytest.mark.fault(74)
@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_text('{index}')",
        "select * from read_parquet('{index}')",
        "select * from '{index}'",
        "select * from parquet_metadata('{index}')",
        "select * from glob('/etc/*')",
        "select * from sniff_csv('/etc/passwd')",
        "attach '{index}' as other",
        "install httpfs",
        "load parquet",
        "export database '/tmp/songbag-stolen'",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "reset memory_limit",
        "pragma enable_profiling",
        "call pragma_version()",
        "create secret (type s3)",
        "checkpoint",
    ],
)
def test_files_extensions_and_settings_are_out_of_reach(store: SongStore, sql: str) -> None:
    index = str(next(Path(store.address, "index").iterdir()))
    with pytest.raises(QueryError, match=r"read-only|query"):
        store.sql(sql.format(index=index))


@pytest.mark.fault(74)
def test_the_message_says_that_the_index_is_read_only(store: SongStore) -> None:
    for sql in ("select * from read_text('/etc/passwd')", "drop view songs"):
        with pytest.raises(QueryError, match="read-only"):
            store.sql(sql)


@pytest.mark.fault(75)
def test_copy_can_not_destroy_the_index(store: SongStore) -> None:
    path = next(Path(store.address, "index").iterdir())
    before = path.read_bytes()
    for target in (path, Path(store.address, "new.csv")):
        for sql in (f"copy (select 1) to '{target}' (use_tmp_file false)", f"copy songs to '{target}'"):
            with pytest.raises(QueryError, match="read-only"):
                store.sql(sql)
    assert path.read_bytes() == before
    assert not Path(store.address, "new.csv").exists()


@pytest.mark.fault(76)
def test_hostile_ids_and_values_are_only_values(store: SongStore) -> None:
    for text in HOSTILE:
        quoted = text.replace("'", "''")
        assert store.songs(f"artist = '{quoted}'")["song_id"].tolist() == [text]
        assert store.windows(text).shape == (1, 13, 216)
    assert len(store.songs()) == len(HOSTILE)


@pytest.mark.fault(76)
@pytest.mark.parametrize(
    "sql", ["select 1; select 2", "select 1; drop view songs", "; drop view songs", "select 1 \0; select 2", ""]
)
def test_more_than_one_statement_is_refused(store: SongStore, sql: str) -> None:
    with pytest.raises(QueryError, match="query"):
        store.sql(sql)


@pytest.mark.fault(76)
@pytest.mark.parametrize("where", ["true; drop view songs", "1=1) or (1=1", "artist = 'x' union select * from songs"])
def test_a_condition_is_an_expression_or_nothing(store: SongStore, where: str) -> None:
    with pytest.raises(QueryError, match="query"):
        remove(store, where)


@pytest.mark.fault(77)
@pytest.mark.parametrize(
    "sql",
    [
        "select count(*) from range(10000000000) a, range(10000000000) b",
        "with recursive t(n) as (select 1 union all select n + 1 from t) select max(n) from t",
    ],
)
def test_a_query_without_end_is_stopped(store: SongStore, sql: str) -> None:
    with pytest.raises(QueryError, match="took too long"):
        select(store.index(arrow=True), sql, Limits(time_s=1.0))


@pytest.mark.fault(77)
def test_a_query_that_needs_too_much_memory_is_stopped_and_leaves_no_file(
    store: SongStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    sql = "select list(n order by n % 7, n) from range(100000000) t(n)"
    with pytest.raises(QueryError, match="more memory"):
        select(store.index(arrow=True), sql, Limits(memory_bytes=100_000_000))
    assert os.listdir(place) == []


@pytest.mark.fault(78)
def test_python_variables_are_out_of_reach(store: SongStore) -> None:
    secret_table = store.index(arrow=True)
    with pytest.raises(QueryError, match="secret_table"):
        store.sql("select * from secret_table")
    assert secret_table.num_rows == len(HOSTILE)
