from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from songbag_store.errors import StoreError, UsageError
from songbag_store.format.index import REPLACES, apply_part, apply_parts, empty_index, index_schema, user_fields
from tests.support.stores import part

LABEL = pa.field("label", pa.string())


def held(index: pa.Table) -> dict[str, str]:
    return dict(zip(index["song_id"].to_pylist(), index["fragment"].to_pylist(), strict=True))


def test_new_songs_are_added() -> None:
    assert held(apply_part(empty_index(), part("f1", {"a": None, "b": None}))) == {"a": "f1", "b": "f1"}


def test_a_row_replaces_only_the_row_it_set_out_to_replace() -> None:
    index = apply_part(empty_index(), part("f1", {"a": None, "b": None}))
    assert held(apply_part(index, part("f2", {"a": "f1", "b": "f0"}))) == {"a": "f2", "b": "f1"}


def test_a_late_twin_of_a_task_changes_nothing() -> None:
    index = apply_part(empty_index(), part("f1", {"a": None}))
    assert held(apply_part(index, part("twin", {"a": None}))) == {"a": "f1"}


def test_a_row_for_a_song_that_was_removed_meanwhile_is_dropped() -> None:
    assert held(apply_part(empty_index(), part("f2", {"a": "f1"}))) == {}


def test_the_users_columns_of_all_runs_are_joined() -> None:
    index = apply_part(empty_index(), part("f1", {"a": None}, label=["rock"]))
    index = apply_part(index, part("f2", {"b": None}, year=[1999]))
    assert [f.name for f in user_fields(index.schema)] == ["label", "year"]
    assert index.sort_by("song_id").select(["label", "year"]).to_pylist() == [
        {"label": "rock", "year": None},
        {"label": None, "year": 1999},
    ]


def test_a_column_of_two_types_is_refused_by_name() -> None:
    index = apply_part(empty_index(), part("f1", {"a": None}, year=["1999"]))
    with pytest.raises(StoreError, match="year"):
        apply_part(index, part("f2", {"b": None}, year=[1999]))


def test_two_columns_that_differ_only_in_capitals_are_refused() -> None:
    with pytest.raises(UsageError, match="capitals"):
        index_schema([LABEL, pa.field("Label", pa.string())])


@pytest.mark.parametrize("name", ["status", "song_id", "fragment", REPLACES, "Status"])
def test_a_users_column_with_a_name_of_songbags_own_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        index_schema([pa.field(name, pa.string())])


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), st.none(), min_size=1), min_size=1, max_size=6))
def test_parts_applied_at_once_or_one_by_one_give_one_row_a_song(parts: list[dict[str, None]]) -> None:
    tables = [part(f"f{i}", dict(songs)) for i, songs in enumerate(parts)]
    index = empty_index()
    for table in tables:
        index = apply_part(index, table)
    assert held(apply_parts(empty_index(), tables)) == held(index)
    assert held(index).keys() == set().union(*parts)
    assert index.num_rows == len(held(index))
