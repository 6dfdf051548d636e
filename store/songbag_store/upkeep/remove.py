"""Songs that leave the index: at once for every reader of the new snapshot; their bytes go with compact and gc."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.snapshots import Snapshot
from songbag_store.errors import UsageError
from songbag_store.sql.query import filter_songs
from songbag_store.store import SongStore, StoreLike
from songbag_store.writer import commit_change


def remove(store: StoreLike, where: str) -> tuple[SongStore, int]:
    """Commit a snapshot without the songs for which a SQL expression holds, failed ones included.

    The part that brought a song stays among those taken in, so no later run adopts it again. An extract that lists the
    song finds it as new.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    where : str
        A SQL expression over the columns of the index.

    Returns
    -------
    store : SongStore
        At the new snapshot, or at the newest where no song matches.
    n_removed : int
        Songs that left the index.

    Raises
    ------
    QueryError
        If the text is not one expression.
    """
    if not where.strip():
        raise UsageError("the condition is empty", place="where", remedy="To remove every song, say `where='true'`.")
    n_removed = 0

    def change(base: Snapshot) -> tuple[pa.Table, frozenset[str]] | None:
        nonlocal n_removed
        gone = filter_songs(base.index, where, view="index")["song_id"]
        n_removed = len(gone)
        if n_removed == 0:
            return None
        hit = pc.is_in(base.index["song_id"], value_set=gone.combine_chunks())
        return base.index.filter(pc.invert(hit)), base.parts

    return commit_change(SongStore.open(store), change, note=f"remove where {where}"), n_removed
