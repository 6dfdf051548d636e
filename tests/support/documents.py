"""JSON documents as somebody else may have written them: damages of a text, and seals around any text."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from songbag_store.format.document import parse_document, seal_document

Damage = Callable[[dict[str, Any]], str]
"""From the fields of a document to the text in its place."""


def _more(field: str) -> Damage:
    """Put one more field behind those that are there."""
    return lambda fields: json.dumps(fields)[:-1] + f", {field}}}"


def _twice(fields: dict[str, Any]) -> str:
    name = next(iter(fields))
    return _more(f"{json.dumps(name)}: {json.dumps(fields[name])}")(fields)


NO_DOCUMENT: dict[str, tuple[Damage, str]] = {
    "empty": (lambda fields: "", "Expecting value"),
    "cut off": (lambda fields: json.dumps(fields)[:-1], "Expecting ',' delimiter"),
    "a list": (lambda fields: "[]", "it is not a JSON object"),
    "null": (lambda fields: "null", "it is not a JSON object"),
    "nested too deeply": (lambda fields: "[" * 100_000, "it is nested too deeply"),
    "NaN": (_more('"x": NaN'), "NaN is not a finite number"),
    "infinity": (_more('"x": -Infinity'), "-Infinity is not a finite number"),
    "a number that is infinite": (_more('"x": 1e999'), "1e999 is not a finite number"),
    "half a surrogate pair": (_more('"x": "\\ud800"'), "surrogates not allowed"),
    "a field twice": (_twice, "is there twice"),
}
"""What no document may be: how to make it, and what the error says."""


def edit_document(path: Path, **changes: object) -> None:
    """Give fields of a document other values, and seal it again as songbag does."""
    path.write_bytes(seal_document(parse_document(path.read_bytes()) | changes))


def put(**fields: Any) -> Damage:
    """Give fields other values."""
    return lambda document: json.dumps(document | fields)


def without(name: str) -> Damage:
    """Leave a field out."""
    return lambda document: json.dumps({key: value for key, value in document.items() if key != name})


def sealed_around(rows: pa.Table, text: str) -> bytes:
    """Return a sealed Parquet file with any text as its facts, made as docs/reference/format.md describes a seal."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, rows.schema) as writer:
        writer.write_table(rows)
        writer.add_key_value_metadata({"songbag.facts": text, "songbag.sha256": "0" * 64})
    data = buffer.getvalue()
    at = data.rindex(b"0" * 64)
    return data[:at] + hashlib.sha256(data).hexdigest().encode() + data[at + 64 :]
