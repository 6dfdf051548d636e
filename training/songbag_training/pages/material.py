"""What a page shows of a run folder, and what of it is missing."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from songbag_store import SongStore
from songbag_store.errors import SongbagError
from songbag_store.format.document import parse_document
from songbag_store.format.index import END, START
from songbag_store.pages import sound
from songbag_store.pages.pictures import song_picture
from songbag_store.words import counted
from songbag_training.pages.songs import ShownSong
from songbag_training.runs.document import read_run_document
from songbag_training.runs.facts import RunFacts
from songbag_training.runs.store import open_store

T = TypeVar("T")

MOST_PICTURES = 240
_LONGEST_PICTURE = 500


class Missing:
    """Collects why parts of a page are not there."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def tried(self, what: str, make: Callable[[], T]) -> T | None:
        """Return what a function returns; None, and a note, if it cannot be read."""
        try:
            return make()
        except (SongbagError, OSError, ValueError, KeyError, IndexError, pa.ArrowException) as error:
            why = error.what if isinstance(error, SongbagError) else str(error).strip("'\"").splitlines()[:1]
            self.notes.append(f"{what}: {why if isinstance(why, str) else ' '.join(why) or type(error).__name__}.")
            return None


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read `metrics.json`."""
    return read_run_document(folder / "metrics.json", parse_document, "Write it again with `songbag evaluate RUN`.")


def read_history(folder: Path) -> dict[str, list[float | None]]:
    """Read `history.csv` as columns; a number that is missing or is none is None."""
    with (folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(rows[0]) if rows else []
    return {name: [_number(row.get(name)) for row in rows] for name in names if name}


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def read_copies(folder: Path) -> tuple[int, list[list[str]]] | None:
    """Return how many groups of copies the split of a run knows, and the first 20; None if they were not looked for."""
    path = folder / "split.parquet"
    if "copy_group" not in pq.read_schema(path).names:
        return None
    table = pq.read_table(path, columns=["song_id", "copy_group"])
    table = table.filter(pa.compute.is_valid(table["copy_group"]))
    groups: dict[int, list[str]] = {}
    for song_id, group in zip(table["song_id"].to_pylist(), table["copy_group"].to_pylist(), strict=True):
        groups.setdefault(group, []).append(song_id)
    several = [songs for songs in groups.values() if len(songs) > 1]
    return len(several), several[:20]


def song_sources(
    facts: RunFacts, songs: list[ShownSong], embed_audio: int, missing: Missing
) -> dict[str, dict[str, Any]]:
    """Return pictures and audio of songs from the store of a run, as far as it can be reached.

    Returns
    -------
    sources : dict
        Of a song: ``picture``, the address of an image; ``audio``, an address; ``from`` and ``to``, the seconds of the
        file that the song is, if it is a part of it.
    """
    store = missing.tried("Pictures and audio are missing, as the store cannot be opened", lambda: open_store(facts))
    if store is None:
        return {}
    found = missing.tried("The audio is missing", lambda: _audio(store, songs, embed_audio, missing)) or {}
    missing.tried("Pictures of features are missing", lambda: _add_pictures(store, songs, found))
    return found


def _audio(store: SongStore, songs: list[ShownSong], embed_audio: int, missing: Missing) -> dict[str, dict[str, Any]]:
    there = store.inside.state.content.schema.names
    columns = [name for name in ("song_id", "path", START, END, "n_windows") if name in there]
    table = store.songs(columns=columns, arrow=True)
    table = table.filter(pa.compute.is_in(table["song_id"], pa.array([song.song_id for song in songs], pa.string())))
    rows = {row["song_id"]: row for row in table.to_pylist()}
    found: dict[str, dict[str, Any]] = {}
    room, n_embedded = sound.MOST_BYTES_IN_ALL, 0
    for place, song in enumerate(songs):
        row = rows.get(song.song_id)
        if row is None:
            continue
        own: dict[str, Any] = {"n": row["n_windows"]}
        path = row.get("path")
        if address := sound.audio_address(path):
            inside = sound.embedded_audio(path, room) if place < embed_audio else None
            if inside is not None:
                room -= len(inside) * 3 // 4
                n_embedded += 1
            own["audio"] = inside or address
            if row.get(START) is not None or row.get(END) is not None:
                own |= {"from": row[START] or 0.0, "to": row[END]}
        found[song.song_id] = own
    if n_embedded < min(embed_audio, len(songs)):
        text = f"The audio of {n_embedded} of the first {counted(embed_audio, 'song')} is in this page"
        why = "other files are not on this machine, or larger than 16 MB, or more than 64 MB in all"
        missing.notes.append(f"{text}: {why}.")
    return found


def _add_pictures(store: SongStore, songs: list[ShownSong], found: dict[str, dict[str, Any]]) -> None:
    """Add pictures of the first songs that are not too long."""
    ids = [one.song_id for one in songs if 0 < found.get(one.song_id, {}).get("n", 0) <= _LONGEST_PICTURE]
    for song_id, windows in store.iter_windows(ids[:MOST_PICTURES]):
        found[song_id]["picture"] = song_picture(windows, store.spec)
