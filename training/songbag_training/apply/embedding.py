"""A store of embeddings: which songs of its source it lacks, and how they are written."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import SongStore
from songbag_store.commits.parts import write_part
from songbag_store.format.facts import ObjectFacts
from songbag_store.format.index import (
    CONTENT,
    END,
    REPLACES,
    SOUND_FIELDS,
    START,
    index_schema,
    join_rows,
    keep_rows,
    other_columns,
    user_fields,
)
from songbag_store.windows.spill import WindowSpill
from songbag_store.windows.writer import write_fragment
from songbag_store.words import counted
from songbag_store.writer import Committer
from songbag_training.songs.pieces import Piece
from songbag_training.types import FloatArray, Floats

FRAGMENT_BYTES = 384 << 20
"""Size of the embeddings of a fragment, before compression."""
_FRAGMENT_S = 60.0
_ROWS_AT_ONCE = 8192
_NOT_FINITE = "embedding-not-finite"
_SUMS = ("feature_sum", "feature_sumsq")
_COMPARED = ("song_id", "status", "error_code", CONTENT, START, END, "n_windows", "fragment")


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The songs of a source that a store of embeddings does not have, or not as they are now.

    Attributes
    ----------
    ok, failed : pyarrow.Table
        Rows of the source without the sums, with ``replaces``, of songs with and without windows. Those with windows
        are in the order in which the windows lie.
    n_known : int
        Songs that the store has already, failed ones included.
    notes : list of str
        What is to be said of the others.
    """

    ok: pa.Table
    failed: pa.Table
    n_known: int
    notes: list[str]

    @property
    def n_songs(self) -> int:
        """Songs to embed."""
        return int(self.ok.num_rows)


def embedding_plan(source: SongStore, target: SongStore) -> Plan:
    """Compare a source with a store of its embeddings, by song id, content and outcome.

    Raises
    ------
    StoreError
        If a column of the user's has another type in the two, without a common one.
    """
    schema = source.inside.state.content.schema
    join_rows([target.inside.state.content.schema.empty_table(), schema.empty_table()])
    songs = source.inside.state.columns([name for name in schema.names if name not in _SUMS])
    own = [field.name for field in user_fields(target.inside.state.content.schema) if field.name in schema.names]
    index = target.inside.state.columns([*_COMPARED, *own])
    position = pc.index_in(songs["song_id"], value_set=index["song_id"].combine_chunks())
    present = {name: index[name].take(position) for name in _COMPARED}
    same = pc.and_(*(_equal(songs[name], present[name]) for name in (START, END)))
    same = pc.and_(same, _equal(songs[CONTENT], present[CONTENT]))
    outcome = pc.and_(*(_equal(songs[name], present[name]) for name in ("status", "error_code")))
    outcome = pc.and_(outcome, _equal(songs["n_windows"], present["n_windows"]))
    refused = pc.fill_null(pc.equal(present["error_code"], _NOT_FINITE), False)
    is_there = pc.and_(pc.is_valid(position), pc.and_(same, pc.or_(outcome, refused)))
    todo = keep_rows(songs.append_column(REPLACES, present["fragment"]), pc.invert(is_there))
    ok = pc.equal(todo["status"], "ok")
    gone = index.num_rows - (pc.sum(pc.is_valid(position)).as_py() or 0)
    differ = pc.sum(pc.and_(is_there, other_columns(songs.select(_user_names(songs)), index, position))).as_py() or 0
    return Plan(
        todo.filter(ok).sort_by([("fragment", "ascending"), ("row_start", "ascending")]),
        todo.filter(pc.invert(ok)),
        songs.num_rows - todo.num_rows,
        [*_notes(gone, differ)],
    )


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray) -> pa.ChunkedArray:
    """Compare values; null equals null."""
    return pc.or_(pc.fill_null(pc.equal(left, right), False), pc.and_(pc.is_null(left), pc.is_null(right)))


def _user_names(table: pa.Table) -> list[str]:
    return [field.name for field in user_fields(table.schema)]


def _notes(n_gone: int, n_other: int) -> Iterator[str]:
    if n_gone:
        yield f"{counted(n_gone, 'song')} of the store of embeddings not in this snapshot: what is there stays"
    if n_other:
        what = f"{counted(n_other, 'song has', 'songs have')} other columns there than in the source"
        yield f"{what}; to change them: songbag relabel STORE LABELS"


@dataclasses.dataclass(slots=True)
class _Song:
    """A song that is being written: the sums of its embeddings, and whether all of them are finite."""

    sums: Floats
    squares: Floats
    n_windows: int = 0
    is_finite: bool = True

    @classmethod
    def of(cls, width: int) -> _Song:
        return cls(np.zeros(width), np.zeros(width))

    def add(self, embeddings: FloatArray) -> None:
        """Add the embeddings of some windows, shape (N, E)."""
        self.is_finite = self.is_finite and bool(np.isfinite(embeddings).all())
        self.sums += embeddings.sum(axis=0, dtype=np.float64)
        self.squares += np.square(embeddings, dtype=np.float64).sum(axis=0)
        self.n_windows += len(embeddings)

    def facts(self, row_start: int) -> dict[str, Any]:
        """Return what the index says of it beside what its source says."""
        if not self.is_finite:
            return fail("embedding-not-finite", "the encoder gave NaN or infinite values")
        own = {"feature_sum": self.sums.tolist(), "feature_sumsq": self.squares.tolist()}
        return {"row_start": row_start, "n_windows": self.n_windows, **own}


