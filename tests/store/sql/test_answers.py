"""What may be asked of the index, and answers of any type: exact in every format."""

from __future__ import annotations

import csv
import datetime
import json
import sys
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from songbag_store.errors import FileError, QueryError, UsageError
from songbag_store.sql.output import Format, chosen_format, write_table
from songbag_store.sql.query import asking, select
from tests.support.asked import EMPTY, FORMS, SONGS, written

# What may be asked


@pytest.mark.parametrize(
    ("sql", "columns", "n_rows"),
    [
        ("describe songs", "column_name", len(EMPTY.schema.names)),
        ("desc songs", "column_name", len(EMPTY.schema.names)),
        ("show songs", "column_name", len(EMPTY.schema.names)),
        ("show tables", "name", 4),
        ("summarize songs", "column_name", len(EMPTY.schema.names)),
        ("summarize select n_windows from songs", "column_name", 1),
        ("select column_name from (describe songs)", "column_name", len(EMPTY.schema.names)),
        ("pivot songs on genre using sum(n_windows) group by status", "status", 1),
        ("pivot songs on genre in ('rock') using count(*) group by status", "status", 1),
        ("with p as (pivot songs on genre using count(*)) select count(*) n from p", "n", 1),
        ("-- which\n/* words */ (pivot songs on genre using count(*) group by status)", "status", 1),
        ("unpivot (select n_windows, row_start from songs) on n_windows", "row_start", 3),
        ("from songs", "song_id", 3),
        ("from songs select song_id", "song_id", 3),
        ("table songs", "song_id", 3),
        ("values (1), (2)", "col0", 2),
        ("with a as (select 1 as x) select * from a", "x", 1),
        ("select song_id from songs union all select song_id from failures", "song_id", 3),
        ("select song_id from songs except select 'a'", "song_id", 2),
        ("(select 1 as x)", "x", 1),
        ("select 1 as x; -- done", "x", 1),
        ("select * from range(3)", "range", 3),
        ("select unnest([1, 2]) as x", "x", 2),
        ("select * from query_table('songs')", "song_id", 3),
        ("select name from pragma_table_info('songs')", "name", len(EMPTY.schema.names)),
    ],
)
def test_every_way_to_read_is_answered(sql: str, columns: str, n_rows: int) -> None:
    table = select(SONGS, sql)
    assert (table.column_names[0], table.num_rows) == (columns, n_rows)


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("explain select 1", "EXPLAIN"),
        ("explain analyze select 1", "EXPLAIN"),
        ("pragma table_info('songs')", "PRAGMA"),
        ("PRAGMA version", "PRAGMA"),
        ("call pragma_version()", "CALL"),
        ("set threads = 1", "SET"),
        ("use memory", "USE"),
        ("prepare p as select 1", "PREPARE"),
        ("execute p", "EXECUTE"),
        ("insert into songs values (1)", "INSERT"),
        ("update songs set genre = 1", "UPDATE"),
        ("delete from songs", "DELETE"),
        ("create table x as select 1", "CREATE"),
        ("create table x as pivot songs on genre using count(*)", "CREATE"),
        ("copy (pivot songs on genre using count(*)) to 'x.csv'", "COPY"),
        ("explain pivot songs on genre using count(*)", "EXPLAIN"),
        ("drop view songs", "DROP"),
        ("-- é\nbegin", "BEGIN"),
        ("checkpoint", "CHECKPOINT"),
        ("vacuum", "VACUUM"),
        ("attach 'x'", "ATTACH"),
        ("select 1; select 2", "there are 2 statements"),
    ],
)
def test_everything_else_is_refused_by_its_name(sql: str, word: str) -> None:
    with pytest.raises(QueryError, match=rf"{word}.*read-only") as refusal:
        select(SONGS, sql)
    assert "DESCRIBE, SUMMARIZE, SHOW, PIVOT" in refusal.value.remedy


# What an answer holds

