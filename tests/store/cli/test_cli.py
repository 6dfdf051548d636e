from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from tests.support.command import songbag, songbag_here
from tests.support.patience import PATIENCE_S
from tests.support.stores import MakeStore, sixteenths


@pytest.fixture
def store(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    songs = {name: sixteenths(rng, n, FeatureSpec().window_shape) for name, n in {"a": 3, "b": 1}.items()}
    return make_store(songs, {"genre": ["rock", "jazz"]})


def test_info_shows_songs_windows_classes_and_snapshots(store: SongStore) -> None:
    facts = json.loads(songbag_here("info", store.address, "--json").stdout)
    assert (facts["songs"], facts["windows"], facts["failed"], facts["snapshots"]) == (2, 4, 0, [1])
    assert facts["classes"] == {"genre": {"jazz": 1, "rock": 1}}
    text = songbag_here("info", store.address).stdout
    assert "jazz 1, rock 1" in text
    assert "13 MFCC of 128 mel bands" in text


def test_query_answers_as_table_csv_and_json_and_writes_files(store: SongStore, tmp_path: Path) -> None:
    sql = "select song_id, n_windows from songs order by 1"
    assert songbag_here("query", store.address, sql).stdout.split() == ["song_id", "n_windows", "a", "3", "b", "1"]
    csv = songbag("query", store.address, sql, "--format", "csv").stdout
    assert csv == '"song_id","n_windows"\n"a",3\n"b",1\n'
    rows = json.loads(songbag("query", store.address, sql, "--format", "json").stdout)
    assert rows == [{"song_id": "a", "n_windows": 3}, {"song_id": "b", "n_windows": 1}]
    output = tmp_path / "answer.parquet"
    assert songbag_here("query", store.address, sql, "--format", "parquet", "-o", output).returncode == 0
    assert output.read_bytes()[:4] == b"PAR1"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["info", "/nowhere"], 1, "no songbag store"),
        (["query", "STORE", "drop view songs"], 2, "read-only"),
        (["query", "STORE", "select nope from songs"], 2, "nope"),
        (["info", "STORE", "--snapshot", "9"], 1, "no snapshot 9"),
        (["query", "STORE"], 2, "SQL"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_an_error_is_a_message_with_its_exit_code_and_without_traceback(
    store: SongStore, arguments: list[str], code: int, said: str
) -> None:
    done = songbag_here(*[store.address if a == "STORE" else a for a in arguments])
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback() -> None:
    assert "Traceback" in songbag_here("info", "/nowhere", "--debug").stderr


def test_a_reader_that_goes_away_ends_the_command_quietly(store: SongStore) -> None:
    command = f"{sys.executable} -m songbag query {store.address} 'select * from range(100000)' --format csv | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert "Traceback" not in done.stderr


def test_help_loads_nothing_heavy_and_answers_at_once() -> None:
    heavy = {"pandas", "pyarrow", "zarr", "tensorstore", "duckdb", "numpy", "scipy", "distributed", "tensorflow"}
    code = "import sys; from songbag_store.cli.root import _add_commands; _add_commands(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not heavy & set(loaded)
    before = cpu_s_of_children()
    assert "extract" in songbag("--help").stdout
    # The promise is half a second; CPU time tells it on a busy machine too, and a heavy import takes more than this.
    assert cpu_s_of_children() - before < 3


def cpu_s_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
