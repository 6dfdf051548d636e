"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from songbag_store.store import SongStore

Store = Annotated[str, typer.Argument(metavar="STORE", help="The store: a folder, or s3://, gs://, az://.")]
StorageOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="For object stores, may be repeated: endpoint=..., region=..., profile=..."),
]
CacheDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Keep here what is read of an object store; several may share it.")
]
CacheSize = Annotated[str, typer.Option(metavar="SIZE", help="The most that --cache-dir may hold.")]
Snapshot = Annotated[int | None, typer.Option(min=0, help="Read this snapshot instead of the newest.")]


def open_store(
    store: str,
    storage_option: list[str] | None,
    snapshot: int | None = None,
    cache_dir: Path | None = None,
    cache_size: str = "50GB",
) -> SongStore:
    """Open the store that a command was given."""
    from songbag_store.storage.options import parse_options
    from songbag_store.store import SongStore
    from songbag_store.windows.cache import parse_size

    return SongStore.open(
        store,
        snapshot=snapshot,
        storage_options=parse_options(storage_option),
        cache_dir=cache_dir,
        cache_bytes=parse_size(cache_size),
    )