def fail(code: str, what: str) -> dict[str, Any]:
    """Return the facts of a song without embeddings."""
    nothing = dict.fromkeys(("row_start", *_SUMS, *(field.name for field in SOUND_FIELDS)))
    return {"status": "failed", "error_code": code, "error": what, "n_windows": 0, **nothing}


class EmbeddingWriter:
    """Writes songs into a store of embeddings: fragments, parts, and a commit now and then.

    After a crash, the parts that were finished are taken over by the next call.

    Parameters
    ----------
    store : SongStore
        The store of embeddings.
    plan : Plan
        What is missing in it.
    fragment_bytes : int
        A fragment ends with the song that makes it as large.

    Attributes
    ----------
    n_stored, n_failed : int
        Songs that were written with embeddings, and without.
    """

    def __init__(self, store: SongStore, plan: Plan, *, fragment_bytes: int = FRAGMENT_BYTES) -> None:
        self._store, self._plan, self._fragment_bytes = store, plan, fragment_bytes
        self._run_id = uuid.uuid4().hex
        self._committer = Committer(store, note="embed", run=self._run_id)
        self._facts: list[dict[str, Any]] = []
        self._n_done = self.n_stored = self.n_failed = 0

    def write(
        self, embeddings: Iterable[tuple[Piece, FloatArray]], is_stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[int]:
        """Write the songs of the plan as they come, in its order; yield after each song how many are written.

        Parameters
        ----------
        embeddings : iterable
            Pieces of the songs with their embeddings, shape (N, E).
        is_stopped : callable
            Asked after each song; if it says so, the fragment is ended and no further song is written.
        """
        pieces = iter(embeddings)
        n_songs = self._plan.n_songs
        while self._n_done < n_songs and not is_stopped():
            with WindowSpill(self._store.spec) as spill:
                try:
                    yield from self._fill(spill, pieces, is_stopped)
                finally:
                    # Whole songs are kept also if the next one cannot be read.
                    spill.drop_song()
                    self._end_fragment(spill)
            if self._committer.is_due and self._n_done < n_songs:
                self._committer.commit(ended=False)

    def end(self, *, whole: bool) -> SongStore:
        """Commit what was written, with the songs that had failed before if the songs are `whole`; return the store."""
        for start in range(0, self._plan.failed.num_rows if whole else 0, _ROWS_AT_ONCE):
            rows = self._plan.failed.slice(start, _ROWS_AT_ONCE)
            self._write_part(rows, uuid.uuid4().hex, [{} for _ in range(rows.num_rows)], {})
        return self._committer.commit(ended=True)

    def _fill(
        self, spill: WindowSpill, pieces: Iterator[tuple[Piece, FloatArray]], is_stopped: Callable[[], bool]
    ) -> Iterator[int]:
        """Put songs into a fragment until it is large or old enough."""
        began, song = time.monotonic(), _Song.of(self._store.spec.n_bands)
        for piece, embeddings in pieces:
            song.add(embeddings)
            spill.append(embeddings[:, :, None])
            if not piece.last:
                continue
            facts = song.facts(spill.n_windows)
            spill.end_song() if song.is_finite else spill.drop_song()
            self._facts.append(facts)
            song = _Song.of(self._store.spec.n_bands)
            yield self._n_done + len(self._facts)
            n_bytes = spill.n_windows * self._store.spec.window_bytes
            if n_bytes >= self._fragment_bytes or time.monotonic() - began > _FRAGMENT_S or is_stopped():
                return

    def _end_fragment(self, spill: WindowSpill) -> None:
        """Make the whole songs of a fragment durable."""
        if not self._facts:
            return
        facts, self._facts = self._facts, []
        fragment, storage, spec = uuid.uuid4().hex, self._store.inside.storage, self._store.spec
        objects = write_fragment(storage, fragment, spec, spill) if spill.n_windows else {}
        self._write_part(self._plan.ok.slice(self._n_done, len(facts)), fragment, facts, objects)
        self._n_done += len(facts)

    def _write_part(
        self, rows: pa.Table, fragment: str, facts: list[dict[str, Any]], objects: Mapping[str, ObjectFacts]
    ) -> None:
        """Write the rows of a fragment: what the source says of each song, with `facts` in the place of its own."""
        schema = index_schema(user_fields(rows.schema))
        made = {"fragment": fragment, "run_id": self._run_id, "extracted_at": datetime.now(UTC)}
        changed = {name for one in facts for name in one} | made.keys() | set(_SUMS)
        columns = {}
        for field in schema:
            if field.name in changed:
                old = rows[field.name].to_pylist() if field.name in rows.column_names else [None] * len(facts)
                new = [(made | own).get(field.name, kept) for own, kept in zip(facts, old, strict=True)]
                columns[field.name] = pa.array(new, field.type)
            else:
                columns[field.name] = rows[field.name]
        part = pa.table(columns, schema=schema).append_column(REPLACES, rows[REPLACES])
        store = self._store
        write_part(store.inside.storage, store.uuid, store.spec, fragment, part, objects)
        self._committer.add(fragment, part)
        n_failed = pc.sum(pc.equal(part["status"], "failed")).as_py() or 0
        self.n_failed += n_failed
        self.n_stored += part.num_rows - n_failed
