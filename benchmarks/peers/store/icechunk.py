"""Icechunk: a Zarr array a column; a commit makes them longer."""

from __future__ import annotations

import hashlib
import json
import warnings
from typing import Any

import icechunk
import numpy as np
import zarr

from benchmarks.peers.store.rows import Store

_CHUNK = 8192
# Text of a fixed length has no specification in Zarr yet.
warnings.filterwarnings("ignore", message=".*specification.*")


class Icechunk(Store):
    """Numbers and short texts are arrays; it has no tables, so none of its columns is of the user's making."""

    def commit(self, number: int) -> None:
        columns = {name: np.load(self.data / f"{number}-{name}.npy") for name in self._names()}
        session = self._repository().writable_session("main")
        group = zarr.open_group(session.store, mode="a")
        for name, values in columns.items():
            if number == 0:
                chunks = (_CHUNK, *values.shape[1:])
                group.create_array(name, shape=(0, *values.shape[1:]), dtype=values.dtype, chunks=chunks)
            group[name].append(values)
        session.commit(f"commit {number}")

    def open(self) -> int:
        return int(self._group()["song_id"].shape[0])

    def plan(self) -> int:
        songs, wanted = self._group()["song_id"][:], np.load(self.data / "wanted.npy")
        return int(np.isin(wanted, songs, invert=True).sum())

    def query(self) -> int:
        group = self._group()
        genres, places = np.unique(group["genre"][:], return_inverse=True)
        counts, windows = np.bincount(places), np.bincount(places, group["n_windows"][:])
        return min(len(counts), len(windows), len(genres))

    def read(self) -> Any:
        group = self._group()
        return [len(group[name][:]) for name in self._names()]

    def digest(self) -> str:
        group, digest = self._group(), hashlib.sha256()
        for name in self._names():
            digest.update(np.ascontiguousarray(group[name][:]))
        return digest.hexdigest()

    def _names(self) -> list[str]:
        return list(json.loads((self.data / "names.json").read_text()))

    def _group(self) -> Any:
        return zarr.open_group(self._repository().readonly_session("main").store, mode="r")

    def _repository(self) -> Any:
        return icechunk.Repository.open_or_create(icechunk.local_filesystem_storage(str(self.place)))
