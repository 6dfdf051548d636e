"""The commands of `songbag demo`, one after the other, as a user would type them."""

import csv
import json
import os
import shlex
import sys
from pathlib import Path

from songbag_pipeline.demo.collection import BROKEN_FILES, SONGS_PER_GENRE, write_collection
from songbag_store.cli import main
from songbag_store.words import counted

MARKER = "songbag-demo.txt"
"""A file that marks a folder as the demo's, and says whether all songs were written."""
_UNDER_WAY, _COMPLETE = "A songbag demo: songs being written.\n", "A songbag demo: songs complete.\n"

_GENRES_SQL = (
    "select label, count(*) as songs, round(sum(duration_s) / 60, 1) as minutes, sum(n_windows) as windows "
    "from songs group by label order by label"
)
_SHORTEST_SQL = (
    "select song_id, source_format, source_sample_rate_hz, channels, round(duration_s, 1) as duration_s, padded "
    "from songs order by songs.duration_s limit 5"
)


def walk(folder: Path, *, songs_per_genre: int = SONGS_PER_GENRE) -> int:
    """Make the collection in ``folder`` and run songbag on it from the first command to the last.

    Each command is printed, and then runs in ``folder`` as if it was typed there. If an earlier demo left the folder,
    its songs are kept, and a new run is put beside the old one.

    Parameters
    ----------
    folder : Path
        Absent, empty, or left by an earlier demo.
    songs_per_genre : int
        As for `write_collection`.

    Returns
    -------
    exit_code : int
        0, or 1 if the folder holds something else, or the exit code of the command that failed, as a shell counts it.
    """
    is_empty = not any(folder.iterdir()) if folder.is_dir() else not folder.exists()
    if not is_empty and not (folder / MARKER).is_file():
        print(
            f"demo folder '{folder}': it holds files of something else, and the demo overwrites nothing.\n"
            f"  Name a folder that is empty or not there yet: songbag demo {shlex.quote(str(folder / 'demo'))}",
            file=sys.stderr,
        )
        return 1
    _make_songs(folder, songs_per_genre)
    run, predictions = _fresh_names(folder)
    print(f"\n$ cd {shlex.quote(str(folder))}", flush=True)
    for shows, words in _steps(run, predictions).items():
        typed = shlex.join(("songbag", *words))
        print(f"\n# {shows}\n$ {typed}", flush=True)
        code = _run(words, folder)
        if code:
            print(
                f"demo folder '{folder}': `{typed}` ended with exit code {code}; its own message is above.\n"
                "  What was made so far is kept: run the same `songbag demo` again to go on.",
                file=sys.stderr,
            )
            return code
    _sum_up(folder, run, predictions)
    return 0


def _run(words: list[str], folder: Path) -> int:
    """Run a command in this process, where TensorFlow is then loaded once for all, and return its exit code."""
    typed, there = sys.argv, Path.cwd()
    sys.argv = ["songbag", *words]
    os.chdir(folder)
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        sys.argv = typed
        os.chdir(there)


def _make_songs(folder: Path, songs_per_genre: int) -> None:
    """Write the collection, unless it is complete: to `extract`, new bytes would be changed songs."""
    marker, songs = folder / MARKER, folder / "songs"
    if songs.is_dir() and marker.read_text() == _COMPLETE:
        print(f"# The songs in {songs} are those of an earlier demo.")
        return
    print(f"# Synthesising made-up songs of made-up genres into {songs} ...", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(_UNDER_WAY)
    paths = write_collection(songs, songs_per_genre=songs_per_genre)
    marker.write_text(_COMPLETE)
    broken = counted(len(BROKEN_FILES), "file that is", "files that are")
    print(f"# {counted(len(paths) - len(BROKEN_FILES), 'song')} and {broken} broken on purpose.")


def _fresh_names(folder: Path) -> tuple[str, str]:
    """Return the first of ``run``, ``run-2``, ... and of its predictions' file that do not exist yet."""
    number, run, predictions = 1, "run", "predictions.csv"
    while (folder / run).exists() or (folder / predictions).exists():
        number += 1
        run, predictions = f"run-{number}", f"predictions-{number}.csv"
    return run, predictions


def _steps(run: str, predictions: str) -> dict[str, list[str]]:
    """Return what each command of the demo shows, in order, and its words; every path is relative to the folder."""
    trained = ["--label", "label", "-o", run, "--epochs", "10"]
    extract = ["extract", "songs", "store", "--label-from-folder"]
    return {
        "Decode every song once and keep its windowed MFCC; the folder's name is the label.": extract,
        "What the store holds.": ["info", "store"],
        "Ask the index anything in SQL: how much is there of each genre?": ["query", "store", _GENRES_SQL],
        "Which songs are the shortest? One below 5 s fills less than a window.": ["query", "store", _SHORTEST_SQL],
        "Broken files stop nothing; they are listed with their reason.": ["failures", "store"],
        "Train a model of whole songs from the store; no audio is read.": ["train", "store", *trained],
        "How well it does on songs it has not seen.": ["evaluate", run, "store"],
        "Name the genre of audio files, straight from the audio.": ["predict", run, "songs", "-o", predictions],
    }


def _sum_up(folder: Path, run: str, predictions: str) -> None:
    """Print the results, from the files that the commands have written."""
    metrics = json.loads((folder / run / "metrics.json").read_text())
    with (folder / predictions).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["predicted"]]
    right = sum(row["song_id"].split("/")[0] == row["predicted"] for row in rows)
    print(
        f"\nHeld-out songs named rightly: {metrics['test']['song']['accuracy']:.0%} (chance is about 25%).\n"
        f"Of all {counted(len(rows), 'song')}, those it was trained on included: {right} right.\n"
        f"In {folder}: the audio in songs/, the features in store/, the model in {run}/, its answers in {predictions}."
        f"\nTo look at in a browser: {(folder / run / 'report.html').absolute()}"
    )
