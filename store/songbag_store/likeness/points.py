"""A point for each song, such that near points are similar songs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.format.index import empty_index, keep_rows
from songbag_store.format.sealed import Sealed
from songbag_store.format.spec import OWN, FeatureSpec
from songbag_store.likeness.statistics import Flags, Points, lists_of, reduced, unit

_LEAST_SPREAD = 1e-6
"""Numbers that differ by a smaller share of their size are equal except for rounding."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class SongPoints:
    """Songs as points.

    Attributes
    ----------
    song_ids : pyarrow.StringArray
        Of n songs.
    points : float32, shape (n, D)
        Standardised statistics, or vectors of length 1.
    are_vectors : bool
        Whether they are vectors: their distance is one minus the cosine. Otherwise it is the root of the mean square
        of the differences, in standard deviations.
    """

    song_ids: pa.Array
    points: Points
    are_vectors: bool

    @classmethod
    def of_vectors(cls, song_ids: pa.Array, vectors: Points) -> SongPoints:
        """Return the points of vectors of any length, shape (n, E)."""
        return cls(song_ids, unit(vectors.astype(np.float64)), True)

    @classmethod
    def read(cls, index: Sealed, spec: FeatureSpec) -> SongPoints:
        """Read the points of the songs of a snapshot from the sums in its index, a group of rows at a time.

        Of windows of one frame, which are embeddings, the mean is the song's vector. Of others, the mean and the
        deviation over time of each coefficient, or of as many coefficients of the bands as copies are found by, are
        standardised over all songs. A song whose sums are not there, or not finite, has no point.
        """
        are_vectors = spec.n_frames == 1
        names = ["song_id", "status", "n_windows", "feature_sum"] + ["feature_sumsq"] * (not are_vectors)

        def of(piece: pa.Table) -> tuple[list[pa.Array], Points]:
            songs = keep_rows(piece, pc.equal(piece["status"], "ok"))
            known, own = _of_songs(songs, spec)
            return keep_rows(songs.select(["song_id"]), pa.chunked_array([known]))["song_id"].chunks, own[known]

        pieces = [of(empty_index().select(names)), *index.each(of, names)]
        ids, points = [chunk for chunks, _ in pieces for chunk in chunks], [own for _, own in pieces]
        del pieces
        song_ids = pa.chunked_array(ids, pa.string()).combine_chunks()
        joined = np.concatenate(points)
        del points
        return cls.of_vectors(song_ids, joined) if are_vectors else cls(song_ids, _standardised(joined), False)

    def row(self, song_id: str) -> int | None:
        """Return the row of a song; None if it has no point."""
        row = pc.index(self.song_ids, song_id).as_py()
        return None if row < 0 else int(row)

    def some(self, song_ids: pa.ChunkedArray) -> SongPoints:
        """Return those of some songs."""
        chosen = pc.is_in(self.song_ids, value_set=song_ids.combine_chunks())
        points = self.points[chosen.to_numpy(zero_copy_only=False)]
        return dataclasses.replace(self, song_ids=self.song_ids.filter(chosen), points=points)


def _of_songs(songs: pa.Table, spec: FeatureSpec) -> tuple[Flags, Points]:
    """Return which songs have sums, and the numbers of each, shape (n, D)."""
    n_values, n_frames = spec.window_shape
    n_windows = songs["n_windows"].to_numpy().astype(np.float64)
    sums, known = lists_of(songs["feature_sum"], n_values)
    frames = np.maximum(n_windows, 1)[:, None] * n_frames
    means = sums / frames
    if n_frames == 1:
        return known, means.astype(np.float32)
    squares, known_too = lists_of(songs["feature_sumsq"], n_values)
    deviations = np.sqrt(np.maximum(squares / frames - np.square(means), 0))
    if spec.kind != OWN:
        means, deviations = reduced(means, spec), reduced(deviations, spec)
    return known & known_too, np.concatenate([means, deviations], axis=1, dtype=np.float32)


def _standardised(points: Points) -> Points:
    """Return points of mean 0 and variance 1 in each number; a number that all songs share becomes 0."""
    if not len(points):
        return points
    # In place: another copy of a million songs would take as much memory again.
    mean = points.mean(axis=0, dtype=np.float64)
    points -= mean.astype(np.float32)
    spread = np.sqrt(np.einsum("nd,nd->d", points, points, dtype=np.float64) / len(points))
    tells = spread > _LEAST_SPREAD * (np.abs(mean) + spread)
    points *= np.divide(1.0, spread, out=np.zeros_like(spread), where=tells).astype(np.float32)
    return points
