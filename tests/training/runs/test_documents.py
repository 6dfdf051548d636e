"""Every JSON document of runs, splits and cross-validations, with every damage: one message that says what is wrong."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from songbag_store.format.document import unseal_document, write_fields
from songbag_training.errors import DamagedRun, NewerRun
from songbag_training.runs.checkpoints import read_reached
from songbag_training.runs.plan import Plan
from songbag_training.runs.run import Run
from songbag_training.splits.split import Split
from tests.support.documents import NO_DOCUMENT, Damage, put, without

OLD = Path(__file__).parents[2] / "fixtures" / "training-format-1"

Document = Literal["run", "plan", "split"]
FILES: dict[Document, str] = {
    "run": "run/run.json",
    "plan": "cross-validation/cross-validation.json",
    "split": "split.parquet",
}
REMEDIES: dict[Document, str] = {"run": "Restore the file from a copy", "plan": "Choose another `output`.", "split": ""}
CHECKPOINT = "interrupted/checkpoint.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(OLD, tmp_path / "old")
    return tmp_path / "old"


def damage(folder: Path, document: Document, change: Damage) -> None:
    path = folder / FILES[document]
    if document == "split":
        table = pq.read_table(path)
        fields = json.loads(table.schema.metadata[b"songbag_split"])
        pq.write_table(table.replace_schema_metadata({"songbag_split": change(fields)}), path)
    else:
        path.write_text(change(json.loads(path.read_text())), encoding="utf-8")


def read(folder: Path, document: Document) -> object:
    path = folder / FILES[document]
    if document == "run":
        return Run.open(path.parent)
    return Plan.read(path) if document == "plan" else Split.read(path)


def refused(folder: Path, document: Document, message: str) -> None:
    with pytest.raises(DamagedRun, match=re.escape(message)) as caught:
        read(folder, document)
    assert caught.value.place == str(folder / FILES[document])
    assert caught.value.remedy.startswith(REMEDIES[document])


@pytest.mark.parametrize("document", FILES)
def test_a_document_as_format_1_writes_it_is_read(folder: Path, document: Document) -> None:
    damage(folder, document, json.dumps)
    read(folder, document)


@pytest.mark.parametrize("document", FILES)
@pytest.mark.parametrize("kind", NO_DOCUMENT)
def test_what_is_no_strict_json_is_refused(folder: Path, document: Document, kind: str) -> None:
    change, message = NO_DOCUMENT[kind]
    damage(folder, document, change)
    refused(folder, document, message)


@pytest.mark.parametrize(
    ("document", "change", "message"),
    [
        *[
            (document, put(surprise=1), "fields unknown or missing: 'surprise'")
            for document in ("run", "plan", "split")
        ],
        *[
            ("run", without(name), f"fields unknown or missing: {name!r}")
            for name in ("run_id", "spec", "classes", "where", "config", "versions")
        ],
        *[
            ("plan", without(name), f"fields unknown or missing: {name!r}")
            for name in ("store_uuid", "snapshot", "label", "where", "split_sha256", "folds", "config")
        ],
        *[("split", without(name), f"fields unknown or missing: {name!r}") for name in ("digest", "group")],
        ("run", without("format"), "the field 'format' is None and not a whole number from 1"),
        ("run", put(format=True), "the field 'format' is True and not a whole number from 1"),
        ("plan", without("format"), "the field 'format' is None and not a whole number from 1"),
        ("plan", put(format="1"), "the field 'format' is '1' and not a whole number from 1"),
        ("plan", put(folds="abc"), "the field 'folds' is 'abc' and not a list of text"),
        ("plan", put(folds=["1", 2]), "the field 'folds' is ['1', 2] and not a list of text"),
        ("plan", put(folds=["1"]), "the field 'folds' is ['1'] and not a list of two or more different names"),
        ("plan", put(folds=["1", "1"]), "and not a list of two or more different names"),
        ("plan", put(snapshot=-1), "the field 'snapshot' is -1 and not a whole number from 0"),
        ("plan", put(where=3), "the field 'where' is 3 and not text or null"),
        ("plan", put(store_uuid="x"), "the field 'store_uuid' is 'x' and not 32 hexadecimal digits"),
        ("plan", put(split_sha256=None), "the field 'split_sha256' is None and not 64 hexadecimal digits"),
        ("plan", put(config=[]), "the field 'config' is [] and not a JSON object"),
        ("plan", put(config={"colour": "red"}), "TrainConfig: has unknown fields: 'colour'"),
        ("plan", put(config={"epochs": 0}), "epochs: is 0 but must be a whole number from 1"),
        ("split", put(group="artist"), "the field 'group' is 'artist' and not a list of text"),
        ("split", put(digest="x"), "the field 'digest' is 'x' and not 64 hexadecimal digits"),
        ("split", put(digest="0" * 64), "its rows have another digest"),
    ],
)
def test_a_field_that_is_wrong_is_named(folder: Path, document: Document, change: Damage, message: str) -> None:
    damage(folder, document, change)
    refused(folder, document, message)


@pytest.mark.parametrize("document", ["run", "plan"])
def test_another_format_is_named_before_the_fields_that_it_has(folder: Path, document: Document) -> None:
    damage(folder, document, put(format=99, folds="abc", surprise=1))
    with pytest.raises(NewerRun, match="is of format 99; this songbag knows format 1") as caught:
        read(folder, document)
    assert caught.value.place == str(folder / FILES[document])
    assert "pip install --upgrade songbag" in caught.value.remedy


def test_a_config_without_a_field_that_has_its_default_is_the_same(folder: Path) -> None:
    before = Run.open(folder / "run").facts.config
    config: dict[str, Any] = json.loads((folder / "run" / "run.json").read_text())["config"]
    assert config.pop("mixup") == 0.3
    damage(folder, "run", put(config=config))
    assert Run.open(folder / "run").facts.config == before


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"step": "0"}, "fields unknown or missing: 'seconds'"),
        ({"step": "0", "seconds": "0.0", "more": "1"}, "fields unknown or missing: 'more'"),
        ({"step": "-1", "seconds": "0.0"}, "the field 'step' is -1 and not a whole number from 0"),
        ({"step": "1.0", "seconds": "0.0"}, "the field 'step' is 1.0 and not a whole number from 0"),
        ({"step": "1_0", "seconds": "0.0"}, "is not a checkpoint that songbag wrote"),
        ({"step": "0", "seconds": "NaN"}, "NaN is not a finite number"),
        ({"step": "0", "seconds": "-1"}, "the field 'seconds' is -1 and not a number from 0"),
        ({"step": "0", "seconds": "1e999"}, "1e999 is not a finite number"),
        ({"step": "[" * 100_000, "seconds": "0.0"}, "it is nested too deeply"),
        (None, "fields unknown or missing: 'seconds', 'step'"),
    ],
)
def test_metadata_of_a_checkpoint_that_are_wrong_are_named(
    folder: Path, metadata: dict[str, str] | None, message: str
) -> None:
    path = folder / CHECKPOINT
    assert (read_reached(path).epoch, read_reached(path).step) == (2, 0)
    path.write_bytes(safetensors.numpy.save(safetensors.numpy.load(path.read_bytes()), metadata))
    with pytest.raises(DamagedRun, match=re.escape(message)) as caught:
        read_reached(path)
    assert caught.value.place == str(path)


def test_what_songbag_writes_has_the_bytes_it_had_and_a_seal() -> None:
    run, plan = OLD / FILES["run"], OLD / FILES["plan"]
    for old, sealed in ((run, write_fields(Run.open(run.parent).facts)), (plan, write_fields(Plan.read(plan)))):
        # Logs have another field now, which is absent at its default.
        written = old.read_bytes().replace(b',\n    "tensorboard": false', b"")
        assert sealed.startswith(written.removesuffix(b"\n}") + b',\n  "files": null,')
        assert unseal_document(sealed) == (json.loads(written) | {"files": None, "replaced": {}}, True)
