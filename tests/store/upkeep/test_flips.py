"""Single bits and cuts in every file of a store: `verify` or the reader notices each, or it changes nothing read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import read_part
from songbag_store.errors import StoreError
from songbag_store.upkeep.change import remove
from songbag_store.upkeep.compact import compact
from songbag_store.upkeep.verify import not_sealed, verify
from songbag_store.writer import commit_parts, open_for_writing
from tests.support.listings import contents
from tests.support.long import LONG
from tests.support.stores import fail, fill, sixteenths

SPEC = FeatureSpec(sample_rate_hz=8000, n_fft=256, hop_length=256, n_mels=20, n_mfcc=4, window_s=0.5)
SEED = 102
N_BITS, N_CUTS = (400, 60) if LONG else (4, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with songs that failed, an old fragment, five snapshots, two tags and a part that waits for a commit."""
    rng, folder = np.random.default_rng(1), tmp_path_factory.mktemp("flips") / "store"
    store = open_for_writing(folder, SPEC)
    for names in ("ab", "c"):
        fragment = fill(store, {name: sixteenths(rng, 2, SPEC.window_shape) for name in names}, {"genre": [*names]})
        rows = read_part(store.inside.storage, store.uuid, store.spec, fragment)
        store = commit_parts(store, {fragment: rows}, run="r", ended=names == "c")
    fragment = fail(store, ["bad"])
    store = commit_parts(store, {fragment: read_part(store.inside.storage, store.uuid, store.spec, fragment)})
    store.tag("run-1", {"run": "/runs/1", "label": "genre", "host": "here"})
    store, _ = compact(remove(store, "song_id = 'a'")[0])
    store.tag("paper")
    fill(store, {"waits": sixteenths(rng, 1, SPEC.window_shape)}, {"genre": ["x"]})
    return folder


def all_that_is_read(folder: Path) -> list[object]:
    """Return every row and every window of every snapshot."""
    newest = SongStore.open(folder)
    found: list[object] = [newest.spec, newest.uuid]
    for number in newest.snapshots():
        store = newest.at(number)
        found += [number, store.index(arrow=True).to_pylist()]
        found += [(song_id, windows.tobytes()) for song_id, windows in store.iter_windows()]
    return found


def notices(folder: Path) -> bool:
    try:
        return bool(verify(folder, full=True))
    except StoreError:
        return True


def changes(data: bytes, rng: np.random.Generator) -> list[tuple[str, bytes]]:
    """Return a file with one bit changed and cut off, at random places; of a small one in the long form everywhere."""
    n_bits = 8 * len(data)
    bits = range(n_bits) if n_bits <= N_BITS else rng.choice(n_bits, N_BITS, replace=False)
    cuts = range(len(data)) if len(data) <= N_CUTS else rng.choice(len(data), N_CUTS, replace=False)
    made = [(f"cut to {n} bytes", data[:n]) for n in cuts]
    for bit in bits:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        made.append((f"bit {bit}", bytes(changed)))
    return made


@pytest.mark.fault(102)
def test_every_changed_bit_and_every_cut_of_every_file_is_noticed_or_changes_nothing(folder: Path) -> None:
    assert not notices(folder)
    assert not_sealed(folder) == []
    expected, rng = all_that_is_read(folder), np.random.default_rng(SEED)
    files = contents(folder)
    kinds = {key.split("/")[0] for key in files} | {key.rpartition("/")[2] for key in files}
    assert {"store.json", "zarr.json", "parts", "index", "tags", "0"} <= kinds
    unnoticed = []
    for key, data in sorted(files.items()):
        for what, changed in changes(data, rng):
            (folder / key).write_bytes(changed)
            if not notices(folder):
                try:
                    same = all_that_is_read(folder) == expected
                except StoreError:
                    continue
                if not same or key.startswith(("store.json", "features.zarr/zarr.json", "index/", "tags/")):
                    unnoticed.append((key, what))
        (folder / key).write_bytes(data)
    assert unnoticed == [], f"seed {SEED}"
    assert not notices(folder)


@pytest.mark.fault(102)
def test_the_quick_way_notices_every_changed_bit_of_a_json_document(folder: Path) -> None:
    newest = {f"{row['fragment']}" for row in SongStore.open(folder).songs(arrow=True).to_pylist()}
    rng = np.random.default_rng(SEED)
    for key, data in contents(folder).items():
        is_array = key.count("/") == 2 and key.endswith("zarr.json")
        if not key.endswith(".json") or (is_array and key.split("/")[1] not in newest):
            continue
        for what, changed in changes(data, rng):
            (folder / key).write_bytes(changed)
            try:
                assert verify(folder), (key, what)
            except StoreError:
                continue
            finally:
                (folder / key).write_bytes(data)
