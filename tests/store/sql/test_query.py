from __future__ import annotations

import pyarrow as pa
import pytest

from songbag_store.errors import QueryError
from songbag_store.format.index import index_schema
from songbag_store.sql.answer import Limits
from songbag_store.sql.query import filter_songs, select

ROWS = [
    {"song_id": "a", "status": "ok", "genre": "rock", "n_windows": 3, "fragment": "f", "run_id": "r"},
    {"song_id": "' OR 1=1 --", "status": "ok", "genre": "it's", "n_windows": 1, "fragment": "f", "run_id": "r"},
    {"song_id": "c", "status": "failed", "error_code": "corrupt", "n_windows": 0, "fragment": "f", "run_id": "r"},
]
INDEX = pa.Table.from_pylist(ROWS, schema=index_schema([pa.field("genre", pa.string())]))


def test_songs_failures_and_index_are_views() -> None:
    counts = (
        'select (select count(*) from songs) s, (select count(*) from failures) f, (select count(*) from "index") i'
    )
    assert select(INDEX, counts).to_pylist() == [{"s": 2, "f": 1, "i": 3}]


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_text('/etc/passwd')",
        "select * from read_csv('/etc/passwd')",
        "select * from glob('/*')",
        "select * from '/etc/passwd'",
        "copy (select 1) to '/tmp/stolen' (use_tmp_file false)",
        "attach '/tmp/x.db'",
        "install httpfs",
        "load httpfs",
        "export database '/tmp/x'",
        "set memory_limit = '1TB'",
        "pragma database_list",
        "drop view songs",
        "create table t as select 1",
        "select 1; drop view songs",
        "select 1; select 2",
        "",
        "-- nothing",
        "select from where",
        "select * from ROWS",
        "select nope from songs",
        "select '\ud800'",
    ],
)
def test_anything_but_one_select_over_the_views_is_refused(sql: str) -> None:
    with pytest.raises(QueryError, match="query"):
        select(INDEX, sql)


def test_columns_that_share_a_name_are_numbered() -> None:
    table = select(INDEX, "select count(*), count(*), 1 as n, 2 as n from songs")
    assert table.column_names == ["count_star()", "count_star()_1", "n", "n_1"]


def test_a_query_without_end_is_stopped() -> None:
    endless = "with recursive t(n) as (select 1 union all select n + 1 from t) select max(n) from t"
    with pytest.raises(QueryError, match="too long"):
        select(INDEX, endless, Limits(time_s=0.5))


def test_an_expression_filters_the_songs_in_the_order_of_the_index() -> None:
    assert filter_songs(INDEX, "n_windows > 0")["song_id"].to_pylist() == ["a", "' OR 1=1 --"]
    assert filter_songs(INDEX, "genre = 'it''s'").num_rows == 1


@pytest.mark.parametrize(
    "where", ["", "1=1; drop view songs", "1=1) or (1=1", "true union select 1", "nope = 1", "1=1 --"]
)
def test_a_filter_that_is_no_expression_never_runs_as_a_statement(where: str) -> None:
    try:
        rows = filter_songs(INDEX, where).num_rows
    except QueryError:
        rows = 0
    assert rows <= 2
    assert select(INDEX, "select count(*) n from songs").to_pylist() == [{"n": 2}]
