"""Tables of predictions, of songs and of windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from songbag_store import FeatureSpec
from songbag_training.files import replacing
from songbag_training.scoring import SongScore, window_times

_ROWS_AT_ONCE = 100_000


def probability_names(classes: Sequence[str]) -> list[str]:
    """Return the names of the probability columns: unique as the classes are, and like no other column's."""
    return [f"p_{name}" for name in classes]


def probability_columns(classes: Sequence[str], probabilities: npt.NDArray[np.float64]) -> dict[str, pa.Array]:
    """Return one column a class of probabilities, shape (n, n_classes)."""
    return {name: pa.array(probabilities[:, i]) for i, name in enumerate(probability_names(classes))}


class WindowsWriter:
    """Collects the windows of songs and writes them to Parquet many at a time; see `writing_windows`."""

    def __init__(self, path: Path, spec: FeatureSpec, classes: Sequence[str]) -> None:
        own = [("song_id", pa.string()), ("window", pa.int32()), ("start_s", pa.float64()), ("end_s", pa.float64())]
        shares = [(name, pa.float64()) for name in ("weight", *probability_names(classes))]
        self._writer = pq.ParquetWriter(path, pa.schema([*own, *shares]), compression="zstd")
        self._spec = spec
        self._classes = classes
        self._held: list[pa.Table] = []
        self._n_held = 0

    def add(self, score: SongScore) -> None:
        """Add all windows of one song."""
        n_windows = len(score.weights)
        starts, ends = window_times(n_windows, self._spec)
        columns = {
            "song_id": pa.repeat(score.song_id, n_windows),
            "window": pa.array(np.arange(n_windows, dtype=np.int32)),
            "start_s": pa.array(starts),
            "end_s": pa.array(ends),
            "weight": pa.array(score.weights),
        }
        self._held.append(pa.table(columns | probability_columns(self._classes, score.window_probabilities)))
        self._n_held += n_windows
        if self._n_held >= _ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what is held as one row group."""
        if self._held:
            self._writer.write_table(pa.concat_tables(self._held))
        self._held, self._n_held = [], 0

    def close(self) -> None:
        """End the file."""
        self._writer.close()


@contextmanager
def writing_windows(path: Path, spec: FeatureSpec, classes: Sequence[str]) -> Iterator[WindowsWriter]:
    """Write `windows.parquet` as a whole: song_id, window, start_s, end_s, weight, p_<class>..."""
    with replacing(path) as temporary:
        writer = WindowsWriter(temporary, spec, classes)
        try:
            yield writer
            writer.flush()
        finally:
            writer.close()
