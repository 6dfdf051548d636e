"""Songs become rows of a table of predictions, part by part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import SongStore
from songbag_training.evaluation.predictions import (
    Scorer,
    SongScore,
    probability_columns,
    probability_names,
    windows_table,
)
from songbag_training.partial.parts import PredictedParts
from songbag_training.runs.facts import RunFacts
from songbag_training.types import Floats

Key = Callable[[pa.Table], pa.ChunkedArray]
"""Takes rows of songs; returns for each what its features are of."""


class Predictor:
    """Predicts songs whose windows lie in a store, and keeps the predictions as parts.

    Parameters
    ----------
    scorer : Scorer
        Has the model.
    facts : RunFacts
        Of the run.
    parts : PredictedParts
        Takes the predictions.
    key : callable
        Tells songs from later ones of the same id.
    seen : callable
        Gets each score as it comes.
    """

    def __init__(
        self, scorer: Scorer, facts: RunFacts, parts: PredictedParts, key: Key, seen: Callable[[SongScore], None]
    ) -> None:
        self._scorer, self._facts, self._parts, self._key, self._seen = scorer, facts, parts, key, seen
        self.song_ids: pa.ChunkedArray = pa.chunked_array([], pa.string())
        self.n_known = 0

    def wanted(self, songs: pa.Table) -> pa.BooleanArray:
        """Return which songs are still to be predicted; these are the songs of the table."""
        self.song_ids = songs["song_id"]
        lacking = self._parts.lacks(songs.select(["song_id"]).append_column("key", self._key(songs)))
        self.n_known = songs.num_rows - (pc.sum(lacking).as_py() or 0)
        return lacking

    def take(self, store: SongStore, rows: pa.Table) -> None:
        """Predict songs, and write the part of their predictions."""
        ok = rows.filter(pc.equal(rows["status"], "ok"))
        scores: dict[str, Floats] = {}
        with self._parts.adding() as windows:
            for score in self._scorer.of_store(store, ok):
                if windows is not None:
                    windows.add(windows_table(score, self._facts.spec, self._facts.classes))
                self._seen(score)
                scores[score.song_id] = score.probabilities
        n_windows = pc.if_else(pc.equal(rows["status"], "ok"), rows["n_windows"], 0).to_numpy()
        self._parts.add(prediction_table(self._facts, rows, scores), self._key(rows), n_windows.astype(np.int64))


def prediction_schema(facts: RunFacts) -> pa.Schema:
    """Return the schema of predictions: song_id, path, predicted, p_<class>..., error_code, error."""
    text = [pa.field(name, pa.string()) for name in ("song_id", "path", "error_code", "error")]
    predicted = pa.field("predicted", facts.song_task.label_type)
    shares = [pa.field(name, pa.float64()) for name in probability_names(facts.classes)]
    return pa.schema([*text[:2], predicted, *shares, *text[2:]])


def prediction_table(facts: RunFacts, songs: pa.Table, scores: dict[str, Floats]) -> pa.Table:
    """Put predictions and failures into one table, in the order of the songs."""
    task, ids = facts.song_task, songs["song_id"].to_pylist()
    known = np.array([scores[song_id] for song_id in ids if song_id in scores]).reshape(-1, len(task.classes))
    own = {"predicted": task.labels(task.predicted(known)), **probability_columns(task.classes, known)}
    places = iter(range(len(known)))
    rows = pa.array([next(places) if song_id in scores else None for song_id in ids], pa.int64())
    columns = {name: songs[name] for name in ("song_id", "path", "error_code", "error")}
    columns |= {name: column.take(rows) for name, column in own.items()}
    return pa.table([columns[name] for name in prediction_schema(facts).names], schema=prediction_schema(facts))
