"""`sweep`: many trainings of one store, the best of them by its validation songs, and that one tested.

::

    sweep.json        what is tried, on what, and which point was chosen: `SweepPlan`. The same call goes on with it
    split.parquet     the split of every point
    point-1/ ...      a run folder each, or a cross-validation each; the test songs of the best alone are judged
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.format.declaration import require_kind
from songbag_store.progress import Progress, shown_on
from songbag_store.sql.shown import Shown
from songbag_store.storage.files import claim_folder, file_digest, is_there
from songbag_store.store import StoreLike
from songbag_training.comparison.listing import runs
from songbag_training.config import TrainConfig
from songbag_training.lineage.parent import Parent, encoder_of
from songbag_training.runs.attempt import attempt
from songbag_training.runs.document import SWEEP
from songbag_training.runs.interruption import refuse_unfinished, telling
from songbag_training.runs.plan import SweepPlan, open_as_begun
from songbag_training.runs.run import RunLike
from songbag_training.search import Search
from songbag_training.splits.copies import Copies
from songbag_training.splits.deal import choose_split
from songbag_training.splits.split import Split, SplitLike
from songbag_training.sweeps.contest import Contest
from songbag_training.sweeps.points import as_search, points_of
from songbag_training.usual import NONE
from songbag_training.work import Cluster

_DEFAULTS = TrainConfig()
_HERE = Cluster()
_SPLIT = "split.parquet"
_ASKED = ("store_uuid", "snapshot", "label", "where", "split_sha256", "folds")
"""What tells one sweep from another, beside what is tried and how."""


class Dealt(TypedDict, total=False):
    """Who is in which fold or part: as for `cross_validate`."""

    folds: int | None
    fold_column: str | None
    split: SplitLike | None
    group: Sequence[str]


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Sweep(Shown):
    """The result of a sweep.

    Attributes
    ----------
    folder : pathlib.Path
        Where everything is.
    winner : pathlib.Path
        The folder of the point that was chosen, a run or a cross-validation.
    n_points, n_failed : int
        How many were tried, and how many of them failed.
    """

    folder: Path
    winner: Path
    n_points: int
    n_failed: int

    def table(self, *, arrow: bool = False) -> Any:
        """Return a row a point, see `songbag.runs`; as pandas, or as Arrow with ``arrow=True``."""
        return runs(self.folder, arrow=True) if arrow else runs(self.folder)

    def _facts(self) -> Iterator[tuple[str, object]]:
        yield "folder", self.folder
        yield "points", self.n_points
        yield "failed", self.n_failed
        yield "winner", self.winner


def sweep(
    store: StoreLike,
    label: str,
    output: str | Path,
    search: Search | Mapping[str, Any],
    config: TrainConfig = _DEFAULTS,
    *,
    where: str | None = None,
    from_run: RunLike | None = None,
    cluster: Cluster = _HERE,
    progress: Progress | None = None,
    **dealt: Unpack[Dealt],
) -> Sweep:
    """Train once for each point of a search, choose the best by its validation songs, and test that one.

    Every point has the same songs, split and snapshot. The test songs of the others are never judged. With folds, each
    point is a cross-validation: 15 % of the training songs of each fold validate, and points are compared by the mean
    over the folds; the tested fold chooses nothing.

    The same call goes on where an earlier one was stopped, at the same snapshot: what is finished is not trained again,
    and an interrupted training goes on after its last checkpoint. A point that fails is a row with its error, which the
    same call tries once more; the others go on.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    label : str
        Column of the index with the labels.
    output : str or pathlib.Path
        Folder of the sweep: new, empty, or left by the same call.
    search : Search or mapping
        What to try. A mapping of options to their values is the grid of these:
        ``{"encoder": ["compact", "reference"], "learning_rate": [1e-3, 3e-3]}``.
    config : TrainConfig
        What the points have in common. Its `monitor` is what they are compared by, its seed makes the split and draws
        points.
    folds, fold_column, split, group, where
        As for `cross_validate` and `train`: the folds or, without them, train, validation and test. A saved split may
        be of either kind.
    from_run : Run, str or pathlib.Path, optional
        A finished run with whose encoder the training of every point begins, as for `cross_validate`.
    cluster : Cluster
        Where to train, as for `cross_validate`.
    progress : Progress, optional
        As for `train`: a line a point.

    Returns
    -------
    sweep : Sweep
        ``sweep.table()`` has a row a point.

    Raises
    ------
    UsageError
        If the search is not one of options of a training, the split has no validation songs, the folder holds
        something else, or another process is at it.
    RunError
        If no point could be trained.
    LabelError, LeakError, SplitMismatch
        As for `cross_validate`.

    Examples
    --------
    >>> done = songbag.sweep("my-store", "genre", "my-sweep", {"learning_rate": [1e-3, 3e-3]})
    >>> songbag.compare(*done.table()["name"][:2])
    """
    require_kind(config, "config", TrainConfig)
    folds, fold_column, split, group = _known(**dealt)
    progress, folder, search = progress or shown_on(sys.stdout), Path(output), as_search(search)
    points = points_of(search, config)
    refuse_unfinished(folder, store)
    with telling(folder, store, progress):
        begun = SweepPlan.read(folder / SWEEP) if is_there(folder / SWEEP) else None
        opened = open_as_begun(store, begun)
        parent = None if from_run is None else Parent.open(from_run)
        saved = None if split is None else Split.read(split)
        choice = choose_split(
            opened,
            label,
            where,
            saved,
            folds=folds,
            fold_column=fold_column,
            group=group,
            seed=config.seed,
            as_folds=None if saved is not None else (folds, fold_column) != (None, None),
            copies=Copies.saved(Split.read(folder / _SPLIT)) if begun else None,
            reading=config.reading,
            progress=progress,
        )
        made = choice.split
        encoder = encoder_of(parent, config, opened, resumed=False)
        config = dataclasses.replace(config.going_on(begun and begun.config), encoder=encoder)
        points = [_suiting(point, config, opened, parent, len(made.song_ids)) for point in points]
        config = config.settled(opened.spec, len(made.song_ids), members=parent.n_members if parent else None)
        config = dataclasses.replace(config, **made.reading.to_dict())
        plan = SweepPlan(
            store_location=opened.location.absolute().address,
            store_uuid=opened.uuid,
            snapshot=opened.snapshot,
            label=label,
            where=where,
            split_sha256=made.digest,
            folds=made.names if made.is_folds else [],
            config=config,
            search=search,
            points=points,
            parent=parent.recorded if parent else None,
        )
        plan = _begin(folder, begun, plan, made)
        with attempt(folder):
            done = Contest(folder, opened.remembering(cluster.memory_bytes), plan, choice, progress).hold(cluster)
        return Sweep(folder, done.winner, done.n_points, done.n_failed)


def _known(
    folds: int | None = None,
    fold_column: str | None = None,
    split: SplitLike | None = None,
    group: Sequence[str] = (),
) -> tuple[int | None, str | None, SplitLike | None, Sequence[str]]:
    return folds, fold_column, split, group


def _suiting(
    point: dict[str, Any], config: TrainConfig, store: SongStore, parent: Parent | None, n_songs: int
) -> dict[str, Any]:
    """Return a point with the encoder that suits the windows or is that of the run to start from, where none is named.

    What is open in it, and differs with its encoder from what the points have in common, is as in a training. Options
    that do not go with the run to start from, or need one, are refused.
    """
    own = dataclasses.replace(config, **point)
    own = dataclasses.replace(own, encoder=encoder_of(parent, own, store, resumed=False))
    members = parent.n_members if parent else None
    whole, common = (one.settled(store.spec, n_songs, members=members).as_begun for one in (own, config))
    named = {name for name in NONE if name in point or getattr(whole, name) != getattr(common, name)}
    named |= {"encoder"} & point.keys()
    return point | {name: getattr(whole, name) for name in (*NONE, "encoder") if name in named}


def _begin(folder: Path, begun: SweepPlan | None, asked: SweepPlan, split: Split) -> SweepPlan:
    """Begin in a new folder; refuse to go on with another sweep than the one there."""
    if begun is None:
        if not split.is_folds and not split.counts()["validation"]:
            what, remedy = "has no validation songs, by which points are compared", "Give another split."
            raise UsageError(what, place="split", remedy=remedy)
        claim_folder(folder)
        split.write(folder / _SPLIT)
        plan = dataclasses.replace(asked, files={_SPLIT: file_digest(folder / _SPLIT)})
        plan.write(folder / SWEEP)
        return plan
    names = [name for name in _ASKED if getattr(asked, name) != getattr(begun, name)]
    # The same run may lie elsewhere now.
    before, now = ({**(plan.parent or {}), "folder": ""} for plan in (begun, asked))
    names += ["from_run"] if before != now else []
    differing = [*names, *asked.search.differences(begun.search), *asked.config.differences(begun.config)]
    if differing:
        remedy = "Give the same options to go on with that one, or choose another `output`."
        what = f"the folder holds another sweep (it differs in {', '.join(differing)})"
        raise UsageError(what, place=str(folder), remedy=remedy)
    return dataclasses.replace(begun, parent=asked.parent)
