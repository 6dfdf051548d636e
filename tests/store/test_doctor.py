"""`songbag doctor`: what works, what is missing, what is wrong and what to do; and nothing that is secret."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from songbag_store import doctor
from songbag_store.doctor import Finding, as_table, broken, in_words, missing_extra
from songbag_store.errors import StoreError

SECRET = "wJalrXUtnFEMI-K7MDENG"


def test_the_text_fits_80_columns_and_says_what_to_do() -> None:
    found = [
        Finding("system", "songbag", "works", "1"),
        missing_extra("devices", "TensorFlow", "training"),
        broken("decoders", "audio", OSError("libsndfile.so: cannot open\nmore"), "Install it again."),
        broken("storage", "folder", StoreError("no space", remedy="Make room.")),
        Finding("storage", "x" * 20, "works", "word " * 40),
    ]
    text = in_words(found)
    assert max(map(len, text.splitlines())) <= 80
    assert "MISSING: not installed" in text
    assert "WRONG: OSError: libsndfile.so: cannot open" in text
    assert "TensorFlow: Install it with: pip install 'songbag[training]'" in text
    assert "folder: Make room." in text
    assert as_table(found).column_names == ["part", "name", "state", "found", "remedy"]


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """Return what the store finds by itself; other packages have their own tests."""
    monkeypatch.setattr(doctor.metadata, "entry_points", lambda **_: [])
    return list(doctor.findings())


def test_the_store_looks_at_the_system_its_libraries_and_the_commit(own: list[Finding]) -> None:
    assert {one.part for one in own} >= {"system", "libraries", "libraries of training", "storage"}
    named = [(one.part, one.name) for one in own]
    assert len(set(named)) == len(named)
    assert [one for one in own if one.state == "wrong"] == []
    assert next(one for one in own if one.name == "folder").state == "works"


def test_no_secret_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = {"AWS_SECRET_ACCESS_KEY": SECRET, "AZURE_STORAGE_KEY": SECRET, "AWS_ENDPOINT_URL": f"http://x/{SECRET}"}
    for name, value in secret.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(doctor.metadata, "entry_points", lambda **_: [])
    text = in_words(doctor.findings())
    assert SECRET not in text
    assert "1 AZURE_*" in text
    assert not any(name in text for name in secret)


def test_a_temporary_folder_that_is_gone_is_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    states = {one.name: one for one in doctor._system()} | {one.name: one for one in doctor._storage()}
    assert states["temporary files"].state == states["folder"].state == "wrong"
    assert "TMPDIR" in states["temporary files"].remedy


def test_a_library_that_is_too_old_or_not_there_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ["numpy>=999", "no-such-library", "nothing-here>=1; extra == 'pipeline'", "scipy; extra == 'onnx'"]
    monkeypatch.setattr(doctor, "_MARK_OF", {"pipeline": "nothing-here", "onnx": "no-such-mark"})
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: needs)
    found = {one.name: one for one in doctor._libraries()}
    assert found["numpy"].state == "wrong"
    assert found["numpy"].found.endswith("and songbag needs >=999")
    assert (found["no-such-library"].state, found["no-such-library"].found) == ("wrong", "not installed")
    assert (found["pipeline"].state, found["pipeline"].remedy) == (
        "missing",
        "Install it with: pip install 'songbag[pipeline]'",
    )
    assert found["onnx"].state == "missing"  # one of its libraries came with something else
