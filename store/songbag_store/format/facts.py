"""The JSON documents of a store: `store.json`, tags, and the facts in the seals of snapshots and parts."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, Self, TypedDict

from songbag_store.errors import NewerFormat
from songbag_store.format.document import (
    SEAL,
    Count,
    Digest,
    Identifier,
    Ordinal,
    Time,
    parse_document,
    read_fields,
    require,
    seal_document,
    write_fields,
)
from songbag_store.format.spec import FeatureSpec

FORMAT = 1

_PIN = ("snapshot", "sha256")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The content of `store.json`. Whether a store is refused depends on the minimum, not on `format`."""

    format: Ordinal = FORMAT
    """Format that it was written in."""
    minimum_reader: Ordinal = FORMAT
    """Lowest format that a reader must know."""
    minimum_writer: Ordinal = FORMAT
    """Lowest format that a writer must know."""
    required_features: dict[str, str] = dataclasses.field(default_factory=dict)
    """What else a songbag must know, with the first version that does; this version knows none."""
    uuid: Identifier
    """Identity of the store; a copy has the same one."""
    spec: FeatureSpec
    """What was computed of every song."""
    fingerprint: Digest
    """Fingerprint of the spec."""

    def to_json(self) -> bytes:
        """Return the content of the file."""
        return write_fields(self)

    @classmethod
    def from_json(cls, data: bytes, place: str) -> Self:
        """Read what `to_json` returned.

        Raises
        ------
        ValueError
            If it is not what songbag wrote, with the reason.
        NewerFormat
            If reading the store needs a newer songbag.
        """
        document = parse_document(data)
        # First, because a newer format may have other fields.
        _refuse_newer("reader", document.get("minimum_reader"), document.get("required_features", {}), place)
        identity = read_fields(cls, document)
        if identity.spec.fingerprint != identity.fingerprint:
            raise ValueError("the field 'fingerprint' is not that of the field 'spec'")
        return identity

    def refuse_writing(self, place: str) -> None:
        """Refuse to write a store that needs a newer writer.

        Raises
        ------
        NewerFormat
            With what it needs.
        """
        _refuse_newer("writer", self.minimum_writer, self.required_features, place)


def _refuse_newer(role: Literal["reader", "writer"], minimum: Any, features: Any, place: str) -> None:
    require(type(minimum) is int, f"minimum_{role}", minimum, "a whole number")
    require(isinstance(features, dict), "required_features", features, "a JSON object")
    if minimum <= FORMAT and not features:
        return
    needs = [f"format {minimum}"] if minimum > FORMAT else []
    needs += [f"{name!r} (songbag {version} or newer)" for name, version in sorted(features.items())]
    what = f"the store needs a {role} of {', '.join(needs)}; this one knows format {FORMAT}"
    raise NewerFormat(what, place=place, remedy="Upgrade with: pip install --upgrade songbag")


class ObjectFacts(TypedDict):
    """Size and digest of an object as it was written."""

    bytes: Count
    sha256: Digest


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PartFacts:
    """The facts in the seal of a part."""

    store: str
    """Identity of the store that it belongs to."""
    fingerprint: str
    """Fingerprint of the spec."""
    objects: dict[str, ObjectFacts]
    """Every object of the fragment, by key."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFacts:
    """The facts in the seal of a snapshot."""

    store: str
    """Identity of the store that it belongs to."""
    snapshot: Ordinal
    """Number of the snapshot."""
    token: str
    """Different for every attempt to commit, so that a writer knows its own."""
    parts: list[str]
    """Every part that this snapshot or an earlier one has taken in."""
    committed_at: Time
    """Time of the commit, by the clock of its writer."""
    change: str
    """What the commit did."""
    base: Digest | Literal[""] = ""
    """Digest of the snapshot that it was made from; empty for the first, and before songbag noted it."""
    run: str = ""
    """Run of `songbag extract` that committed it; empty for other commits."""
    ended: bool = False
    """Whether the run ended with it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TagFacts:
    """The content of a tag: the snapshot that it pins, and what its maker says."""

    snapshot: Count
    """Number of the snapshot."""
    sha256: Digest | Literal[""]
    """Digest of the snapshot's file; empty for number 0."""
    said: dict[str, Any] = dataclasses.field(default_factory=dict)
    """JSON values by name; on disk they are fields beside the other two."""

    def to_json(self) -> bytes:
        """Return the content of the file.

        Raises
        ------
        ValueError
            If what the maker says has the name of one of songbag's fields, or is not JSON.
        """
        if taken := sorted(self.said.keys() & {*_PIN, SEAL}):
            raise ValueError(f"{taken[0]!r} is a field that songbag fills itself")
        try:
            data = seal_document({"snapshot": self.snapshot, "sha256": self.sha256, **self.said})
        except (TypeError, RecursionError) as error:
            raise ValueError(f"they are not JSON values ({error})") from None
        self.from_json(data)
        return data

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` returned; all fields but `snapshot` and `sha256` are the maker's.

        Raises
        ------
        ValueError
            If it is not a tag, with the reason.
        """
        document = parse_document(data)
        pin = {name: document.pop(name) for name in _PIN if name in document}
        return dataclasses.replace(read_fields(cls, pin), said=document)
