"""Strict reading of a JSON document as the fields of a dataclass: nothing unknown, missing or coerced."""

from __future__ import annotations

import json
from collections.abc import Iterable
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints


def parse_document(data: bytes) -> dict[str, Any]:
    """Read a JSON object, and only what JSON is: no NaN, no infinity, no name twice, no text that is not Unicode.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    try:
        document = json.loads(data, object_pairs_hook=_no_name_twice, parse_constant=_refuse_constant)
        # Half a surrogate pair can be written in JSON, and then in no file and on no terminal.
        json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    return document


def check_fields(document: dict[str, Any], cls: type) -> None:
    """Check that a document has exactly the annotated fields of a class, each of its type.

    Raises
    ------
    ValueError
        Naming the field that is unknown, missing or of another type.
    """
    hints = get_type_hints(cls)
    odd = document.keys() ^ hints.keys()
    if odd:
        raise ValueError(f"fields unknown or missing: {', '.join(map(repr, sorted(odd)[:6]))}")
    for name, hint in hints.items():
        if not _fits(document[name], hint):
            raise ValueError(f"the field {name!r} is {_shown(document[name])} and not {_words(hint)}")


def require(fits: bool, name: str, value: object, wanted: str) -> None:
    """Refuse a field whose value is out of its range.

    Raises
    ------
    ValueError
        Naming it.
    """
    if not fits:
        raise ValueError(f"the field {name!r} is {_shown(value)} and not {wanted}")


def _fits(value: object, hint: Any) -> bool:
    """Tell whether a JSON value is of an annotated type, its members included; True is no number here."""
    if isinstance(hint, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return type(value) is str and value in inner
    if origin is list:
        return isinstance(value, list) and all(_fits(one, inner[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(one, inner[1]) for one in value.values())
    if hint is Any:
        return True
    if hint is float:
        return type(value) in (int, float)
    return type(value) is hint


def _words(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint)) if get_origin(hint) is None else str(hint)


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _no_name_twice(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, value in pairs:
        if name in document:
            raise ValueError(f"the field {name!r} is there twice")
        document[name] = value
    return document


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
