"""What songbag takes for granted about zarr-python, Blosc, pyarrow and NumPy; each failure says what to do about it."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from numcodecs.blosc import BITSHUFFLE, Blosc

from songbag_store.compat import join_blocks, pick_blocks, read_header
from songbag_store.format.sealed import seal
from tests.support.patience import PATIENCE_S
from tests.support.stores import MakeStore, sixteenths

WINDOW_BYTES = 2 * 13 * 216
CODEC = Blosc("lz4", clevel=9, shuffle=BITSHUFFLE, blocksize=WINDOW_BYTES, typesize=2)


@pytest.fixture
def windows(rng: np.random.Generator) -> np.ndarray:
    """Return nine windows of 1/16 steps, shape (9, 13, 216)."""
    return rng.normal(0, 100, (9, 13, 216)).astype(np.int16)


def joined(windows: np.ndarray) -> bytes:
    chunk = join_blocks([CODEC.encode(window) for window in windows], WINDOW_BYTES)
    assert chunk is not None, (
        "numcodecs no longer packs a window as a Blosc chunk of one block: compare songbag_store/compat.py with "
        "README_CHUNK_FORMAT.rst of its C-Blosc; until then let `pack_by_window` return `codec.encode(chunk)`"
    )
    return chunk


def test_the_header_of_a_blosc_chunk_says_its_sizes(windows: np.ndarray) -> None:
    chunk = CODEC.encode(windows)
    header = read_header(chunk)
    assert (header.n_bytes, header.n_packed, header.has_blocks) == (windows.nbytes, len(chunk), True), (
        "numcodecs packs another chunk format than C-Blosc 1: pin numcodecs below this version, or read the new header "
        "in songbag_store/compat.py; stores on disk keep the old one"
    )
    noise = np.random.default_rng(3).bytes(1000)
    assert not read_header(Blosc("lz4", typesize=1).encode(noise)).has_blocks, (
        "numcodecs marks a chunk that it cannot pack in another way: correct `_COPIED` in songbag_store/compat.py"
    )


def test_blosc_unpacks_joined_blocks_as_one_chunk(windows: np.ndarray) -> None:
    got = np.frombuffer(CODEC.decode(joined(windows)), np.int16).reshape(windows.shape)
    np.testing.assert_array_equal(
        got, windows, "Blosc reads the list of blocks in another way: let `pack_by_window` return `codec.encode(chunk)`"
    )


def test_blosc_unpacks_a_chunk_whose_list_names_some_blocks_only(windows: np.ndarray) -> None:
    chunk = np.frombuffer(joined(windows), np.uint8).copy()
    rows = np.array([8, 0, 3, 3, 5])
    pick_blocks(chunk, len(windows), rows, read_header(chunk.data).block_bytes)
    got = np.frombuffer(CODEC.decode(chunk), np.int16).reshape(len(rows), 13, 216)
    np.testing.assert_array_equal(
        got,
        windows[rows],
        "Blosc checks more of a chunk than before: let `unpack_windows` unpack whole chunks and take the windows",
    )


def test_zarr_packs_a_chunk_with_the_codec_of_songbag(make_store: MakeStore, rng: np.random.Generator) -> None:
    store = make_store({f"{n}": sixteenths(rng, 7, (13, 216)) for n in range(5)})
    (shard,) = (Path(store.address) / "features.zarr").glob("*/c/0/0/0")
    header = read_header(shard.read_bytes())
    assert (header.n_bytes, header.block_bytes) == (7 * store.spec.window_bytes, store.spec.window_bytes), (
        f"zarr {zarr.__version__} no longer calls `encode` of a codec for its chunks, or calls it after another one: "
        "stores stay readable and are read more slowly; look in zarr.abc.codec for what `_BloscByWindow` in "
        "songbag_store/windows/writer.py must override"
    )


def test_parquet_keeps_the_digest_in_its_footer_as_plain_text() -> None:
    data = seal(pa.table({"song_id": ["a"]}), {})
    digest = pq.read_metadata(pa.BufferReader(data)).metadata[b"songbag.sha256"]
    assert data.count(digest) == 1, (
        f"pyarrow {pa.__version__} writes key-value metadata encoded or twice: put the digest into the last column of "
        "the rows instead, or pin pyarrow below this version (songbag_store/format/sealed.py)"
    )


def test_every_view_of_an_array_keeps_the_array_alive() -> None:
    memory = np.frombuffer(memoryview(bytearray(4096)), np.uint8)
    ended = weakref.ref(memory)
    views = [
        memory.view(np.int16).reshape(2, 4, 256)[1],
        memoryview(memory.view(np.int16)),
        np.asarray(memoryview(memory))[5:],
        memory[:10].base,
    ]
    del memory
    while views:
        gc.collect()
        assert ended() is not None, (
            f"NumPy {np.__version__} cuts a view loose from the array it was made of: let `BatchMemory.take` return "
            "new memory each time, or wrap it in an object whose buffer it is (songbag_store/windows/memory.py)"
        )
        views.pop()
    assert ended() is None, "NumPy keeps arrays that nobody refers to: batches would each take new memory"


def test_windows_are_unpacked_without_the_threads_of_blosc() -> None:
    code = "import songbag_store.windows.blocks, numcodecs.blosc; print(numcodecs.blosc.use_threads)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert done.stdout == "False\n", (
        "numcodecs has another switch for Blosc's threads: set it in songbag_store/windows/blocks.py"
    )


def test_arrow_looks_for_pandas_again_when_a_table_becomes_one_of_pandas() -> None:
    code = """
import sys
import numpy, pyarrow
from songbag_store.compat import arrow_without_pandas
arrow_without_pandas()
assert pyarrow.array(["a"]).to_pylist() == [pyarrow.scalar("a").as_py()]
print("pandas" in sys.modules)
print(pyarrow.table({"a": [1.5, None]}).to_pandas()["a"].isna().tolist())
import pandas
print(pyarrow.array(pandas.Series([1.0, numpy.nan])).null_count)
arrow_without_pandas()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert done.stdout.split("\n") == ["False", "[False, True]", "1", ""], (
        "pyarrow looks for pandas in another way: let `arrow_without_pandas` in songbag_store/compat.py do nothing"
    )
