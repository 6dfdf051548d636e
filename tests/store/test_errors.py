from __future__ import annotations

import pickle

import pytest

from songbag_store.errors import (
    BackendRefused,
    DamagedStore,
    MissingExtra,
    SongbagError,
    SongNotFound,
    SpecError,
    SpecMismatch,
    StoreNotFound,
    UsageError,
)

ERRORS = [
    UsageError("is wrong", place="--label", remedy="Give another."),
    SpecError("n_fft is odd", place="feature spec"),
    SongNotFound("a", "store"),
    SpecMismatch("another spec", {"n_mfcc": (13, 20)}, place="store", remedy="Extract anew."),
    MissingExtra("training", "tensorflow", place="songbag train"),
    StoreNotFound("no store", place="x"),
    BackendRefused("no links", place="x"),
    DamagedStore("is cut off", key="index/1", place="x", song_ids=list("abcdefg")),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_says_where_what_and_what_to_do_and_crosses_processes(error: SongbagError) -> None:
    assert str(error).startswith(error.place)
    assert error.what in str(error)
    assert error.remedy in str(error)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)
    assert type(again) is type(error)
    assert (str(again), again.__dict__) == (str(error), error.__dict__)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (UsageError, ValueError),
        (SongNotFound, KeyError),
        (StoreNotFound, FileNotFoundError),
        (MissingExtra, ImportError),
    ],
)
def test_an_error_is_its_builtin_too(kind: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(kind, builtin)
