"""Two runs on the songs that both judged: paired differences, an exact test, songs that flipped."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
import pyarrow as pa

from songbag_store import SongStore
from songbag_store.errors import SongbagError, UsageError
from songbag_store.format.index import CONTENT
from songbag_store.storage.location import Location
from songbag_store.words import counted
from songbag_training.comparison.judged import Judged
from songbag_training.errors import some
from songbag_training.evaluation.intervals import Intervals, paired_intervals
from songbag_training.evaluation.metrics import song_metrics
from songbag_training.songs.task import Task, classes_of
from songbag_training.splits.groups import find_units
from songbag_training.types import Bools, Floats, Ints, Label, Metrics, Targets

_Z = 1.959963984540054
_DID = {"test": "tested", "validation": "validated"}
OF_PROBABILITIES = ("roc_auc", "average_precision", "log_loss", "ece")
"""Metrics that mean nothing if one of the two knows a class that the other does not."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """A reference and another run on the same songs, in the order of song ids.

    Labels are those of the later snapshot. Songs of a class that one of the two has not learned are left out; of songs
    with several classes, only the common classes count.
    """

    reference: Judged
    other: Judged
    task: Task
    song_ids: list[str]
    labels: list[Label]
    units: Ints
    notes: tuple[str, ...]

    @classmethod
    def of(cls, reference: Judged, other: Judged) -> Pair:
        """Pair two runs.

        Raises
        ------
        UsageError
            If they learned different labels, or no song was tested by both.
        """
        _refuse_others(reference, other)
        both = sorted(reference.rows.keys() & other.rows.keys())
        notes = list(_trained_notes(reference, other))
        if both:
            both = _not_inherited(reference, other, both, notes)
            if not both:
                what = "every song that both tested was learned by a run that one of them was started from"
                remedy = "Train both with a `--split` whose test songs that run did not have. " + " ".join(notes)
                raise UsageError(what, place="compare", remedy=remedy.strip())
        if not both:
            n, m = len(reference.rows), len(other.rows)
            did = _DID[reference.part]
            what = f"no song was {did} by both: {reference.name} {did} {n:,}, {other.name} {did} {m:,}"
            remedy = "Train both with one `--split`, or cross-validate. " + " ".join(notes)
            raise UsageError(what, place="compare", remedy=remedy.strip())
        labels, left_out = _common_labels(reference, other, both, notes)
        kept = [song for song in both if song not in left_out]
        if not kept:
            raise UsageError("no song has a class that both learned", place="compare", remedy="; ".join(notes))
        classes = _classes_to_judge(reference, other, notes)
        task = Task.named("multi-label" if reference.several else "single-label", classes)
        units, more = _units(reference, other, kept)
        return cls(reference, other, task, kept, [labels[song] for song in kept], units, (*notes, *more))

    @cached_property
    def true(self) -> Targets:
        """The labels as targets."""
        return self.task.encode(self.labels)

    @cached_property
    def answers(self) -> tuple[tuple[Floats, Bools], tuple[Floats, Bools]]:
        """Probabilities and predictions of the reference and of the other run."""
        return self._answers(self.reference), self._answers(self.other)

    def _answers(self, run: Judged) -> tuple[Floats, Bools]:
        rows, classes = [run.rows[song] for song in self.song_ids], self.task.classes
        known = set(run.facts.classes)
        shares = np.zeros((len(rows), len(classes)))
        for number, name in enumerate(classes):
            if name in known:
                shares[:, number] = run.tested[f"p_{name}"].to_numpy()[rows]
        said: list[Label] = [run.said[row] for row in rows]
        if self.task.several:
            said = [tuple(name for name in classes_of(one) if name in classes) for one in said]
        return shares, self.task.members(self.task.encode(said))

    @cached_property
    def right(self) -> tuple[Bools, Bools]:
        """Which songs each of the two has right, with all their classes."""
        own = self.task.members(self.true)
        first, second = (np.asarray((said == own).all(axis=1)) for _, said in self.answers)
        return first, second

    def metrics(self) -> tuple[Metrics, Metrics, Intervals]:
        """Return the metrics of both on these songs, and the differences, the other minus the reference."""
        (shares, said), (other_shares, other_said) = self.answers
        values = song_metrics(self.task, self.true, shares, said)
        others = song_metrics(self.task, self.true, other_shares, other_said)
        if set(self.reference.facts.classes) != set(self.other.facts.classes) and not self.task.several:
            for own in (values, others):
                own.update(dict.fromkeys(OF_PROBABILITIES))
        pair = (other_said, said)
        return values, others, paired_intervals(self.task, self.true, other_shares, shares, self.units, pair)

    def exact_test(self) -> tuple[str, str, int, int, float]:
        """Return the name of a test, what it counts, how many speak for the other run, how many against it, and p.

        Where every song is alone, it is McNemar's exact test: of the songs that only one of the two has right, under
        the hypothesis that both are equally often right, the smaller count is binomial with probability 1/2:
        ``min(1, 2 P(X <= min(b, c)))``, X ~ B(b + c, 1/2). Q. McNemar, "Note on the sampling error of the difference
        between correlated proportions or percentages", Psychometrika 12, 1947.

        It takes songs for independent, so where copies or groups hang together, each group has one vote, for the run
        that has more of its songs right: the sign test, by the same formula. W. Dixon and A. Mood, "The statistical
        sign test", Journal of the American Statistical Association 41, 1946.
        """
        from scipy.special import bdtr

        first, second = self.right
        votes = np.sign(np.bincount(self.units, second.astype(np.float64) - first.astype(np.float64)))
        gained, lost = int((votes > 0).sum()), int((votes < 0).sum())
        n = gained + lost
        alone = len(np.unique(self.units)) == len(self.units)
        name, what = ("McNemar's exact test", "songs") if alone else ("sign test of groups", "groups")
        return name, what, gained, lost, min(1.0, 2 * float(bdtr(min(gained, lost), n, 0.5))) if n else 1.0

    def class_gains(self) -> list[tuple[str, int, float, float, list[float] | None]]:
        """Return for each class with songs: name, songs, recall of the reference and of the other, and the interval.

        It is the adjusted Wald interval of a difference of paired shares: D. Bonett and R. Price, "Adjusted Wald
        confidence interval for a difference of binomial proportions based on paired data", Journal of Educational and
        Behavioral Statistics 37, 2012. None if songs come in groups, which the formula does not know.
        """
        own = self.task.members(self.true)
        (_, said), (_, other_said) = self.answers
        alone, found = len(np.unique(self.units)) == len(self.units), []
        for number, name in enumerate(self.task.classes):
            of_class = own[:, number]
            n = int(of_class.sum())
            if n:
                first, second = said[of_class, number], other_said[of_class, number]
                ends = bonett_price(int((second & ~first).sum()), int((first & ~second).sum()), n) if alone else None
                found.append((name, n, float(first.mean()), float(second.mean()), ends))
        return found

    def flips(self) -> pa.Table:
        """Return the songs of which the two say different things: song_id, label, both answers, and the change."""
        (_, said), (_, other_said) = self.answers
        first, second = self.right
        rows = np.flatnonzero((said != other_said).any(axis=1))
        change = np.where(
            second[rows] & ~first[rows], "gained", np.where(first[rows] & ~second[rows], "lost", "neither")
        )
        kind, taken = self.task.label_type, rows.tolist()
        return pa.table(
            {
                "run": pa.array([self.other.name] * len(taken), pa.string()),
                "song_id": pa.array([self.song_ids[row] for row in taken], pa.string()),
                "label": pa.array([self.labels[row] for row in taken], kind),
                "reference": self.task.labels(said[rows]).cast(kind) if taken else pa.array([], kind),
                "other": self.task.labels(other_said[rows]).cast(kind) if taken else pa.array([], kind),
                "change": pa.array(change.tolist(), pa.string()),
            }
        )


def bonett_price(gained: int, lost: int, n: int) -> list[float]:
    """Return the 95 % interval of ``(gained - lost) / n`` of n pairs; see `Pair.class_gains`."""
    first, second = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    reach = _Z * np.sqrt((first + second - (first - second) ** 2) / (n + 2))
    ends: list[float] = np.clip([first - second - reach, first - second + reach], -1.0, 1.0).tolist()
    return ends


def _classes_to_judge(reference: Judged, other: Judged, notes: list[str]) -> list[str]:
    """Return the classes that count: of songs with several, those that both learned; say in the notes which are not."""
    every = list(dict.fromkeys([*reference.facts.classes, *other.facts.classes]))
    if not reference.several:
        return every
    common = [name for name in every if name in reference.facts.classes and name in other.facts.classes]
    alone = [name for name in every if name not in common]
    if not common:
        what = f"no class was learned by both: {reference.name} and {other.name} have none of {some(every)} in common"
        raise UsageError(what, place="compare", remedy=" ".join(notes))
    if alone:
        what = counted(len(common), "class that both learned counts", "classes that both learned count")
        notes.append(f"Only the {what}; one of the two does not know {some(alone)}.")
    return common


def _classes(run: Judged, song: str) -> tuple[str, ...]:
    return classes_of(run.labels[run.rows[song]])


def _refuse_others(reference: Judged, other: Judged) -> None:
    one, two = reference.facts, other.facts
    if one.label != two.label:
        what = f"{reference.name} learned {one.label!r} and {other.name} {two.label!r}"
        raise UsageError(what, place="compare", remedy="Compare runs of one label.")
    if reference.several != other.several:
        what = f"{reference.name} is {one.task} and {other.name} {two.task}"
        raise UsageError(what, place="compare", remedy="Compare runs of one task.")


def _trained_notes(reference: Judged, other: Judged) -> list[str]:
    notes = []
    for tested, learned in ((reference, other), (other, reference)):
        if n := len(tested.rows.keys() & learned.learned):
            is_out, it = ("is", "it") if n == 1 else ("are", "them")
            what = f"{counted(n, 'song')} that {tested.name} {_DID[tested.part]} {is_out} left out"
            more = f" or validated with {it}" if learned.part == "test" else ""
            notes.append(f"{what}: {learned.name} trained on {it}{more}.")
    if reference.facts.store_uuid != other.facts.store_uuid:
        notes.append(f"{reference.name} and {other.name} are of different stores: songs are matched by song_id.")
    return notes


def _not_inherited(reference: Judged, other: Judged, both: list[str], notes: list[str]) -> list[str]:
    """Return the songs that no run before one of the two has learned; say in the notes how many are left out."""
    stores, left_out = {reference.facts.store_uuid, other.facts.store_uuid}, set[str]()
    for run in (reference, other):
        learned, heard = (
            {song for song in both if any((uuid, song) in known for uuid in stores)}
            for known in (run.inherited.learned, run.inherited.heard)
        )
        if learned:
            it = "it" if len(learned) == 1 else "them"
            what = f"{counted(len(learned), 'song that both tested is', 'songs that both tested are')} left out"
            notes.append(f"{what}: a run that {run.name} was started from trained on {it}, or on a copy.")
        if heard:
            what = counted(len(heard), "song that is compared was", "songs that are compared were")
            notes.append(f"{what} learned from without labels by a run that {run.name} was started from.")
        left_out |= learned
    return [song for song in both if song not in left_out]


def _common_labels(
    reference: Judged, other: Judged, both: list[str], notes: list[str]
) -> tuple[dict[str, Label], set[str]]:
    """Return the label of each song, and the songs that cannot be compared; say why in the notes."""
    one_store = reference.facts.store_uuid == other.facts.store_uuid
    later = other if other.facts.snapshot >= reference.facts.snapshot else reference
    common = set(reference.facts.classes) & set(other.facts.classes)
    labels: dict[str, Label] = {}
    differing = {song for song in both if set(_classes(reference, song)) != set(_classes(other, song))}
    strange = set()
    for song in both:
        own = _classes(later, song)
        if reference.several:
            labels[song] = tuple(name for name in own if name in common)
        else:
            labels[song] = own[0]
            strange |= {song} if own[0] not in common else set()
    if differing and one_store:
        notes.append(
            f"{counted(len(differing), 'song')} relabelled: judged by the labels of snapshot {later.facts.snapshot}."
        )
    elif differing:
        notes.append(f"{counted(len(differing), 'song')} left out: the two stores give different labels.")
    if strange:
        notes.append(f"{counted(len(strange), 'song')} left out: of a class that one of the two has not learned.")
    return labels, strange | (set() if one_store else differing)


def _units(reference: Judged, other: Judged, songs: list[str]) -> tuple[Ints, list[str]]:
    """Return the unit of each song: what a split of either run keeps together, copies and groups, is drawn together."""
    found, notes = [], list[str]()
    for run in (reference, other):
        units, note = _units_of(run, songs)
        found.append(pa.chunked_array([pa.array(units)]))
        notes += [note] if note else []
    return find_units(_plain(songs), (), found), notes


def _plain(songs: list[str]) -> pa.Table:
    return pa.table({"song_id": pa.array(songs, pa.string()), CONTENT: pa.nulls(len(songs), pa.string())})


def _units_of(run: Judged, songs: list[str]) -> tuple[Ints, str]:
    """Return the units of one run, and what is missing of them."""
    split, facts = run.split, run.facts
    row_of = {song: row for row, song in enumerate(split.song_ids)}
    rows = pa.array([row_of[song] for song in songs], pa.int64())
    copies = [column.take(rows) for column in split.copies().values()]
    if not split.group:
        return find_units(_plain(songs), (), copies), ""
    try:
        store = SongStore.open(Location(facts.store_location, snapshot=facts.snapshot))
        table = store.songs(ids=songs, columns=["song_id", CONTENT, *split.group], arrow=True)
        return find_units(table, split.group, copies), ""
    except SongbagError as error:
        what = error.what
    return find_units(_plain(songs), (), copies), (
        f"Songs of one {' or '.join(split.group)} count as independent, and intervals are too narrow: the store of "
        f"{run.name} cannot be read ({what.rstrip('.')})."
    )
