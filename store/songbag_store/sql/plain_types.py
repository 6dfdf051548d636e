"""Results of types that Parquet, CSV or Python lack, given as text or as another type: docs/decisions/0024."""

from __future__ import annotations

from typing import Any, cast

import duckdb

from songbag_store.sql.texts import quoted

_TEXT = "VARCHAR"
_INSTEAD = {
    "interval": _TEXT,
    "time with time zone": _TEXT,
    "time_ns": _TEXT,
    "bit": _TEXT,
    "bignum": _TEXT,
    "geometry": _TEXT,
    "variant": _TEXT,
    "union": _TEXT,
    "enum": _TEXT,
    # Arrow gets the numbers of 128 bits without a sign as ones with a sign.
    "uhugeint": "HUGEINT",
}


def plain_relation(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Return a relation with its columns cast to types that every format of a result has."""
    wanted = [_plain(kind) for kind in relation.types]
    if all(one is None for one in wanted):
        return relation
    # By position, as names may be there twice.
    names = [f"column_{number}" for number in range(len(wanted))]
    items = [
        f"{name if kind is None else f'{name}::{kind}'} as {quoted(shown)}"
        for name, kind, shown in zip(names, wanted, relation.columns, strict=True)
    ]
    text = f"select {', '.join(items)} from result as result({', '.join(names)})"
    return cast(duckdb.DuckDBPyRelation, relation.query("result", text))


def _plain(kind: Any) -> str | None:
    """Return the SQL of the type to cast to; None if the type may stay."""
    if kind.id in _INSTEAD:
        return _INSTEAD[kind.id]
    if kind.id in ("list", "array"):
        (_, child), *size = kind.children
        return None if (plain := _plain(child)) is None else f"{plain}[{size[0][1] if size else ''}]"
    if kind.id not in ("struct", "map", "tuple"):
        return None
    children = [(name, child, _plain(child)) for name, child in kind.children]
    if all(plain is None for _, _, plain in children):
        return None
    types = [(name, plain or str(child)) for name, child, plain in children]
    if kind.id == "map":
        return f"MAP({types[0][1]}, {types[1][1]})"
    if kind.id == "tuple":
        return _TEXT
    return f"STRUCT({', '.join(f'{quoted(name)} {plain}' for name, plain in types)})"
