"""Every JSON document of a store, with every damage: one message that says what is wrong."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import pytest

from songbag_store import SongStore
from songbag_store.commits.history import read_tags
from songbag_store.commits.parts import read_part_facts
from songbag_store.errors import DamagedStore, NewerFormat, UsageError
from songbag_store.format import keys
from songbag_store.format.document import parse_document, seal_document, unseal_document
from songbag_store.format.facts import TagFacts
from songbag_store.format.sealed import Sealed
from tests.support.documents import NO_DOCUMENT, Damage, put, sealed_around, without

OLD = Path(__file__).parents[2] / "fixtures" / "store-format-1"
FRAGMENT = "4c45f6aa4ab640d88ebf4afa16ddde7d"
SONG = "later.mp3"

Document = Literal["store.json", "tag", "snapshot", "part", "zarr.json"]
KEYS: dict[Document, str] = {
    "store.json": keys.IDENTITY,
    "tag": keys.tag_key("paper"),
    "snapshot": keys.snapshot_key(3),
    "part": keys.part_key(FRAGMENT),
    "zarr.json": keys.metadata_key(FRAGMENT),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(OLD, tmp_path / "store")
    return tmp_path / "store"


def damage(folder: Path, document: Document, change: Damage) -> None:
    path = folder / KEYS[document]
    if document in ("snapshot", "part"):
        fields = Sealed(path.read_bytes(), key="", place="").facts
        path.write_bytes(
            sealed_around(pq.read_table(path, partitioning=None).replace_schema_metadata(), change(fields))
        )
    else:
        path.write_text(change(json.loads(path.read_text())), encoding="utf-8")


def read(folder: Path, document: Document) -> object:
    if document == "part":
        store = SongStore.open(folder)
        return read_part_facts(store.inside.storage, store.uuid, store.spec, FRAGMENT)
    if document == "tag":
        return TagFacts.from_json((folder / KEYS[document]).read_bytes())
    store = SongStore.open(folder)
    return store.windows(SONG) if document == "zarr.json" else store


@pytest.mark.parametrize("document", KEYS)
def test_a_document_as_format_1_writes_it_is_read(folder: Path, document: Document) -> None:
    damage(folder, document, json.dumps)
    read(folder, document)


def refused(folder: Path, document: Document, message: str) -> None:
    error = ValueError if document == "tag" else DamagedStore
    with pytest.raises(error, match=re.escape(message)) as caught:
        read(folder, document)
    if isinstance(caught.value, DamagedStore):
        key = keys.fragment_key(FRAGMENT) if document == "zarr.json" else KEYS[document]
        assert (caught.value.key, caught.value.place) == (key, str(folder))


@pytest.mark.parametrize("document", KEYS)
@pytest.mark.parametrize("kind", NO_DOCUMENT)
def test_what_is_no_strict_json_is_refused(folder: Path, document: Document, kind: str) -> None:
    change, message = NO_DOCUMENT[kind]
    damage(folder, document, change)
    refused(folder, document, message)


@pytest.mark.parametrize(
    ("document", "change", "message"),
    [
        ("store.json", put(surprise=1), "fields unknown or missing: 'surprise'"),
        ("store.json", without("uuid"), "fields unknown or missing: 'uuid'"),
        ("store.json", without("spec"), "fields unknown or missing: 'spec'"),
        ("store.json", without("fingerprint"), "fields unknown or missing: 'fingerprint'"),
        ("store.json", without("minimum_reader"), "the field 'minimum_reader' is None and not a whole number"),
        ("store.json", put(minimum_reader="1"), "the field 'minimum_reader' is '1' and not a whole number"),
        ("store.json", put(minimum_writer=True), "the field 'minimum_writer' is True and not a whole number from 1"),
        ("store.json", put(format=0), "the field 'format' is 0 and not a whole number from 1"),
        ("store.json", put(format="x"), "the field 'format' is 'x' and not a whole number from 1"),
        ("store.json", put(required_features=["y"]), "the field 'required_features' is ['y'] and not a JSON object"),
        ("store.json", put(uuid="F" * 32), "and not 32 hexadecimal digits"),
        ("store.json", put(uuid=7), "the field 'uuid' is 7 and not 32 hexadecimal digits"),
        ("store.json", put(spec="mfcc"), "the field 'spec' is 'mfcc' and not a JSON object"),
        ("store.json", put(spec={"colour": "red"}), "the field 'spec': FeatureSpec: has unknown fields: 'colour'"),
        ("store.json", put(spec={"n_mfcc": 10**400}), "the field 'spec': n_mfcc: is 1000"),
        ("store.json", put(spec={}), "the field 'fingerprint' is not that of the field 'spec'"),
        ("store.json", put(fingerprint="0" * 64), "the field 'fingerprint' is not that of the field 'spec'"),
        ("snapshot", put(surprise=1), "fields unknown or missing: 'surprise'"),
        *[
            ("snapshot", without(name), f"fields unknown or missing: {name!r}")
            for name in ("store", "snapshot", "token", "parts", "committed_at", "change")
        ],
        ("snapshot", put(snapshot=3.0), "the field 'snapshot' is 3.0 and not a whole number from 1"),
        ("snapshot", put(snapshot=2), "belongs to another store or has another number"),
        ("snapshot", put(store="f" * 32), "belongs to another store or has another number"),
        ("snapshot", put(parts="abc"), "the field 'parts' is 'abc' and not a list of text"),
        ("snapshot", put(parts=[1]), "the field 'parts' is [1] and not a list of text"),
        ("snapshot", put(committed_at="yesterday"), "the field 'committed_at' is 'yesterday' and not a time"),
        ("snapshot", put(committed_at="2026-01-01T00:00:00"), "and not a time in ISO 8601 with its offset"),
        ("snapshot", put(change=None), "the field 'change' is None and not text"),
        ("part", put(surprise=1), "fields unknown or missing: 'surprise'"),
        *[("part", without(name), f"missing: {name!r}") for name in ("store", "fingerprint", "objects")],
        ("part", put(store="f" * 32), "belongs to another store"),
        ("part", put(objects=[]), "the field 'objects' is [] and not"),
        ("part", put(objects={"x": {"bytes": 1}}), "the field 'objects' is"),
        ("part", put(objects={"x": {"bytes": -1, "sha256": "0" * 64}}), "the field 'objects' is"),
        ("part", put(objects={"x": {"bytes": 1, "sha256": "../x"}}), "the field 'objects' is"),
        ("part", put(objects={"x": {"bytes": 1, "sha256": "0" * 64, "more": 1}}), "with bytes and sha256"),
        ("tag", without("snapshot"), "fields unknown or missing: 'snapshot'"),
        ("tag", without("sha256"), "fields unknown or missing: 'sha256'"),
        ("tag", put(snapshot=True), "the field 'snapshot' is True and not a whole number from 0"),
        ("tag", put(snapshot=-1), "the field 'snapshot' is -1 and not a whole number from 0"),
        ("tag", put(sha256="x"), "the field 'sha256' is 'x' and not 64 hexadecimal digits or one of ''"),
        ("zarr.json", put(surprise=1), "fields that songbag does not know: surprise"),
    ],
)
def test_a_field_that_is_wrong_is_named(folder: Path, document: Document, change: Damage, message: str) -> None:
    damage(folder, document, change)
    refused(folder, document, message)


@pytest.mark.parametrize("name", ["format", "minimum_writer", "required_features"])
def test_a_field_with_a_default_may_be_absent(folder: Path, name: str) -> None:
    damage(folder, "store.json", without(name))
    assert SongStore.open(folder).snapshot == 3


def test_a_spec_without_a_field_that_has_its_default_is_the_same(folder: Path) -> None:
    spec = json.loads((folder / keys.IDENTITY).read_text())["spec"]
    assert spec.pop("top_db") == 80.0
    damage(folder, "store.json", put(spec=spec))
    assert SongStore.open(folder).spec == SongStore.open(OLD).spec


def test_what_a_newer_store_needs_is_named_before_its_unknown_fields(folder: Path) -> None:
    damage(folder, "store.json", put(minimum_reader=2, spec=7, surprise=[1], format="two"))
    with pytest.raises(NewerFormat, match="needs a reader of format 2; this one knows format 1"):
        SongStore.open(folder)


def test_a_store_of_a_later_format_that_readers_of_this_one_can_read_is_read(folder: Path) -> None:
    damage(folder, "store.json", put(format=2, minimum_writer=2))
    assert len(SongStore.open(folder).songs()) == 4


SAID: dict[str, Any] = {"by": "Jo", "why": ["paper", {"page": 3}], "at": None, "more": 0.5, "facts": True, "猫": "ç"}


def test_a_tag_keeps_whatever_json_its_maker_says(folder: Path) -> None:
    store = SongStore.open(folder)
    store.tag("mine", SAID)
    data = store.inside.storage.get(keys.tag_key("mine"))
    assert parse_document(data) == {"snapshot": 3, "sha256": store.inside.state.sha256, **SAID}
    assert TagFacts.from_json(data).said == SAID
    assert {(tag.name, tag.snapshot) for tag in read_tags(store.inside.storage)} == {("mine", 3), ("paper", 1)}


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"snapshot": 1}, "'snapshot' is a field that songbag fills itself"),
        ({"sha256": "0" * 64}, "'sha256' is a field that songbag fills itself"),
        ({"seal": "x"}, "'seal' is a field that songbag fills itself"),
        ({"loss": float("nan")}, "NaN is not a finite number"),
        ({"run": Path("x")}, "not JSON"),
        ({"name": "\ud800"}, "surrogates not allowed"),
    ],
)
def test_a_tag_that_could_not_be_read_back_is_not_made(folder: Path, facts: dict[str, Any], message: str) -> None:
    store = SongStore.open(folder)
    with pytest.raises(UsageError, match=message):
        store.tag("mine", facts)
    assert [tag.name for tag in read_tags(store.inside.storage)] == ["paper"]


def test_a_tag_of_today_is_the_old_one_and_a_seal(folder: Path) -> None:
    store = SongStore.open(folder, snapshot=1)
    store.tag("again", {"by": "test"})
    sealed, old = (store.inside.storage.get(keys.tag_key(name)) for name in ("again", "paper"))
    assert sealed.startswith(old.removesuffix(b"\n}") + b',\n  "seal": "songbag-seal-sha256:')
    assert unseal_document(sealed) == (parse_document(old), True)
    assert unseal_document(old) == (parse_document(old), False)


FIELDS: dict[str, Any] = {"zeros": "0" * 64, "猫": [1, 0.5, None, {"x": "songbag-seal-sha256:"}], "text": 'a "b"\n'}


def test_one_changed_bit_or_a_cut_of_a_sealed_document_is_noticed() -> None:
    data = seal_document(FIELDS)
    assert unseal_document(data) == (FIELDS, True)
    for position in range(8 * len(data)):
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(ValueError, match=r"."):
            unseal_document(bytes(changed))
    for n_bytes in range(len(data)):
        with pytest.raises(ValueError, match=r"."):
            unseal_document(data[:n_bytes])


@pytest.mark.parametrize("more", [b" ", b"\n"])
def test_white_space_around_a_sealed_document_is_noticed(more: bytes) -> None:
    data = seal_document(FIELDS)
    for other in (more + data, data + more, data.replace(b"\n", more * 2, 1)):
        with pytest.raises(ValueError, match="its seal does not match its bytes"):
            unseal_document(other)


@pytest.mark.parametrize("seal", [None, 7, "", "songbag-seal-sha256:", "songbag-seal-sha256:" + "0" * 64, ["x"]])
def test_a_seal_that_is_none_is_refused(seal: object) -> None:
    with pytest.raises(ValueError, match="its seal does not match its bytes"):
        unseal_document(json.dumps({"snapshot": 1, "seal": seal}))
