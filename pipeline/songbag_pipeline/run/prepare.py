"""Before a run: source and store are read, and what no earlier run has finished is the work."""

from __future__ import annotations

import dataclasses

import pyarrow as pa

from songbag_pipeline.errors import SongsChanged
from songbag_pipeline.run.config import ExtractConfig
from songbag_pipeline.run.plan import COLUMNS, count_duplicates, plan
from songbag_pipeline.sources.source import read_source
from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import finished_parts
from songbag_store.errors import StoreError
from songbag_store.format.index import REPLACES, join_rows, user_fields
from songbag_store.storage.location import Location
from songbag_store.writer import SpecChoice, commit_parts, open_for_writing, without_index


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a run is to do, and what it found.

    Attributes
    ----------
    store : SongStore
        Without its index: a run of hours is not to hold it in memory.
    todo : pyarrow.Table
        As `songbag_pipeline.run.plan.Plan.todo`.
    n_known, n_failed_before : int
        Songs of the source that are in the store, with features and as failures.
    n_adopted : int
        Songs that an earlier run had finished and not committed.
    snapshot, n_duplicates : int
        The newest snapshot, and its songs that are another one byte for byte.
    warnings : tuple of str
        What was left out, and why.
    """

    store: SongStore
    todo: pa.Table
    n_known: int
    n_failed_before: int
    n_adopted: int
    snapshot: int
    n_duplicates: int
    warnings: tuple[str, ...]


def prepare(
    source: Location,
    location: Location,
    spec: FeatureSpec | SpecChoice | None,
    config: ExtractConfig,
) -> Work:
    """Find out what there is to do; see `songbag_pipeline.run.extract.extract` for arguments and errors."""
    found = read_source(source, label_from_folder=config.label_from_folder)
    store = open_for_writing(location, spec)
    before = store.inside.state.n_rows
    store, left_out = _adopt(store)
    _check_columns(store.inside.state.schema, found.songs.drop_columns(["file_bytes", "modified_at"]))
    theirs = [field.name for field in user_fields(found.songs.schema) if field.name in store.inside.state.schema.names]
    index = store.index([*COLUMNS, *theirs], arrow=True)
    planned = plan(found.songs, index, retry_failed=config.retry_failed, storage_options=source.storage_options)
    if planned.changed and not config.update_changed:
        raise SongsChanged(planned.changed, place=str(source))
    if planned.n_other_columns:
        what = f"{planned.n_other_columns} songs have other columns in the store than the source gives"
        left_out.append(f"{what}; to change them: songbag relabel STORE LABELS")
    return Work(
        store=without_index(store),
        todo=planned.todo.slice(0, config.limit),
        n_known=planned.n_known,
        n_failed_before=planned.n_failed_before,
        n_adopted=store.inside.state.n_rows - before,
        snapshot=store.snapshot,
        n_duplicates=count_duplicates(store),
        warnings=(*found.warnings, *left_out),
    )


def _adopt(store: SongStore) -> tuple[SongStore, list[str]]:
    """Take in the parts that an earlier run finished and no snapshot has.

    Returns
    -------
    store : SongStore
        At the snapshot that has them.
    left_out : list of str
        Notes on the parts whose columns do not fit the index; their songs are computed again.
    """
    parts, _ = finished_parts(store.inside.storage, store.uuid, store.spec, store.inside.state.parts)
    fitting, left_out, columns = {}, [], store.inside.state.schema.empty_table()
    for name, rows in parts.items():
        try:
            columns = join_rows([columns, rows.slice(0, 0).drop_columns([REPLACES])])
        except StoreError as error:
            left_out.append(f"part {name} of an earlier run left out: {error.what}")
        else:
            fitting[name] = rows
    return commit_parts(store, fitting), left_out


def _check_columns(schema: pa.Schema, songs: pa.Table) -> None:
    """Refuse a source whose columns do not fit those of the index, before any work."""
    join_rows([schema.empty_table(), songs.slice(0, 0)])