VALUES: list[tuple[str, str, str]] = [
    ("170141183460469231731687303715884105727::hugeint", "170141183460469231731687303715884105727", ""),
    ("9007199254740993::hugeint", "9007199254740993", ""),
    ("9007199254740993::uhugeint", "9007199254740993", ""),
    ("18446744073709551615::ubigint", "18446744073709551615", ""),
    ("(select sum(n_windows) from songs)", "6", ""),
    ("1.50", "1.50", ""),
    ("12345678901234567890123456789.012345678", "12345678901234567890123456789.012345678", ""),
    ("0.1::double", "0.1", ""),
    ("1e300::double", "1e+300", ""),
    ("'nan'::double", "null", "nan"),
    ("'-inf'::float", "null", "-inf"),
    ("true", "true", ""),
    ("null", "null", "<empty>"),
    ("date '2026-01-02'", '"2026-01-02"', ""),
    ("timestamp '2026-01-02 03:04:05.5'", '"2026-01-02T03:04:05.500000"', "2026-01-02 03:04:05.500000"),
    ("timestamptz '2026-01-02 03:04:05+02'", '"2026-01-02T01:04:05+00:00"', "2026-01-02 01:04:05.000000Z"),
    ("time '12:34:56'", '"12:34:56"', "12:34:56.000000"),
    ("timetz '12:34:56+02'", '"12:34:56+02"', ""),
    ("time_ns '12:00:00.123456789'", '"12:00:00.123456789"', ""),
    ("interval '1 month 2 days 3 seconds'", '"1 month 2 days 00:00:03"', ""),
    ("'3f9b1c1e-9c0a-4a53-8f7a-0f6c9f1d2e3b'::uuid", '"3f9b1c1e-9c0a-4a53-8f7a-0f6c9f1d2e3b"', ""),
    ("'\\x00ab'::blob", r'"\\x00ab"', r"\x00ab"),
    ("'101'::bit", '"101"', ""),
    ("'rock'::enum('rock', 'jazz')", '"rock"', ""),
    ("'123456789012345678901234567890123456789012'::bignum", '"123456789012345678901234567890123456789012"', ""),
    ("[1, null]", "[1, null]", ""),
    ("array_value(1.5, 2)", "[1.5, 2.0]", ""),
    ("{'a': 1, 'b': [interval 1 day]}", '{"a": 1, "b": ["1 day"]}', ""),
    ("map {'k': 1.50}", '{"k": 1.50}', ""),
    ("union_value(k := 1)", '"1"', ""),
    ("'猫 \"quoted\" \x1b[31m'", '"猫 \\"quoted\\" \\u001b[31m"', '猫 "quoted" \x1b[31m'),
]


