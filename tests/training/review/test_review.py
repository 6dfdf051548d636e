"""Labels that are probably wrong, and songs to label next: tables that `relabel` takes back."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

import songbag
from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.format.document import write_fields
from songbag_store.progress import Lines
from songbag_store.sql.output import write_table
from songbag_training.errors import DamagedRun, RunNotFound
from songbag_training.evaluation.doubt import doubtful, doubtful_members
from songbag_training.review.review import find_review
from songbag_training.review.unlabelled import LeastCertain, are_unlabelled, farthest_first, margin
from songbag_training.runs.run import Run
from songbag_training.songs.task import Task
from tests.support import labelled
from tests.support.answers import judging
from tests.support.long import LONG


def shares_of(classes: list[str], labels: dict[str, Any], sure: float = 0.8) -> dict[str, list[float]]:
    """Return probabilities that are right of every song."""
    rest = (1 - sure) / (len(classes) - 1)
    return {song: [sure if name == own else rest for name in classes] for song, own in labels.items()}


def labels_of(store: SongStore, column: str = "label") -> dict[str, Any]:
    songs = store.songs(columns=["song_id", column], arrow=True)
    return dict(zip(songs["song_id"].to_pylist(), songs[column].to_pylist(), strict=True))


def reviewed(folder: Path, store: SongStore | None = None, **options: Any) -> tuple[list[dict[str, Any]], list[str]]:
    lines: list[str] = []
    table = songbag.review(folder, store, arrow=True, progress=Lines(lines.append), **options)
    return table.to_pylist(), lines


@pytest.fixture
def own(store: SongStore, tmp_path: Path) -> SongStore:
    """Return a copy of the store that may be relabelled."""
    shutil.copytree(store.address, tmp_path / "store")
    return SongStore.open(tmp_path / "store")


def test_doubtful_songs_by_hand() -> None:
    """Averages of the given class: 0.7 of (0.9, 0.8, 0.4), 0.65 of (0.7, 0.6); the third song reaches 0.6 only."""
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.4, 0.6]])
    given = np.array([0, 0, 0, 1, 1])
    assert doubtful(given, shares).tolist() == []
    shares[2] = [0.3, 0.7]  # averages: 2/3 and 0.65
    assert doubtful(given, shares).tolist() == [2]
    assert doubtful(np.array([0, 1]), np.full((2, 2), 0.5)).tolist() == []


def test_the_worst_comes_first_and_nan_counts_for_nothing() -> None:
    rng = np.random.default_rng(3)
    given = rng.integers(0, 3, 60)
    shares = np.full((60, 3), 0.1)
    shares[np.arange(60), given] = 0.8
    shares[4], shares[9] = np.roll(shares[4], 1), [0.0 if n == given[9] else x for n, x in enumerate((0.1, 0.9, 0.0))]
    shares[9] = np.where(np.arange(3) == (given[9] + 1) % 3, 0.95, 0.025)
    shares[20] = np.nan
    assert doubtful(given, shares).tolist() == [9, 4]
    assert doubtful(given[:0], shares[:0]).tolist() == []
    assert doubtful(given[20:21], shares[20:21]).tolist() == []


def test_a_class_with_one_song_or_with_none() -> None:
    """Of a class with one song, that song is the average; of one without a song, nothing is said."""
    shares = np.array([[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.1, 0.0, 0.9]])
    assert doubtful(np.array([0, 0, 1, 0]), shares).tolist() == []
    shares[3] = [0.1, 0.9, 0.0]
    assert doubtful(np.array([0, 0, 1, 0]), shares).tolist() == [3]


def test_classes_of_a_song_are_doubted_one_by_one() -> None:
    members = np.tile([[True, False], [False, True]], (5, 1))
    shares = np.where(members, 0.9, 0.1)
    shares[0, 1] = 0.95
    shares[3, 1] = 0.02
    assert np.argwhere(doubtful_members(members, shares)).tolist() == [[0, 1], [3, 1]]


@pytest.mark.long
@pytest.mark.skipif(not LONG, reason="needs cleanlab, and make test-long")
@pytest.mark.parametrize("n_classes", [2, 3, 12])
def test_it_is_what_cleanlab_finds(n_classes: int) -> None:
    """But for songs whose most probable class is unlikely, and another one likely: cleanlab doubts these too."""
    from cleanlab.count import get_confident_thresholds
    from cleanlab.filter import find_label_issues

    rng = np.random.default_rng(n_classes)
    true = rng.integers(0, n_classes, 600)
    logits = rng.normal(0, 1, (600, n_classes))
    logits[np.arange(600), true] += 2.5
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    given = np.where(rng.random(600) < 0.15, rng.integers(0, n_classes, 600), true)
    usual = get_confident_thresholds(given, shares)
    found = find_label_issues(
        given, shares, filter_by="confident_learning", return_indices_ranked_by="normalized_margin"
    )
    top = shares.argmax(axis=1)
    expected = [row for row in found if shares[row, top[row]] >= usual[top[row]]]
    assert len(expected) > 20
    assert doubtful(given, shares).tolist() == expected


@pytest.mark.fault(151)
def test_the_file_goes_back_into_the_store_as_it_is(run: Run, own: SongStore, tmp_path: Path) -> None:
    labels = labels_of(own)
    given = dict(labels, **{"rock/01": "jazz", "folk/03": "rock"})
    path = tmp_path / "wrong.csv"
    path.write_text("song_id,label\nrock/01,jazz\nfolk/03,rock\n")
    wrong, _ = songbag.relabel(own, path)
    shares = shares_of(run.facts.classes, labels) | {"folk/03": [0.9, 0.05, 0.05]}
    folds = judging(run, tmp_path / "folds", given, shares, snapshot=wrong.snapshot)
    rows, lines = reviewed(folds, wrong)
    assert lines == []
    assert [(row["song_id"], row["label"], row["review_given"]) for row in rows] == [
        ("folk/03", "folk", "rock"),
        ("rock/01", "rock", "jazz"),
    ]
    assert (rows[0]["review_p_given"], rows[0]["review_p_likely"]) == (0.05, 0.9)
    for name in ("fix.csv", "fix.json", "fix.parquet"):
        write_table(songbag.review(folds, wrong, arrow=True), name.split(".")[1], tmp_path / name)  # type: ignore[arg-type]
        fixed, n = songbag.relabel(SongStore.open(own.address), tmp_path / name)
        assert (n, labels_of(fixed)) == (2, labels)
        assert fixed.inside.state.content.schema.names == own.inside.state.content.schema.names
    rows, lines = reviewed(folds, SongStore.open(own.address))
    assert (rows, lines) == ([], ["2 doubtful songs were given another label since, and left out"])
    write_table(songbag.review(folds, fixed, arrow=True), "csv", tmp_path / "none.csv")
    assert songbag.relabel(fixed, tmp_path / "none.csv")[1] == 0
    assert [row["song_id"] for row in reviewed(folds, wrong, k=1)[0]] == ["folk/03"]
    assert [row["song_id"] for row in reviewed(folds, wrong, where="song_id like 'rock%'")[0]] == ["rock/01"]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.string(), ["1", "2", "10"]),
        (pa.string(), ["True", "false", "2020-01-01"]),
        (pa.string(), ['a,"b"', " c", "=1+1\n"]),
        (pa.int64(), [1, 2, 10]),
        (pa.float64(), [1.0, 2.0, 10.0]),
    ],
)
def test_labels_of_every_type_go_through_a_csv(run: Run, tmp_path: Path, kind: pa.DataType, values: list[Any]) -> None:
    songs = [
        {"song_id": f"{number:02}", "label": values[number % 3], "windows": np.zeros((1, 10, 16), np.float32)}
        for number in range(12)
    ]
    store = labelled.write_store(tmp_path / "store", songs, label_type=kind)
    names = [str(int(value)) if isinstance(value, float) else str(value) for value in values]
    shares = shares_of(names, {f"{number:02}": names[number % 3] for number in range(12)})
    shares["05"] = [0.9, 0.05, 0.05]
    labels = {song: names[number % 3] for number, song in enumerate(sorted(shares))}
    facts = {"classes": names, "store_uuid": store.uuid, "snapshot": store.snapshot}
    folds = judging(run, tmp_path / "folds", labels, shares, **facts)
    write_table(songbag.review(folds, store, arrow=True), "csv", tmp_path / "fix.csv")
    fixed, _ = songbag.relabel(store, tmp_path / "fix.csv")
    assert fixed.inside.state.content.schema.field("label").type == kind
    assert labels_of(fixed) == labels_of(store) | {"05": values[0]}


def test_lists_keep_the_classes_that_were_not_learned_and_go_through_parquet(
    run: Run, tagged: SongStore, tmp_path: Path
) -> None:
    shutil.copytree(tagged.address, tmp_path / "store")
    store = SongStore.open(tmp_path / "store")
    labels = {song: tuple(own) for song, own in labels_of(store).items() if own is not None}
    learned = ["brass", "drums"]  # voice was left out
    known = {song: tuple(name for name in own if name in learned) for song, own in labels.items()}
    shares = {song: [0.9 if name in own else 0.1 for name in learned] for song, own in known.items()}
    shares["07"] = [0.01, 0.9]
    shares["00"] = [0.1, 0.95]
    facts = {"classes": learned, "task": "multi-label", "store_uuid": store.uuid, "snapshot": store.snapshot}
    folds = judging(run, tmp_path / "folds", known, shares, **facts)
    rows, _ = reviewed(folds, store)
    assert [(row["song_id"], row["label"]) for row in rows] == [("07", ["drums", "voice"]), ("00", ["drums"])]
    write_table(songbag.review(folds, store, arrow=True), "parquet", tmp_path / "fix.parquet")
    fixed, _ = songbag.relabel(store, tmp_path / "fix.parquet")
    assert labels_of(fixed) == labels_of(store) | {"07": ["drums", "voice"], "00": ["drums"]}
    with pytest.raises(UsageError, match="a CSV cannot hold"):
        find_review(folds, store, k=None, where=None, encoder=None, flat=True, progress=Lines(print))


def test_what_is_no_cross_validation_is_told_what_to_give(run: Run, own: SongStore, tagged: SongStore) -> None:
    with pytest.raises(UsageError, match="this is a run"):
        songbag.review(run)
    with pytest.raises(RunNotFound, match="no run"):
        songbag.review(own.address)
    with pytest.raises(UsageError, match="must be a whole number from 1"):
        songbag.review(run, own, k=0)


def test_another_store_and_a_column_of_songbags_own_are_refused(
    run: Run, store: SongStore, tagged: SongStore, tmp_path: Path
) -> None:
    labels = labels_of(store)
    folds = judging(run, tmp_path / "folds", labels, shares_of(run.facts.classes, labels))
    with pytest.raises(UsageError, match="another store was cross-validated"):
        songbag.review(folds, tagged)
    odd = judging(run, tmp_path / "odd", labels, shares_of(run.facts.classes, labels), label="source_format")
    with pytest.raises(UsageError, match="songbag fills itself"):
        songbag.review(odd, store)


def test_songs_without_probabilities_are_counted(run: Run, store: SongStore, tmp_path: Path) -> None:
    labels = labels_of(store)
    shares = shares_of(run.facts.classes, labels) | {"folk/00": [float("nan")] * 3}
    assert reviewed(judging(run, tmp_path / "folds", labels, shares), store) == (
        [],
        ["1 song without probabilities left out"],
    )


def test_a_run_names_unlabelled_songs_with_an_empty_label(run: Run, own: SongStore, tmp_path: Path) -> None:
    songs = list(labels_of(own))[:9]
    path = tmp_path / "gone.csv"
    path.write_text("song_id,label\n" + "".join(f"{song},\n" for song in songs))
    store, _ = songbag.relabel(own, path)
    table = songbag.review(run, store, k=8, arrow=True)
    assert table.schema.field("label").type == pa.string()
    assert (table.num_rows, table["label"].null_count) == (8, 8)
    assert {*table["song_id"].to_pylist()} <= {*songs}
    margins = table["review_margin"].to_pylist()
    assert margins[0] == min(margins)
    predicted = run.predictions().set_index("song_id")["predicted"]
    assert table["review_likely"].to_pylist() == [predicted[song] for song in table["song_id"].to_pylist()]
    write_table(table, "csv", tmp_path / "next.csv")
    again, n = songbag.relabel(store, tmp_path / "next.csv")
    assert (n, again.snapshot) == (8, store.snapshot)
    assert songbag.review(run, own, arrow=True).num_rows == 0


def test_how_probable_the_prediction_is_is_told_also_if_costs_predict_another_class(
    run: Run, own: SongStore, tmp_path: Path
) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    costs = [[0.0, 1.0, 1.0]] * 3  # to say the first class costs nothing
    facts = dataclasses.replace(run.facts, files=None, costs=costs)
    (tmp_path / "run" / "run.json").write_bytes(write_fields(facts))
    none = pa.table({"song_id": ["folk/00", "rock/00"], "label": pa.nulls(2, pa.string())})
    write_table(none, "parquet", tmp_path / "none.parquet")
    store, _ = songbag.relabel(own, tmp_path / "none.parquet")
    table = songbag.review(tmp_path / "run", store).set_index("song_id")
    wanted = songbag.predict(run, store).set_index("song_id")
    assert set(table["review_likely"]) == {"folk"}
    for song in ("folk/00", "rock/00"):
        assert table["review_p_likely"][song] == pytest.approx(wanted["p_folk"][song], abs=1e-6)


def test_a_cross_validation_without_its_first_fold_is_damaged(run: Run, store: SongStore, tmp_path: Path) -> None:
    labels = labels_of(store)
    folds = judging(run, tmp_path / "folds", labels, shares_of(run.facts.classes, labels))
    (folds / "fold-1" / "run.json").unlink()
    for ask in (songbag.review, lambda folder: songbag.compare(folder, folder)):
        with pytest.raises(DamagedRun, match=r"fold-1/run.json: is missing"):
            ask(folds)


def test_a_column_that_the_store_does_not_have_is_filled_in(tmp_path: Path) -> None:
    songs = [dict(one, label=None) for one in labelled.songs_of_classes({"folk": 2})]
    store = labelled.write_store(tmp_path / "store", songs)
    table = store.songs(columns=["song_id"], arrow=True)
    assert are_unlabelled(table, "mood").all()
    table = table.append_column("mood", pa.nulls(2, pa.string())).append_column("review_likely", pa.array(["a", "b"]))
    write_table(table, "csv", tmp_path / "next.csv")
    assert set(labels_of(songbag.relabel(store, tmp_path / "next.csv")[0], "mood").values()) == {None}
    filled = table.set_column(1, "mood", pa.array(["calm", None], pa.string()))
    write_table(filled, "csv", tmp_path / "next.csv")
    assert set(labels_of(songbag.relabel(store, tmp_path / "next.csv")[0], "mood").values()) == {"calm", None}


def test_chosen_songs_are_unlike_each_other() -> None:
    vectors = [np.array(one, np.float32) for one in ([1, 0], [1, 0.01], [0, 1], [0, 0], [-1, 0])]
    assert farthest_first(vectors, 3).tolist() == [0, 4, 2]
    assert sorted(farthest_first(vectors, 9).tolist()) == [0, 1, 2, 3, 4]
    assert farthest_first([], 3).tolist() == []
    assert farthest_first([vectors[0]] * 3, 2).tolist() == [0, 1]


def test_of_any_number_of_songs_only_the_least_certain_are_held() -> None:
    found, rng = LeastCertain(10), np.random.default_rng(0)
    margins, most = rng.random(500), 0
    for number, own in enumerate(margins):
        found.add(f"{number:03}", float(own), np.zeros(2), np.zeros(2, np.float32))
        most = max(most, len(found.vectors))
    found.end()
    assert most < 20
    assert found.margins == sorted(margins)[:10]
    assert margin(Task(("a", "b", "c")), np.array([0.5, 0.3, 0.2])) == pytest.approx(0.2)
    assert margin(Task(("a", "b"), several=True), np.array([0.5, 1.0])) == pytest.approx(0.5)
