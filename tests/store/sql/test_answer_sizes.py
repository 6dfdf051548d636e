"""Answers of any size: streamed, or refused with the way out."""

from __future__ import annotations

import mmap
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from songbag_store.errors import QueryError
from songbag_store.sql.answer import Answer, Limits, Watch
from songbag_store.sql.output import write_table
from songbag_store.sql.query import asking, select
from tests.support.asked import FORMS, SONGS, written
from tests.support.long import LONG
from tests.support.patience import PATIENCE_S


@pytest.mark.fault(106)
def test_a_result_that_is_too_large_names_the_limit_and_the_way_out() -> None:
    large = Limits(memory_bytes=100_000_000)
    sql = "select i, repeat('x', 20) from range(10000000) t(i)"
    with pytest.raises(QueryError, match=r"the result needs more memory than the 100\.0 MB") as refusal:
        select(SONGS, sql, large)
    assert "-o x.parquet" in refusal.value.remedy
    fits = "select i, repeat('x', 20) from range(2000000) t(i)"
    assert select(SONGS, fits, large).num_rows == 2_000_000
    # pandas needs the rows a second time.
    with pytest.raises(QueryError, match=r"more memory"), asking(SONGS, fits, large) as answer:
        answer.frame()


@pytest.mark.fault(106)
def test_what_the_database_needs_counts_with_the_result() -> None:
    sql = "select i from range({}) t(i) order by hash(i)"
    with pytest.raises(QueryError, match=r"more memory than the 100\.0 MB"):
        select(SONGS, sql.format(5_000_000), Limits(memory_bytes=100_000_000))
    assert select(SONGS, sql.format(10_000), Limits(memory_bytes=100_000_000)).num_rows == 10_000


