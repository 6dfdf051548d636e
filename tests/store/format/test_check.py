from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
from hypothesis import given, strategies as st

from songbag_store.format.check import repeated


def column(*pieces: list[str | None]) -> list[pa.ChunkedArray]:
    return [pa.chunked_array([pa.array(piece, pa.string())]) for piece in pieces]


@given(st.lists(st.lists(st.one_of(st.none(), st.sampled_from(["", "a", "b", "\0", "ä", "ä"])))))
def test_texts_are_counted_over_all_pieces_and_nulls_are_none(pieces: list[list[str | None]]) -> None:
    counts = Counter(text for piece in pieces for text in piece if text is not None)
    expected = {text: count for text, count in counts.items() if count > 1}
    found = repeated(lambda: column(*pieces))
    assert list(found.items()) == list(expected.items())


def test_texts_of_one_hash_are_told_apart() -> None:
    assert repeated(lambda: column(["a", "b"], ["c"]), hash_of=len) == {}
    assert repeated(lambda: column(["a", "b"], ["c", "b"]), hash_of=len) == {"b": 2}


def test_a_text_takes_a_few_bytes_however_long_it_is() -> None:
    def pieces() -> Iterator[pa.ChunkedArray]:
        for start in range(0, 100_000, 1000):
            yield from column([f"{row:0200}" for row in range(start, start + 1000)])

    tracemalloc.start()
    try:
        assert not repeated(pieces)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000 * 20 + (1 << 20)
