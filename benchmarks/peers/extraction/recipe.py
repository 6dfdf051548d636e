"""The first recipe: librosa.load, MFCC a window, np.save, one file after the other; and the same as a Dask bag."""

from __future__ import annotations

from pathlib import Path

import dask
import dask.bag

from benchmarks.peers.extraction.songs import WORKERS, Extraction, files, first_recipe


class Recipe(Extraction):
    def extract(self, songs: str, out: str) -> None:
        for path in files(songs):
            first_recipe(path, Path(out))


class DaskBag(Extraction):
    def extract(self, songs: str, out: str) -> None:
        bag = dask.bag.from_sequence(files(songs), npartitions=4 * WORKERS)
        with dask.config.set(scheduler="processes", num_workers=WORKERS):
            bag.map(first_recipe, Path(out)).compute()
