"""The JSON documents of a store as values: `store.json`, tags, and the facts in the seals of snapshots and parts."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal, Self, TypedDict

from songbag_store.errors import NewerFormat
from songbag_store.format.document import (
    Count,
    Digest,
    Identifier,
    Ordinal,
    Time,
    parse_document,
    read_fields,
    require,
    write_fields,
)
from songbag_store.format.spec import FeatureSpec

FORMAT = 1

_PIN = ("snapshot", "sha256")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The content of `store.json`. A `format` above this songbag's is no reason to refuse a store; the minimum is."""

    format: Ordinal = FORMAT
    """Number of the format that it was written in."""
    minimum_reader: Ordinal = FORMAT
    """Lowest format that a reader must know."""
    minimum_writer: Ordinal = FORMAT
    """Lowest format that a writer must know."""
    required_features: dict[str, str] = dataclasses.field(default_factory=dict)
    """What else a songbag must know, from a name to the first version that does; this one knows none."""
    uuid: Identifier
    """Which store this is, wherever it lies."""
    spec: FeatureSpec
    """What was computed of every song."""
    fingerprint: Digest
    """Of the spec."""

    def to_json(self) -> bytes:
        """Return the content of the file."""
        return write_fields(self)

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` gave.

        Raises
        ------
        ValueError
            If it is not what songbag wrote, with the reason.
        NewerFormat
            If reading the store needs a newer songbag; this is decided before any other field is looked at.
        """
        document = parse_document(data)
        _refuse_newer("reader", document.get("minimum_reader"), document.get("required_features", {}))
        identity = read_fields(cls, document)
        if identity.spec.fingerprint != identity.fingerprint:
            raise ValueError("the field 'fingerprint' is not that of the field 'spec'")
        return identity

    def refuse_writing(self) -> None:
        """Refuse to write a store that needs a newer writer.

        Raises
        ------
        NewerFormat
            With what it needs.
        """
        _refuse_newer("writer", self.minimum_writer, self.required_features)


def _refuse_newer(role: Literal["reader", "writer"], minimum: Any, features: Any) -> None:
    require(type(minimum) is int, f"minimum_{role}", minimum, "a whole number")
    require(isinstance(features, dict), "required_features", features, "a JSON object")
    if minimum <= FORMAT and not features:
        return
    needs = [f"format {minimum}"] if minimum > FORMAT else []
    needs += [f"{name!r} (songbag {version} or newer)" for name, version in sorted(features.items())]
    raise NewerFormat(
        f"the store needs a {role} of {', '.join(needs)}; this one knows format {FORMAT}",
        remedy="Upgrade with: pip install --upgrade songbag",
    )


class ObjectFacts(TypedDict):
    """Size and digest of an object as it was written."""

    bytes: Count
    sha256: Digest


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PartFacts:
    """What the seal of a part says."""

    store: str
    """Which store it belongs to."""
    fingerprint: str
    """Of the spec."""
    objects: dict[str, ObjectFacts]
    """Every object of the fragment, by key."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFacts:
    """What the seal of a snapshot says."""

    store: str
    """Which store it belongs to."""
    snapshot: Ordinal
    """Its number."""
    token: str
    """Different for every attempt to commit, so that a writer knows its own."""
    parts: list[str]
    """Every part that this snapshot or one before it has taken in."""
    committed_at: Time
    """When, by the clock of the one who committed it."""
    change: str
    """What the commit did."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TagFacts:
    """The content of a tag: the snapshot that it pins, and beside it whatever its maker says."""

    snapshot: Count
    """Number of the snapshot."""
    sha256: Digest | Literal[""]
    """Digest of the snapshot's file; empty for number 0."""
    said: dict[str, Any] = dataclasses.field(default_factory=dict)
    """JSON values by name. On disk they stand beside the two fields above."""

    def to_json(self) -> bytes:
        """Return the content of the file.

        Raises
        ------
        ValueError
            If what the maker says has the name of a field of songbag's, or is not JSON.
        """
        taken = sorted(self.said.keys() & set(_PIN))
        if taken:
            raise ValueError(f"{taken[0]!r} is a field that songbag fills itself")
        try:
            data = json.dumps({"snapshot": self.snapshot, "sha256": self.sha256, **self.said}, indent=2).encode()
        except (TypeError, RecursionError) as error:
            raise ValueError(f"they are not JSON values ({error})") from None
        self.from_json(data)
        return data

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` gave; `snapshot` and `sha256` are strict, all other fields are taken as they are.

        Raises
        ------
        ValueError
            If it is not a tag, with the reason.
        """
        document = parse_document(data)
        pin = {name: document.pop(name) for name in _PIN if name in document}
        return dataclasses.replace(read_fields(cls, pin), said=document)