_STREAM = """
import resource, sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet, pyarrow.csv
from songbag_store.format.index import index_schema
from songbag_store.sql.output import chosen_format, write_table
from songbag_store.sql.query import asking, select
sql, paths = sys.argv[1], list(map(Path, sys.argv[3:]))
index = index_schema([]).empty_table()
select(index, "select 1")
if room := int(sys.argv[2]):
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + room
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in paths:
    with asking(index, sql) as answer:
        write_table(answer, chosen_format(None, path), path)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def streamed_kb(sql: str, paths: list[Path], room_bytes: int = 0) -> int:
    """Write the answer to files in a process of its own, with so much room for more; return how its peak grew."""
    command = [sys.executable, "-c", _STREAM, sql, str(room_bytes), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20 * PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.fault(106)
def test_a_result_that_goes_to_a_file_takes_memory_for_a_part_of_it(tmp_path: Path) -> None:
    paths = [tmp_path / f"t.{form}" for form in FORMS]
    n_rows, n_letters = 50_000, 4_000
    kb = streamed_kb(f"select i, repeat('x', {n_letters}) as text from range({n_rows}) t(i)", paths)
    assert kb * 1000 < 170_000_000 < n_rows * n_letters
    assert pq.ParquetFile(paths[2]).metadata.num_rows == n_rows
    with paths[0].open() as file:
        assert sum(1 for _ in file) == n_rows + 1
    with paths[1].open() as file:
        assert sum(1 for _ in file) == n_rows + 2


@pytest.mark.long
@pytest.mark.fault(106)
def test_a_result_goes_to_a_file_in_an_address_space_that_could_not_hold_it(tmp_path: Path) -> None:
    # 20 kB a row: 1 GB, or 10 GB, and room for 500 MB.
    n_rows = 500_000 if LONG else 50_000
    sql = f"select i, repeat('x', 20000) as text from range({n_rows}) t(i)"
    streamed_kb(sql, [tmp_path / "t.parquet"], 500_000_000)
    assert pq.ParquetFile(tmp_path / "t.parquet").metadata.num_rows == n_rows


@pytest.mark.fault(106)
@pytest.mark.parametrize("form", FORMS)
def test_a_query_that_fails_halfway_leaves_what_was_there(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"t.{form}"
    path.write_bytes(b"first")
    with pytest.raises(QueryError, match="boom"):
        written("select case when i = 500000 then error('boom') else i end as n from range(1000000) t(i)", path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"first"]


def answered_with(texts: pa.Array, memory_bytes: int) -> Answer:
    """Return the answer of a database that gives these texts."""
    batch = pa.record_batch({"text": texts})
    reader = pa.RecordBatchReader.from_batches(batch.schema, [batch])
    connection = duckdb.connect()
    return Answer(reader, Watch(connection, PATIENCE_S), connection, memory_bytes)


def texts_behind_gigabytes(folder: Path, offsets: list[int]) -> pa.Array:
    """Return texts of zeros in a file without blocks: the memory of a page for each page that is looked at."""
    path = folder / "zeros"
    path.touch()
    os.truncate(path, 5 << 30)
    with path.open("rb") as file:
        zeros = pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    buffers = [None, pa.py_buffer(np.array(offsets, np.int64)), zeros]
    return pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)


@pytest.mark.fault(106)
@pytest.mark.parametrize("memory_bytes", [4_000_000_000, 100_000_000_000])
def test_a_text_that_no_format_takes_is_refused_before_it_is_copied(tmp_path: Path, memory_bytes: int) -> None:
    texts = texts_behind_gigabytes(tmp_path, [0, 3 << 30])
    for form in FORMS:
        with pytest.raises(QueryError, match=r"a row of the result takes 3\.2 GB, and it may take") as refusal:
            write_table(answered_with(texts, memory_bytes), form, tmp_path / f"t.{form}")
        assert "left(text, 1000)" in refusal.value.remedy
        assert refusal.value.exit_code == 2
    assert [file.name for file in tmp_path.iterdir()] == ["zeros"]


@pytest.mark.fault(106)
def test_short_texts_behind_gigabytes_of_others_are_answered(tmp_path: Path) -> None:
    texts = texts_behind_gigabytes(tmp_path, [4 << 30, (4 << 30) + 2, (4 << 30) + 5])
    assert answered_with(texts, 4_000_000_000).table()["text"].to_pylist() == ["\0\0", "\0\0\0"]


@pytest.mark.fault(106)
def test_rows_that_are_large_together_come_in_pieces() -> None:
    texts = [str(n) * 600 for n in range(10)]
    pieces = list(answered_with(pa.array(texts, pa.large_string()), 8 * 2000).to_batches(8192))
    assert max(piece.nbytes for piece in pieces) <= 2000
    assert [text for piece in pieces for text in piece["text"].to_pylist()] == texts
    with pytest.raises(QueryError, match=r"a row of the result takes 6\d\d bytes, and it may take 500 bytes"):
        answered_with(pa.array(texts, pa.large_string()), 8 * 500).table()


@pytest.mark.fault(77)
def test_a_query_is_stopped_while_it_streams_but_not_because_its_reader_is_slow() -> None:
    endless = asking(SONGS, "select * from range(100000000000)", Limits(time_s=0.3))
    with pytest.raises(QueryError, match="took too long"), endless as streaming:
        sum(batch.num_rows for batch in streaming.to_batches(8192))
    with asking(SONGS, "select * from range(100000)", Limits(time_s=1.0)) as answer:
        n_rows = 0
        for number, batch in enumerate(answer.to_batches(8192)):
            n_rows += batch.num_rows
            if number == 1:
                time.sleep(1.2)
    assert n_rows == 100_000


@pytest.mark.fault(77)
def test_a_query_is_stopped_before_its_first_row() -> None:
    with pytest.raises(QueryError, match="took too long"):
        select(SONGS, "select count(*) from range(100000000000) t(i) where hash(i) % 7 = 1", Limits(time_s=0.3))


@pytest.mark.fault(106)
def test_memory_that_the_system_refuses_is_an_error_of_the_query() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (used + 300_000_000, hard))
    try:
        with pytest.raises(QueryError, match="more memory than this process gets"):
            select(SONGS, "select i, repeat('x', 100) from range(100000000) t(i)")
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
