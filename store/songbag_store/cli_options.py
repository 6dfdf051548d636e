"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from songbag_store.store import SongStore

Store = Annotated[str, typer.Argument(metavar="STORE", help="The store: a folder, or s3://, gs://, az://.")]
StorageOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="For object stores, may be repeated: endpoint=..., region=..., profile=..."),
]
Snapshot = Annotated[int | None, typer.Option(min=0, help="Read this snapshot instead of the newest.")]


def open_store(store: str, snapshot: int | None, storage_option: list[str] | None) -> SongStore:
    """Open the store that a command was given."""
    from songbag_store.object_options import parse_options
    from songbag_store.store import SongStore

    return SongStore.open(store, snapshot=snapshot, storage_options=parse_options(storage_option))
