from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numcodecs.blosc import BITSHUFFLE, Blosc

from songbag_store import SongStore
from songbag_store.windows.blocks import pack_by_window, unpack_windows
from tests.support.stores import MakeStore, sixteenths

SHAPE = (3, 400)


def codec_for(windows: np.ndarray) -> Blosc:
    return Blosc("lz4", clevel=9, shuffle=BITSHUFFLE, blocksize=windows[0].nbytes, typesize=windows.itemsize)


def packed(windows: np.ndarray) -> np.ndarray:
    """Pack windows, and add four bytes as the checksum would."""
    chunk = pack_by_window(windows.reshape(-1).view(np.uint8), codec_for(windows))
    return np.frombuffer(chunk + b"crc.", np.uint8).copy()


def unpacked(chunk: np.ndarray, rows: list[int], windows: np.ndarray) -> np.ndarray:
    out = np.full((len(rows), *windows.shape[1:]), -1, windows.dtype)
    unpack_windows(chunk.copy(), np.array(rows), len(windows), out)
    return out


def block_bytes(chunk: np.ndarray) -> int:
    return int(chunk[8:12].view("<u4")[0])


@given(st.data())
def test_any_windows_in_any_order_are_unpacked(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 30))
    seed, dtype = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.sampled_from([np.int16, np.float32]))
    shape = data.draw(st.sampled_from([SHAPE, (1, 7), (2, 3, 40)]))
    rng = np.random.default_rng(seed)
    windows = (rng.normal(0, 100, (n, *shape)) * rng.choice([0.0, 1.0], n).reshape(-1, *[1] * len(shape))).astype(dtype)
    rows = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=40))
    chunk = packed(windows)
    np.testing.assert_array_equal(unpacked(chunk, rows, windows), windows[rows])


def test_blosc_itself_unpacks_a_chunk_that_is_packed_by_window(rng: np.random.Generator) -> None:
    windows = rng.normal(0, 100, (9, *SHAPE)).astype(np.int16)
    chunk = packed(windows)
    assert block_bytes(chunk) == windows[0].nbytes
    np.testing.assert_array_equal(np.frombuffer(Blosc().decode(chunk[:-4]), np.int16), windows.reshape(-1))


def test_windows_that_are_not_wanted_are_not_unpacked(rng: np.random.Generator) -> None:
    windows = rng.normal(0, 100, (9, *SHAPE)).astype(np.int16)
    chunk = packed(windows)
    starts = chunk[16:52].view("<i4")
    chunk[starts[4] : starts[5]] = 0xFF
    rows = [8, 0, 3, 5, 5]
    np.testing.assert_array_equal(unpacked(chunk, rows, windows), windows[rows])
    with pytest.raises(ValueError, match="cannot be unpacked"):
        unpacked(chunk, [4], windows)


@pytest.mark.parametrize("noisy", [[0, 1, 2, 3], [2]], ids=["all", "one"])
def test_noise_that_cannot_be_packed_is_stored_all_the_same(rng: np.random.Generator, noisy: list[int]) -> None:
    windows = np.zeros((4, 1, 70), np.int16)
    windows[noisy] = rng.integers(-(2**15), 2**15, (len(noisy), 1, 70), np.int16)
    chunk = packed(windows)
    np.testing.assert_array_equal(unpacked(chunk, [3, 2], windows), windows[[3, 2]])


@given(st.binary(max_size=60), st.integers(0, 80), st.lists(st.integers(0, 8), min_size=1, max_size=12))
def test_a_changed_chunk_is_an_error_or_other_numbers(garbage: bytes, place: int, rows: list[int]) -> None:
    windows = np.arange(9 * 1200).reshape(9, *SHAPE).astype(np.int16)
    chunk = packed(windows)
    changed = (chunk[:place].tobytes() + garbage + chunk[place + len(garbage) :].tobytes())[: len(chunk)]
    with suppress(ValueError):
        assert unpacked(np.frombuffer(changed, np.uint8), rows, windows).shape == (len(rows), *SHAPE)


@pytest.mark.parametrize("n_bytes", [4, 10, 19, 20, 40])
def test_a_chunk_that_is_cut_off_is_an_error(n_bytes: int) -> None:
    windows = np.zeros((9, *SHAPE), np.int16)
    with pytest.raises(ValueError, match="a chunk"):
        unpacked(packed(windows)[:n_bytes], [1, 2], windows)


def test_the_chunks_of_a_store_are_packed_by_window(make_store: MakeStore, rng: np.random.Generator) -> None:
    store: SongStore = make_store({f"{n}": sixteenths(rng, 7, (13, 216)) for n in range(5)})
    (shard,) = (Path(store.address) / "features.zarr").glob("*/c/0/0/0")
    data = np.frombuffer(shard.read_bytes(), np.uint8)
    places = data[-4 - 16 * 5 : -4].view("<u8").reshape(5, 2)
    assert [block_bytes(data[start : start + size]) for start, size in places] == 5 * [store.spec.window_bytes]
