"""JSON documents, sealed when they are written and read strictly, as dataclasses: docs/decisions/0005 and 0022."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from songbag_store.format.declaration import Rule, at_least, declarations

T = TypeVar("T")
Check = Callable[[Any], object]
"""Whether a JSON value may be that of a field."""


LATER = {"later": True}
"""Metadata of a field that the first documents did not have."""


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _hexadecimal(length: int) -> Rule:
    pattern = re.compile(f"[0-9a-f]{{{length}}}")
    return Rule(lambda text: pattern.fullmatch(text) is not None, f"{length} hexadecimal digits")


Identifier = Annotated[str, _hexadecimal(32)]
Digest = Annotated[str, _hexadecimal(64)]
Time = Annotated[str, Rule(_is_time, "a time in ISO 8601 with its offset from UTC")]
Count = Annotated[int, at_least(0)]
Ordinal = Annotated[int, at_least(1)]
Duration = Annotated[float, at_least(0)]

SEAL = "seal"
"""The last field of a sealed document."""

BLANK = b"0" * 64
"""What stands in the place of a digest while it is taken."""

# A bit that changes the field's name leaves this, so the document is not taken for one without a seal.
_MARK = "songbag-seal-sha256:"


def parse_json(data: bytes | str) -> Any:
    """Read strict JSON: no NaN, no infinity, no name twice, no text that is not Unicode.

    Raises
    ------
    ValueError
        If it is anything else, with the reason.
    """
    try:
        value = json.loads(data, object_pairs_hook=_no_name_twice, parse_constant=_finite, parse_float=_finite)
        # JSON can hold half of a surrogate pair, which no file and no terminal can show; plain text cannot.
        if not _is_plain(data):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _is_plain(data: bytes | str) -> bool:
    """Return whether a text has ASCII alone, no escapes, and no NUL, which UTF-16 has."""
    if isinstance(data, str):
        return data.isascii() and "\\" not in data
    return data.isascii() and b"\\" not in data and b"\0" not in data


def parse_document(data: bytes | str) -> dict[str, Any]:
    """Read a JSON object; see `parse_json`. If it has a seal, that is checked and left out; see `unseal_document`."""
    return unseal_document(data)[0]


def unseal_document(data: bytes | str) -> tuple[dict[str, Any], bool]:
    """Read a JSON object and check its seal, if it has one.

    Returns
    -------
    document : dict
        Its fields without the seal.
    is_sealed : bool
        Whether it has a seal; what was written before there were seals has none.

    Raises
    ------
    ValueError
        If it is not a JSON object, or a byte of it has changed since it was sealed.
    """
    document = parse_json(data)
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    is_sealed = SEAL in document
    seal = document.pop(SEAL, None)
    if not is_sealed and not any(isinstance(value, str) and value.startswith(_MARK) for value in document.values()):
        return document, False
    claimed = str(seal).removeprefix(_MARK).encode()
    data = data.encode() if isinstance(data, str) else data
    start = data.rfind(claimed)
    if len(claimed) != len(BLANK) or start < 0 or blank_digest(data, start).encode() != claimed:
        raise ValueError("its seal does not match its bytes")
    return document, True


def seal_document(fields: Mapping[str, Any]) -> bytes:
    """Return a JSON document that ends with its own SHA-256, so that one changed bit of it is noticed."""
    data = json.dumps({**fields, SEAL: _MARK + BLANK.decode()}, indent=2).encode()
    start = data.rindex(BLANK)
    return data[:start] + blank_digest(data, start).encode() + data[start + len(BLANK) :]


def blank_digest(data: bytes | memoryview, start: int) -> str:
    """Return the SHA-256 of some bytes, taken with zeros in the place of the digest that begins at `start`."""
    view = memoryview(data)
    digest = hashlib.sha256(view[:start])
    digest.update(BLANK)
    digest.update(view[start + len(BLANK) :])
    return digest.hexdigest()


def read_fields(cls: type[T], document: Mapping[str, Any]) -> T:
    """Make a dataclass from the fields of a document; an absent field takes its default, if it has one.

    A field may be a JSON type, a `Literal`, `Annotated` with a `Rule`, a list or a mapping of these, or a class with
    ``from_dict``, which then reads its own fields. Of several classes it is the one that has most of the fields.

    Raises
    ------
    ValueError
        With the name of the field that is unknown, missing, of another type or out of range.
    """
    hints = _hints(cls)  # type: ignore[arg-type]
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    needed = {one.name for one in fields if one.default is one.default_factory is dataclasses.MISSING}
    if odd := (document.keys() - hints.keys()) | (needed - document.keys()):
        raise ValueError(f"fields unknown or missing: {', '.join(map(repr, sorted(odd)[:6]))}")
    return cls(**{name: _read_field(name, value, *hints[name]) for name, value in document.items()})


def write_fields(value: Any) -> bytes:
    """Return a dataclass as a sealed JSON document, which `parse_document` and `read_fields` read.

    A field with the metadata `LATER` is left out where it is None, so what does not use it has the bytes that it had.
    """
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    unused = {field.name for field in dataclasses.fields(value) if field.metadata == LATER}
    fields = {name: own for name, own in fields.items() if own is not None or name not in unused}
    return seal_document({name: own.to_dict() if hasattr(own, "to_dict") else own for name, own in fields.items()})


def require(fits: object, name: str, value: object, wanted: str) -> None:
    """Refuse a field whose value is out of its range.

    Raises
    ------
    ValueError
        With the name of the field.
    """
    if not fits:
        text = ascii(value)
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise ValueError(f"the field {name!r} is {shown} and not {wanted}")


def reason(error: Exception) -> str:
    """Return what an error says in one line, for the message of another one."""
    text = str(error)
    return text.splitlines()[0].removesuffix(".") if text else type(error).__name__


@cache
def _hints(cls: type) -> dict[str, tuple[Any, Check | None]]:
    """Return the types of a class's fields and their checks: to find them takes longer than to read a document.

    A field that is a class with ``from_dict`` has no check.
    """
    hints = get_type_hints(cls, include_extras=True)
    reads_itself = {
        name for name, hint in hints.items() if any(hasattr(o, "from_dict") for o in (hint, *get_args(hint)))
    }
    return {name: (hint, None if name in reads_itself else _check_of(hint)) for name, hint in hints.items()}


def _read_field(name: str, value: Any, hint: Any, fits: Check | None) -> Any:
    if fits is not None:
        if not fits(value):
            require(False, name, value, _words(hint))
        return value
    classes = [one for one in get_args(hint) if hasattr(one, "from_dict")]
    if classes:
        fields = value if isinstance(value, dict) else {}
        hint = max(classes, key=lambda one: len(declarations(one).keys() & fields.keys()))
    require(isinstance(value, dict), name, value, "a JSON object")
    try:
        return hint.from_dict(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"the field {name!r}: {reason(error)}") from error


def _check_of(hint: Any) -> Check:
    """Return what tells whether a JSON value and its members are of an annotated type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        options = [_check_of(one) for one in inner]
        return lambda value: any(fits(value) for fits in options)
    if origin is Annotated:
        checks = [_check_of(inner[0]), *(rule.holds for rule in inner[1:])]
        return lambda value: all(fits(value) for fits in checks)
    if origin is Literal:
        return lambda value: type(value) is str and value in inner
    if origin is list:
        item = _check_of(inner[0])
        return lambda value: isinstance(value, list) and all(map(item, value))
    if origin is dict:
        item = _check_of(inner[1])
        return lambda value: isinstance(value, dict) and all(map(item, value.values()))
    if is_typeddict(hint):
        fields = {name: _check_of(own) for name, own in get_type_hints(hint, include_extras=True).items()}
        return lambda value: (
            isinstance(value, dict)
            and value.keys() == fields.keys()
            and all(fits(value[name]) for name, fits in fields.items())
        )
    if hint is Any:
        return lambda value: True
    # By `isinstance`, True would be a number.
    kinds = (int, float) if hint is float else (hint,)
    return lambda value: type(value) in kinds


def _words(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return str(inner[1].words) if inner[0] is str else f"{_words(inner[0])} {inner[1].words}"
    if origin is Literal:
        return "one of " + ", ".join(map(repr, inner))
    if origin in (list, dict):
        return f"{'a list' if origin is list else 'a JSON object'} of {_words(inner[-1])}"
    if is_typeddict(hint):
        return "objects with " + " and ".join(hint.__annotations__)
    if inner:
        return " or ".join(map(_words, inner))
    nouns = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
    return nouns.get(hint, "a JSON value")


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice!r} is there twice")
    return document


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:30]} is not a finite number")
    return value
