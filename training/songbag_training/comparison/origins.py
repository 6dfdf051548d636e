"""Where the difference of two reported accuracies comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Set
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.errors import SongbagError
from songbag_store.storage.location import Location
from songbag_store.upkeep.difference import diff, diff_text
from songbag_training.comparison.judged import Judged
from songbag_training.songs.task import classes_of

Origin = tuple[str, int, float]
"""Why, how many songs, and the difference that comes from them."""


@dataclasses.dataclass(frozen=True)
class Between:
    """What the store says of the time between the snapshots of two runs.

    Attributes
    ----------
    gone, new : frozenset of str
        Songs with features at the earlier snapshot alone, and at the later one alone.
    relabelled : frozenset of str
        Songs whose label is another one.
    known : bool
        Whether the store could be asked; if not, the three are empty.
    notes : tuple of str
    """

    gone: frozenset[str] = frozenset()
    new: frozenset[str] = frozenset()
    relabelled: frozenset[str] = frozenset()
    known: bool = True
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, one: Judged, two: Judged) -> Self:
        """Ask the store of two runs, where it lies now by either of them."""
        if one.facts.store_uuid != two.facts.store_uuid:
            return cls(known=False)
        before, after = sorted((one.facts.snapshot, two.facts.snapshot))
        if before == after:
            return cls()
        why = ""
        for address in dict.fromkeys((two.facts.store_location, one.facts.store_location)):
            try:
                changes = diff(Location(address), before, after, arrow=True)
            except SongbagError as error:
                why = why or error.what
                continue
            of_label = pc.and_kleene(
                pc.equal(changes["change"], "relabelled"), pc.equal(changes["column"], one.facts.label)
            )
            return cls(
                _ids(changes, "removed", "failed"),
                _ids(changes, "added", "recovered"),
                frozenset(changes["song_id"].filter(pc.fill_null(of_label, False)).to_pylist()),
                notes=(diff_text(changes, before, after),),
            )
        what = f"What changed from snapshot {before} to {after} cannot be read: {why}"
        note = f"{what.rstrip('.')}. Songs that the other run does not know may be removed, added, or left out of it."
        return cls(known=False, notes=(note,))


def _ids(changes: pa.Table, *kinds: str) -> frozenset[str]:
    chosen = pc.is_in(changes["change"], value_set=pa.array(kinds))
    return frozenset(changes["song_id"].filter(chosen).to_pylist())


def origins(first: Judged, second: Judged, between: Between) -> list[Origin]:
    """Return where the difference of two accuracies as they were reported comes from: why, songs, difference.

    The differences add up to the whole one. In turn: the reference loses the songs that the store did not have for the
    other run, then those that the other run did not test, then takes the later labels; then the models are exchanged;
    then come the songs that only the other run tested, and those that the store did not have for the reference.
    Accuracy is the share of songs with all classes right.
    """
    both = first.rows.keys() & second.rows.keys()
    is_later = second.facts.snapshot >= first.facts.snapshot
    later = second if is_later else first
    lost, gained = (between.gone, between.new) if is_later else (between.new, between.gone)
    words = ("songs removed", "songs added") if is_later else ("songs added", "songs removed")
    if not between.known:
        lost, gained = frozenset(first.rows.keys() - second.songs), frozenset(second.rows.keys() - first.songs)
        words = ("songs that the other run does not know", "songs that the reference does not know")
    lost, gained = lost & first.rows.keys() - both, gained & second.rows.keys() - both
    differing = {song for song in both if _classes(first, song) != _classes(second, song)}
    label = "songs relabelled" if differing <= between.relabelled else "songs with another label"
    steps = (
        (words[0], len(lost), _accuracy(first, first.rows.keys() - lost, first)),
        ("tested by the reference alone", len(first.rows) - len(lost) - len(both), _accuracy(first, both, first)),
        (f"{label}, the reference", len(differing), _accuracy(first, both, later)),
        ("other answers", len(both), _accuracy(second, both, later)),
        (f"{label}, the other run", len(differing), _accuracy(second, both, second)),
        (
            "tested by the other run alone",
            len(second.rows) - len(gained) - len(both),
            _accuracy(second, second.rows.keys() - gained, second),
        ),
        (words[1], len(gained), _accuracy(second, second.rows.keys(), second)),
    )
    found, before = [], _accuracy(first, first.rows.keys(), first)
    for why, n, after in steps:
        found.append((why, n, after - before))
        before = after
    return found


def _classes(run: Judged, song: str) -> Set[str]:
    return set(classes_of(run.labels[run.rows[song]]))


def _accuracy(run: Judged, songs: Collection[str] | Iterable[str], truth: Judged) -> float:
    """Return the share of songs of which a run says all classes that they have by another run's labels."""
    hits = [set(classes_of(run.said[run.rows[song]])) == _classes(truth, song) for song in songs]
    return float(np.mean(hits)) if hits else 0.0
