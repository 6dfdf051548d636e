"""`SummaryScorer`: scores whole songs by their summaries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import pyarrow as pa

from songbag_store import FeatureSpec, SongStore
from songbag_training.evaluation.predictions import SongScore
from songbag_training.songs.pieces import Piece
from songbag_training.summaries.predictor import Predictor
from songbag_training.summaries.statistics import SongSummaries, chunk_windows, summarised
from songbag_training.types import FloatArray

_SONGS_AT_ONCE = 256
_STORED_AT_ONCE = 10_000


class SummaryScorer:
    """Scores songs with a baseline.

    Memory holds the summaries of 10,000 songs of a store, or of 256 others, and some windows.

    Parameters
    ----------
    predictor : Predictor
    spec : FeatureSpec
        Of the windows.
    known : SongSummaries, optional
        Summaries of songs of the store that is scored.
    """

    def __init__(self, predictor: Predictor, spec: FeatureSpec, known: SongSummaries | None = None) -> None:
        self.task = predictor.task
        self.chunk_windows = chunk_windows(spec)
        self._predictor, self._spec, self._known = predictor, spec, known

    def score(self, pieces: Iterable[Piece]) -> Iterator[SongScore]:
        """Score songs one after the other; of single windows a baseline says nothing."""
        found = summarised(pieces, self._spec, self._predictor.kind)
        while songs := list(islice(found, _SONGS_AT_ONCE)):
            yield from self._scores([song_id for song_id, _ in songs], np.stack([own for _, own in songs]))

    def of_store(self, store: SongStore, songs: pa.Table) -> Iterator[SongScore]:
        """Score songs of a store, given as rows of its index, in their order."""
        known = self._known or SongSummaries(store, self._predictor.kind)
        for first in range(0, songs.num_rows, _STORED_AT_ONCE):
            own = songs.slice(first, _STORED_AT_ONCE)
            yield from self._scores(own["song_id"].to_pylist(), known.of(own))

    def _scores(self, song_ids: list[str], summaries: FloatArray) -> Iterator[SongScore]:
        none = np.zeros((0, len(self.task.classes)))
        shares = self._predictor.of_learners(summaries)
        chosen = self._predictor.calibrated(shares[self._predictor.learner])
        # At the temperature too: thresholds were chosen at it.
        of_each = {name: self._predictor.calibrated(values) for name, values in shares.items()}
        for row, song_id in enumerate(song_ids):
            of_learners = {str(name): values[row] for name, values in of_each.items()}
            yield SongScore(song_id, chosen[row], none, none[:, 0], of_learners)
