"""Predictions that were ended before they were finished, and predictions of many songs."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from songbag_pipeline.run import shares
from songbag_store import SongStore
from songbag_store.errors import FileError, Interrupted, UsageError
from songbag_store.progress import Silent
from songbag_store.storage.location import Location
from songbag_training import PredictConfig, predict
from songbag_training.apply import predict as module
from songbag_training.cli import commands
from songbag_training.partial.parts import PredictedParts, open_parts
from songbag_training.runs.run import Run
from tests.support.audio import chirp, write
from tests.support.long import LONG
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.usefixtures("loaded_once")


class Died(BaseException):
    """Stands for the end of a process."""


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight short songs, one of them broken and one hidden."""
    folder = tmp_path_factory.mktemp("music")
    for number in range(6):
        write(folder / f"{number}.wav", chirp(0.5 + number / 4, seed=number))
    write(folder / ".hidden.wav", chirp(1.0, seed=9))
    (folder / "broken.wav").write_bytes(b"RIFF")
    return folder


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a part of every song, or of four songs of a store."""
    monkeypatch.setattr(shares, "_SMALLEST_S", 0.01)
    monkeypatch.setattr(shares, "_ROUNDS", 100)
    monkeypatch.setattr(module, "SONGS_AT_ONCE", 4)


@contextmanager
def dying(moment: int = 0) -> Iterator[Callable[[], int]]:
    """Let a process end at a moment: when something is forced to disk for the nth time; lend how often that was."""
    times, fsync = 0, os.fsync

    def counted(descriptor: int) -> None:
        nonlocal times
        times += 1
        if times == moment:
            raise Died
        fsync(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", counted)
        yield lambda: times


def both(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "out.csv").read_bytes(), (folder / "why.parquet").read_bytes()


def ask(run: Run, source: Any, folder: Path, **more: Any) -> Any:
    folder.mkdir(exist_ok=True)
    return predict(run, source, folder / "out.csv", windows=folder / "why.parquet", progress=Silent(), **more)


@pytest.mark.parametrize("kind", ["audio", "store"])
def test_what_is_predicted_is_not_done_again_wherever_a_process_ended(
    run: Run, store: SongStore, music: Path, tmp_path: Path, one_by_one: None, kind: str
) -> None:
    source = music if kind == "audio" else store
    with dying() as times:
        whole = ask(run, source, tmp_path / "whole")
    n_songs, last = {"audio": 7, "store": 36}[kind], times()
    assert (whole.n_songs, whole.n_known) == (n_songs, 0)
    known = []
    for moment in range(1, last + 1) if LONG else (last // 2, last - 1):
        folder = tmp_path / str(moment)
        with dying(moment), pytest.raises(Died):
            ask(run, source, folder)
        # At the last moments both files are there already.
        assert not (folder / "out.csv").exists() or both(folder) == both(tmp_path / "whole")
        done = ask(run, source, folder)
        known.append(done.n_known)
        assert both(folder) == both(tmp_path / "whole")
        assert sorted(path.name for path in folder.iterdir()) == ["out.csv", "why.parquet"]
        assert (done.n_songs, done.n_failed, done.failures) == (n_songs, whole.n_failed, whole.failures)
    assert known == sorted(known)
    assert 0 < known[-2 if not LONG else last // 2] < known[-1] == n_songs


def test_a_prediction_of_something_else_into_the_same_file_is_refused_by_what_differs(
    run: Run, store: SongStore, music: Path, tmp_path: Path, one_by_one: None
) -> None:
    with dying(30), pytest.raises(Died):
        ask(run, store, tmp_path)
    partial = tmp_path / "out.csv.partial"
    n_parts = len(list(partial.iterdir()))
    assert n_parts > 3
    out = tmp_path / "out.csv"
    with pytest.raises(UsageError, match=r"not finished there \(windows True, now False\)") as refused:
        predict(run, store, out)
    assert str(partial) in refused.value.remedy
    with pytest.raises(UsageError, match=r"\(snapshot None, now 1\)"):
        ask(run, Location(store.address, snapshot=1), tmp_path)
    with pytest.raises(UsageError, match=r"\(exclude \[\], now \['0\.wav'\], source '.*', now '.*music"):
        ask(run, music, tmp_path, config=PredictConfig(exclude=("0.wav",)))
    assert len(list(partial.iterdir())) == n_parts
    # What no user of songbag has made is not touched.
    for content in (b"{", b"[]", b'{"format": 2}'):
        (partial / "predict.json").write_bytes(content)
        with pytest.raises(UsageError, match=r"out\.csv\.partial: (is no folder of|another prediction)"):
            ask(run, store, tmp_path)
    other = tmp_path / "other.csv.partial"
    other.write_text("a file")
    with pytest.raises(UsageError, match="is no folder of unfinished predictions"):
        predict(run, store, tmp_path / "other.csv")
    assert other.read_text() == "a file"


def test_two_processes_do_not_predict_into_one_file(run: Run, store: SongStore, tmp_path: Path) -> None:
    with open_parts(tmp_path / "out.csv", {}, pa.schema([("song_id", pa.string())]), None):
        with pytest.raises(UsageError, match="another process writes to this place"):
            predict(run, store, tmp_path / "out.csv")
        assert (tmp_path / "out.csv.partial").is_dir()


def test_songs_that_changed_meanwhile_are_predicted_again_and_gone_ones_are_left_out(
    run: Run, music: Path, tmp_path: Path, one_by_one: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    songs = tmp_path / "songs"
    songs.mkdir()
    for number in range(4):
        write(songs / f"{number}.wav", chirp(0.5, seed=number))
    with monkeypatch.context() as patch:
        patch.setattr(module, "remove_parts", stop_before_the_end)
        with pytest.raises(Died):
            ask(run, songs, tmp_path)
    write(songs / "1.wav", chirp(2.0, seed=11))
    (songs / "2.wav").unlink()
    (songs / "2.wav").mkdir()
    write(songs / "5.wav", chirp(1.0, seed=5))
    done = ask(run, songs, tmp_path)
    assert (done.n_songs, done.n_known) == (4, 2)
    now = ask(run, songs, tmp_path / "again")
    assert (now.n_songs, now.n_known) == (4, 0)
    assert both(tmp_path) == both(tmp_path / "again")


def stop_before_the_end(parts: PredictedParts) -> None:
    raise Died


def test_a_part_that_is_damaged_or_gone_is_named(run: Run, store: SongStore, tmp_path: Path, one_by_one: None) -> None:
    with dying(30), pytest.raises(Died):
        ask(run, store, tmp_path)
    part = min((tmp_path / "out.csv.partial").glob("0*1.parquet"))
    content = bytearray(part.read_bytes())
    content[8] ^= 1
    part.write_bytes(content)
    with pytest.raises(FileError, match=part.name) as named:
        ask(run, store, tmp_path)
    assert str(part) in named.value.remedy
    part.unlink()
    assert ask(run, store, tmp_path).n_songs == 36


def test_predictions_do_not_depend_on_how_songs_are_shared_out(
    run: Run, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = predict(run, music, arrow=True, progress=Silent())
    monkeypatch.setattr(shares, "_SMALLEST_S", 0.01)
    monkeypatch.setattr(shares, "_ROUNDS", 100)
    alone = predict(run, music, arrow=True, progress=Silent())
    for name in together.column_names:
        if name.startswith("p_"):
            np.testing.assert_allclose(alone[name].to_numpy(), together[name].to_numpy(), rtol=0, atol=1e-6)
        else:
            assert alone[name].equals(together[name])


def test_what_of_a_folder_is_predicted_can_be_chosen(run: Run, music: Path, store: SongStore, tmp_path: Path) -> None:
    def ids(**chosen: Any) -> list[str]:
        table = predict(run, music, config=PredictConfig(**chosen), arrow=True, progress=Silent())
        return table["song_id"].to_pylist()

    assert ids(exclude=("[1-5].wav",), hidden=True) == [".hidden.wav", "0.wav", "broken.wav"]
    for name, value in {"workers": 2, "hidden": True, "exclude": ("a",), "scheduler": "tcp://a:1"}.items():
        with pytest.raises(UsageError, match=f"{name}: is for audio"):
            predict(run, store, tmp_path / "out.csv", config=PredictConfig(**{name: value}))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="need a file to work for"):
        predict(run, music, config=PredictConfig(scheduler="tcp://127.0.0.1:9"))
    # On the command line, with its words.
    line = ["predict", str(run.folder), str(store.address), "-o", str(tmp_path / "out.csv"), "--follow-links"]
    done = CliRunner().invoke(commands, line)
    assert isinstance(done.exception, UsageError)
    assert "follow_links" in str(done.exception)


@pytest.mark.parametrize("kind", ["audio", "store"])
def test_a_signal_ends_it_with_what_is_predicted_kept(
    run: Run,
    store: SongStore,
    music: Path,
    tmp_path: Path,
    one_by_one: None,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    add, source = PredictedParts.add, music if kind == "audio" else store

    def signalled(parts: PredictedParts, *arguments: Any) -> None:
        add(parts, *arguments)
        if parts.next_number == 4:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(PredictedParts, "add", signalled)
        with pytest.raises(Interrupted) as ended:
            predict(run, source, tmp_path / "out.csv", progress=Silent())
    assert ended.value.exit_code == 143
    assert not (tmp_path / "out.csv").exists()
    # It is noted by a thread of its own, and a few songs later.
    assert 3 <= predict(run, source, tmp_path / "out.csv", progress=Silent()).n_known < 36


def test_many_songs_are_put_together_in_little_memory(tmp_path: Path) -> None:
    n_parts, n_each, names = 20, 2000, [f"p_{number}" for number in range(20)]
    schema = pa.schema([("song_id", pa.string()), *((name, pa.float64()) for name in names)])
    windows = pa.schema([("song_id", pa.string()), ("window", pa.int32())])
    ids = np.array([f"{number:06}" for number in range(n_parts * n_each)])
    before, peak, seen = pa.total_allocated_bytes(), 0, []
    with open_parts(tmp_path / "out.csv", {}, schema, windows) as parts:
        # Not in the order of the songs, and two parts share a stretch of them.
        chance = np.random.default_rng(0)
        order = chance.permutation(n_parts)
        shares_of = {part: ids[part * n_each : (part + 1) * n_each] for part in range(n_parts)}
        mixed = np.concatenate([shares_of[0], shares_of[1]])
        shares_of[0], shares_of[1] = mixed[::2], mixed[1::2]
        for part in order.tolist():
            own = shares_of[part]
            numbers = [own.astype(np.float64)] * len(names)
            with parts.adding() as writer:
                assert writer is not None
                writer.add(pa.table([np.repeat(own, 3), np.tile(np.arange(3, dtype=np.int32), len(own))], windows))
            parts.add(pa.table([own, *numbers], schema), pa.array(own), np.full(len(own), 3))
        for rows, own_windows in parts.assembled(pa.chunked_array([ids])):
            found = pa.concat_tables(own_windows)["song_id"].to_pylist()
            assert found == np.repeat(rows["song_id"].to_pylist(), 3).tolist()
            assert rows["p_7"].to_pylist() == [float(one) for one in rows["song_id"].to_pylist()]
            seen += rows["song_id"].to_pylist()
            peak = max(peak, pa.total_allocated_bytes() - before)
    assert seen == ids.tolist()
    whole = len(ids) * len(names) * 8
    # The ids and keys of all songs, and eight parts.
    assert peak < 3 * len(ids) * 30 + 9 * whole // n_parts


@pytest.mark.skipif(not LONG, reason="make test-long: TensorFlow and workers start again and again")
@pytest.mark.parametrize("kind", ["audio", "store"])
def test_kill_9_at_random_moments_costs_only_what_was_under_way(
    run: Run, tmp_path: Path, make_store: Any, songs_of_classes: Any, kind: str
) -> None:
    chance = random.Random(17)
    if kind == "audio":
        source = tmp_path / "songs"
        samples = chirp(60.0, 44100, 2)
        for number in range(40):
            write(source / f"{number:02}.flac", samples * (0.5 + number / 90), 44100)
    else:
        source = Path(make_store(tmp_path / "store", songs_of_classes({"a": 3000, "b": 3000})).address)
    arguments = [sys.executable, "-m", "songbag", "predict", str(run.folder), str(source)]
    arguments += ["--workers", "2"] if kind == "audio" else []
    subprocess.run([*arguments, "-o", str(tmp_path / "whole.parquet")], check=True, timeout=PATIENCE_S)
    out, killed = tmp_path / "out.parquet", 0
    while not out.exists():
        process = subprocess.Popen([*arguments, "-o", str(out)])
        try:
            process.wait(chance.uniform(5.0, 20.0))
        except subprocess.TimeoutExpired:
            for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                one.kill()
            process.wait()
            killed += 1
    assert killed > 1
    one, other = pq.read_table(tmp_path / "whole.parquet"), pq.read_table(out)
    assert one.drop_columns([name for name in one.column_names if name.startswith("p_")]).equals(
        other.drop_columns([name for name in one.column_names if name.startswith("p_")])
    )
    for name in one.column_names:
        if name.startswith("p_"):
            np.testing.assert_allclose(one[name].to_numpy(), other[name].to_numpy(), rtol=0, atol=1e-6)
    assert not out.with_name("out.parquet.partial").exists()
