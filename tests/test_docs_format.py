"""docs/reference/format.md, followed word by word: its code blocks, top to bottom, with plain tools alone."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from songbag_store import SongStore
from songbag_store.format import keys
from songbag_store.format.facts import Identity, ObjectFacts, PartFacts, SnapshotFacts, TagFacts
from songbag_store.format.index import REPLACES
from tests.support.documents import edit_document
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reference" / "format.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "tests" / "fixtures" / "store-format-1", tmp_path / "my-store")
    edit_document(tmp_path / "my-store" / "store.json")  # a store of today is sealed
    return tmp_path


def follow(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code where songbag cannot be imported."""
    barred = "import sys\nsys.modules['songbag_store'] = None\n"
    command = [sys.executable, "-W", "error", "-c", barred + code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_the_page_reads_the_windows_of_one_song_without_songbag(folder: Path) -> None:
    save = "\nnp.save('windows.npy', windows)\n"
    done = follow(folder, "\n".join(BLOCKS) + save)
    assert (done.returncode, done.stderr) == (0, "")
    read = np.load(folder / "windows.npy")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, SongStore.open(folder / "my-store").windows("rock/b.wav"))
    assert "snapshot 3" in done.stdout


@pytest.mark.parametrize("kind", ["c/0/0/0", "index"])
def test_what_the_page_says_about_damage_finds_damage(folder: Path, kind: str) -> None:
    paths = sorted((folder / "my-store").glob("index/*" if kind == "index" else f"features.zarr/*/{kind}"))
    for path in paths:
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 16
        path.write_bytes(data)
    assert follow(folder, "\n".join(BLOCKS)).returncode != 0


def test_the_page_names_the_column_that_only_parts_have() -> None:
    assert f"`{REPLACES}` (string)" in PAGE


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ("`store.json`", Identity.__annotations__),
        ("facts of a snapshot", SnapshotFacts.__annotations__),
        ("facts of a part", [*PartFacts.__annotations__, *ObjectFacts.__annotations__]),
        ("a tag", [name for name in TagFacts.__annotations__ if name != "said"]),
    ],
)
def test_the_page_lists_every_field_of_a_document(document: str, fields: list[str]) -> None:
    (row,) = re.findall(rf"^\| {document} \| (.*) \|$", PAGE, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == list(fields)


def test_the_page_shows_every_kind_of_key() -> None:
    made = [keys.IDENTITY, keys.GROUP_METADATA, keys.part_key("<fragment>"), keys.snapshot_key(3)]
    for key in [*made, keys.fragment_key("<fragment>") + "/", keys.tag_key("<name>")]:
        assert f"\n  {key} " in PAGE