def value_as_json(text: str) -> Any:
    """Read JSON with all digits."""
    return json.loads(text, parse_float=str, parse_int=str)


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder where one row with all values is, in every format."""
    folder = tmp_path_factory.mktemp("answered")
    items = ", ".join(f"{value} as v{n}" for n, (value, _, _) in enumerate(VALUES))
    for form in [*FORMS, "txt"]:
        written(f"select {items}", folder / f"t.{form}")
    return folder


@pytest.mark.parametrize("number", range(len(VALUES)), ids=[value for value, _, _ in VALUES])
def test_json_and_csv_hold_every_value_exactly(answered: Path, number: int) -> None:
    _, as_json, as_csv = VALUES[number]
    (row,) = value_as_json((answered / "t.json").read_text())
    assert row[f"v{number}"] == value_as_json(as_json)
    assert f'"v{number}": {as_json}' in (answered / "t.json").read_text()
    with (answered / "t.csv").open(newline="") as file:
        (cells,) = csv.DictReader(file)
    expected = {"": as_json.strip('"'), "<empty>": ""}.get(as_csv, as_csv)
    assert cells[f"v{number}"] == expected


def test_parquet_and_the_table_hold_every_value(answered: Path) -> None:
    (row,) = pq.read_table(answered / "t.parquet").to_pylist()
    assert row["v1"] == Decimal(9007199254740993)
    assert row["v13"] == datetime.date(2026, 1, 2)
    assert row["v19"] == "1 month 2 days 00:00:03"
    head, cells = (answered / "t.txt").read_text().splitlines()
    assert "\x1b" not in cells
    assert "170141183460469231731687303715884105727" in cells
    assert head.split()[0] == "v0"


def test_numbers_of_every_kind_stand_right(tmp_path: Path) -> None:
    sql = "select * from (values (1::hugeint, 1.5, 'a', 1), (1000::hugeint, 1000.25, 'bcd', 1000)) t(h, d, text, n)"
    lines = written(sql, tmp_path / "t.txt").read_text().splitlines()
    assert lines == ["   h        d  text     n", "   1     1.50  a        1", "1000  1000.25  bcd   1000"]


def test_pandas_gets_plain_numbers_and_arrow_all_digits() -> None:
    sql = "select sum(n_windows) as n, 1.5 as half, 12345678901234567890123::hugeint as large from songs"
    with asking(SONGS, sql) as answer:
        frame = answer.frame()
    assert [str(kind) for kind in frame.dtypes] == ["int64", "float64", "object"]
    assert frame.iloc[0].tolist() == [6, 1.5, Decimal(12345678901234567890123)]
    assert [str(kind) for kind in select(SONGS, sql).schema.types] == [
        "decimal128(38, 0)",
        "decimal128(2, 1)",
        "decimal128(38, 0)",
    ]


@pytest.mark.parametrize("value", ["'infinity'::timestamp", "date '294247-01-10'", "[date '0044-03-15 (BC)']"])
def test_a_date_that_python_lacks_is_refused_with_the_way_out(tmp_path: Path, value: str) -> None:
    sql = f'select {value} as "the day"'
    for form in ("json", "txt"):
        with pytest.raises(QueryError, match=r'the day.*Python does not have.*\n.*"the day"::varchar'):
            written(sql, tmp_path / f"t.{form}")
    written(sql, tmp_path / "t.parquet")
    written(f'select "the day"::varchar from ({sql})', tmp_path / "t.json")


def test_an_empty_answer_is_valid_in_every_format(tmp_path: Path) -> None:
    for form in FORMS:
        written("select song_id, n_windows from songs where false", tmp_path / f"t.{form}")
    assert json.loads((tmp_path / "t.json").read_text()) == []
    assert (tmp_path / "t.csv").read_text() == '"song_id","n_windows"\n'
    assert pq.read_table(tmp_path / "t.parquet").num_rows == 0


# Where an answer goes


@pytest.mark.parametrize(
    ("form", "name", "chosen"),
    [
        (None, None, "table"),
        ("json", None, "json"),
        (None, "t.parquet", "parquet"),
        (None, "t.CSV", "csv"),
        (None, "t.json", "json"),
        (None, "t.txt", "table"),
        ("csv", "t.csv", "csv"),
        ("csv", "t.dat", "csv"),
        ("json", "t", "json"),
    ],
)
def test_the_suffix_decides_the_format(tmp_path: Path, form: Format | None, name: str | None, chosen: str) -> None:
    assert chosen_format(form, name and tmp_path / name) == chosen  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "name", "said"),
    [
        (None, "t.xls", "suffix is of another format.*\n.*.csv or .json or .parquet or .txt"),
        (None, "t", "suffix is of another format"),
        ("json", "t.parquet", "format: the format is json, but 't.parquet'"),
        ("table", "t.csv", "the format is table"),
        ("csv", "none/t.csv", "there is no folder"),
    ],
)
def test_a_format_that_contradicts_the_suffix_is_refused(
    tmp_path: Path, form: Format | None, name: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        chosen_format(form, tmp_path / name)


def test_the_database_draws_no_bar_into_the_answer() -> None:
    assert select(SONGS, "select current_setting('enable_progress_bar') as bar").to_pylist() == [{"bar": False}]


@pytest.mark.fault(38)
@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_a_full_disk_behind_standard_output_is_said(monkeypatch: pytest.MonkeyPatch, form: Format) -> None:
    full = open("/dev/full", "w")  # noqa: SIM115 (closing it fails too)
    monkeypatch.setattr(sys, "stdout", full)
    with (
        pytest.raises(FileError, match=r"standard output: cannot be written \(No space left"),
        asking(SONGS, "select i from range(10) t(i)") as answer,
    ):
        write_table(answer, form, None)
    monkeypatch.undo()
    with suppress(OSError):
        full.close()
