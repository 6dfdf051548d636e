"""The store of a run: the one that it was trained on, or another one with the same features."""

from __future__ import annotations

import pyarrow.compute as pc

from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import SpecMismatch, StoreNotFound, UsageError
from songbag_store.format.spec import EMBEDDING
from songbag_store.storage.location import Location
from songbag_store.store import StoreLike
from songbag_store.writer import open_identity
from songbag_training.runs.facts import RunFacts


def open_store(facts: RunFacts, store: StoreLike | None = None) -> SongStore:
    """Open the store of a run at the snapshot it was trained on.

    Parameters
    ----------
    facts : RunFacts
        What the run says of its store.
    store : SongStore, Location, str or pathlib.Path, optional
        The store, by default at its address at training. An open store is returned as it is.

    Raises
    ------
    UsageError
        If another store lies there.
    SpecMismatch
        If it holds features of another spec.
    """
    if isinstance(store, SongStore):
        return store
    location = Location.of(facts.store_location if store is None else store)
    try:
        opened = SongStore.open(location, snapshot=facts.snapshot)
    except StoreNotFound:
        if open_identity(location).uuid == facts.store_uuid:
            raise
        raise _another_store(location) from None
    refuse_other_spec(facts, opened)
    if (opened.uuid, opened.inside.state.sha256) != (facts.store_uuid, facts.snapshot_sha256):
        raise _another_store(location)
    return opened


def refuse_other_spec(facts: RunFacts, store: SongStore) -> None:
    """Refuse a store whose features are not those the model was trained on.

    Raises
    ------
    SpecMismatch
        Naming the fields that differ.
    """
    if store.spec.fingerprint != facts.fingerprint:
        raise SpecMismatch(
            "the store holds other features than the model was trained on; the model's against the store's",
            facts.spec.differences(store.spec),
            place=store.address,
            remedy=_remedy(facts.spec, store.spec),
        )


def require_song(store: SongStore, song: str) -> None:
    """Refuse a song without features; say which ones may be meant."""
    rows = store.index(["song_id", "status"], arrow=True)
    row = pc.index(rows["song_id"], song).as_py()
    if row >= 0 and rows["status"][row].as_py() == "ok":
        return
    rows = store.index(["song_id", "status", "error_code"], arrow=True)
    own = rows.filter(pc.equal(rows["song_id"], song))
    if own.num_rows and own["status"][0].as_py() != "ok":
        what = f"song {song!r} has no features, because it failed ({own['error_code'][0].as_py()})"
        raise UsageError(what, place=store.address, remedy="`songbag failures STORE` says what to do.")
    store.songs(ids=[song], columns=["song_id"], arrow=True)


def _remedy(wanted: FeatureSpec, given: FeatureSpec) -> str:
    if wanted.kind == EMBEDDING:
        run = wanted.embedding_run if given.kind != EMBEDDING else f"{wanted.embedding_run}, not {given.embedding_run}"
        return f"Give a store of its embeddings: `songbag embed RUN STORE -o STORE2` with the run {run}."
    if given.kind == EMBEDDING:
        return "That is a store of embeddings: give the one that they were made from."
    return "Extract the songs with the model's spec (run.json), or give `songbag predict` the audio itself."


def _another_store(location: Location) -> UsageError:
    return UsageError(
        "this is not the store that the run was trained on",
        place=str(location),
        remedy="Give that store, or an `output` for the results of another one.",
    )
