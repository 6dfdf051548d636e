"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Store = Annotated[str, typer.Argument(metavar="STORE", help="The store: a folder, or s3://, gs://, az://.")]
StorageOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="For object stores, may be repeated: endpoint=..., region=..., profile=..."),
]
Snapshot = Annotated[int | None, typer.Option(min=0, help="Read this snapshot instead of the newest.")]
