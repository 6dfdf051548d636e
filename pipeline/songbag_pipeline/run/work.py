"""The work of a run: the songs of a source that no earlier run has finished."""

from __future__ import annotations

import dataclasses
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from songbag_pipeline.errors import SongsChanged
from songbag_pipeline.run.config import ExtractConfig, selection_of
from songbag_pipeline.run.plan import Plan, count_duplicates
from songbag_pipeline.run.summary import Summary
from songbag_pipeline.run.tags import free_tags
from songbag_pipeline.songs.containment import folders_of, modules_of, try_features
from songbag_pipeline.sources.listing import Source
from songbag_pipeline.sources.source import read_source
from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import SpecError, StoreNotFound
from songbag_store.format.extractor import unasked
from songbag_store.format.index import join_rows, user_fields
from songbag_store.format.spec import EMBEDDING
from songbag_store.stop import doing
from songbag_store.storage.location import Location, LocationLike
from songbag_store.words import counted
from songbag_store.writer import SpecChoice, open_for_writing, take_over, without_index


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """What a run is to do.

    Attributes
    ----------
    store : SongStore
        Where to put the features. It is open without its index, which would stay in memory for hours.
    source : Location
        Where the songs lie.
    todo : pyarrow.Table
        As `songbag_pipeline.run.plan.Plan.todo`.
    config : ExtractConfig
        How to run.
    summary : Summary
        What was found so far.
    tags : tuple of str
        The tags of the songs that become columns.
    """

    store: SongStore
    source: Location
    todo: pa.Table
    config: ExtractConfig
    summary: Summary
    tags: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, source: LocationLike, store: Location, spec: FeatureSpec | SpecChoice | None, config: ExtractConfig
    ) -> Work:
        """Compare source and store; see `songbag_pipeline.run.extract.extract` for arguments and errors."""
        with doing("the songs are listed"):
            found = read_source(source, selection_of(config), label_from_folder=config.label_from_folder)
        with doing("the songs are compared with the store"):
            if found.is_nowhere and config.on_this_machine and not _is_known(found, store):
                found.refuse_nowhere()
            opened = open_for_writing(store, partial(_tried, spec, config))
            adopted, left_out = take_over(opened)
            tags, tag_notes = _tags(found, adopted) if config.tags else ((), [])
            plan = _plan(found, adopted, config)
        if plan.n_other_columns:
            has = counted(plan.n_other_columns, "song has", "songs have")
            what = f"{has} other columns in the store than the source gives"
            left_out.append(f"{what}; to change them: songbag relabel STORE LABELS")
        summary = Summary(
            n_known=plan.n_known,
            n_failed_before=plan.n_failed_before,
            n_adopted=adopted.inside.state.content.n_rows - opened.inside.state.content.n_rows,
            snapshot=adopted.snapshot,
            n_duplicates=count_duplicates(adopted),
            n_again=int(pc.sum(plan.again.slice(0, config.limit)).as_py() or 0),
            warnings=(*found.warnings, *filter(None, [found.missing()]), *left_out, *tag_notes),
        )
        return cls(without_index(adopted), found.location, plan.todo.slice(0, config.limit), config, summary, tags)


def _tried(spec: FeatureSpec | SpecChoice | None, config: ExtractConfig, stored: FeatureSpec | None) -> FeatureSpec:
    """Return the spec to use; that of a new store is tried first, because a store keeps its spec for ever.

    Raises
    ------
    SpecError
        If its features cannot be computed of audio; or the store names an extractor, which is not run unasked.
    """
    if stored is not None and stored.kind == EMBEDDING:
        what = "the store holds embeddings, which are not computed of audio"
        remedy = (
            "Extract into the store that they were made from, then run the same `songbag embed RUN STORE -o STORE2`."
        )
        raise SpecError(what, place="extract", remedy=remedy)
    wanted = spec(stored) if callable(spec) else spec or stored or FeatureSpec()
    if spec is None and wanted.extractor is not None:
        raise unasked(wanted.extractor)
    if stored is None:
        try_features(wanted, folders_of(config.upload), modules_of(config.upload))
    return wanted


def _is_known(source: Source, store: Location) -> bool:
    """Return whether a store has all songs of a source, with features or as failures."""
    try:
        known = SongStore.open(store).index(["song_id"], arrow=True)["song_id"]
    except StoreNotFound:
        return False
    return bool(pc.all(pc.is_in(source.songs["song_id"], value_set=known.combine_chunks())).as_py())


def _tags(source: Source, store: SongStore) -> tuple[tuple[str, ...], list[str]]:
    """Return the tags that become columns, and notes on the others and on songs that were stored without tags."""
    schema = store.inside.state.content.schema
    tags, notes = free_tags(user_fields(source.songs.schema), user_fields(schema))
    if store.inside.state.content.n_rows and any(tag not in schema.names for tag in tags):
        notes.append("songs that the store has already get no tags here: songbag relabel STORE --from-tags reads them")
    return tags, notes


def _plan(source: Source, store: SongStore, config: ExtractConfig) -> Plan:
    """Compare the songs with the index, and refuse columns that do not fit and changes that are not allowed."""
    schema = store.inside.state.content.schema
    join_rows([schema.empty_table(), source.songs.slice(0, 0).drop_columns(["file_bytes", "modified_at"])])
    plan = Plan.of(source, store.inside.state.content, retry_failed=config.retry_failed)
    if plan.changed and not config.update_changed:
        raise SongsChanged(plan.changed, place=str(source.location))
    return plan
