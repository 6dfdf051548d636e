"""The commit protocol, driven through thousands of schedules of faults; the model is a dict from song to fragment."""

from __future__ import annotations

import dataclasses
import hashlib
import uuid
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.identity import create_identity
from songbag_store.commits.parts import adopt_part, part_names, write_part
from songbag_store.commits.snapshots import Snapshot, make_snapshot_durable, read_snapshot, snapshot_numbers
from songbag_store.errors import StoreError
from songbag_store.format.index import REPLACES, index_schema
from songbag_store.format.keys import snapshot_key
from songbag_store.format.sealed import Sealed, check_seal
from songbag_store.store import open_in
from songbag_store.writer import commit_parts
from tests.support.long import LONG
from tests.support.lossy_storage import FAULTS, Crash, Fault, LossyStorage

N_SCHEDULES = 20_000 if LONG else 60
SPEC = FeatureSpec()

writers = st.integers(0, 2)
songs = st.sets(st.integers(0, 5), min_size=1, max_size=3)
faults = st.lists(st.sampled_from(FAULTS), max_size=3)

Batch = dict[str, str | None]
"""What a batch is to compute: song to the fragment whose row it replaces, None for a new song."""


@dataclasses.dataclass
class Writer:
    """A process that adds to the store; `pending` is what it knows to be finished and has not committed."""

    store: SongStore
    pending: dict[str, pa.Table] = dataclasses.field(default_factory=dict)


class Protocol(RuleBasedStateMachine):
    """Writers plan, finish, commit, crash and adopt in any order, on a storage that fails in any way it can."""

    plans = Bundle("plans")

    @initialize()
    def make_store(self) -> None:
        self.storage = LossyStorage()
        self.storage.overtake = self.somebody_else_commits
        create_identity(self.storage, SPEC)
        self.uuid = open_in(self.storage).uuid
        self.writers: dict[int, Writer] = {}
        self.busy: Writer | None = None
        self.batches: dict[str, Batch] = {}
        self.attempts: list[list[str]] = []
        self.acknowledged: dict[int, str] = {0: ""}
        self.acknowledged_songs: set[str] = set()
        self.seen: dict[int, bytes] = {}
        self.states: dict[int, dict[str, str]] = {0: {}}
        self.parts: dict[int, frozenset[str]] = {0: frozenset()}
        self.collecting = False

    def writer(self, number: int) -> Writer:
        """Return a writer that is running, or start it: it reads the newest snapshot."""
        if number not in self.writers:
            self.writers[number] = Writer(open_in(self.storage))
        return self.writers[number]

    @rule(target=plans, number=writers, songs=songs)
    def plan(self, number: int, songs: set[int]) -> Batch:
        index = self.writer(number).store.index(arrow=True)
        present = dict(zip(index["song_id"].to_pylist(), index["fragment"].to_pylist(), strict=True))
        return {f"song {one}": present.get(f"song {one}") for one in sorted(songs)}

    @rule(number=writers, batch=plans, faults=faults)
    def finish_batch(self, number: int, batch: Batch, faults: list[Fault]) -> None:
        """Do a batch; a plan may be old by now, or done for the second time: then this is a zombie."""
        writer, fragment = self.writer(number), uuid.uuid4().hex
        self.batches[fragment] = batch
        array = self.storage.new_array(f"features.zarr/{fragment}")
        array.put("c/0/0/0", fragment.encode())
        rows = part_rows(fragment, batch)
        with self.under(faults, number):
            write_part(self.storage, self.uuid, SPEC, fragment, rows, array.finish())
            writer.pending[fragment] = rows

    @rule(number=writers, batch=plans)
    def die_before_the_part(self, number: int, batch: Batch) -> None:
        self.storage.new_array(f"features.zarr/{uuid.uuid4().hex}").put("c/0/0/0", b"never finished")
        self.writers.pop(number, None)

    @rule(number=writers, faults=faults)
    def commit(self, number: int, faults: list[Fault]) -> None:
        writer = self.writer(number)
        with self.under(faults, number):
            self.commit_pending(writer)

    @rule(first=plans, second=plans, rounds=st.integers(1, 2), faults=faults)
    def race(self, first: Batch, second: Batch, rounds: int, faults: list[Fault]) -> None:
        """Have one writer commit between another's reading of the newest snapshot and its request."""
        self.finish_batch(0, first, [])
        for _ in range(rounds):
            self.finish_batch(1, second, [])
        self.commit(0, ["overtaken", *faults])

    @rule(faults=faults)
    def race_beside_gc(self, faults: list[Fault]) -> None:
        """As `race`, but the other commits twice, and gc deletes all snapshots but the last."""
        for number in (0, 1, 1):
            self.finish_batch(number, {f"song {len(self.batches) + 10}": None}, [])
        self.collecting = True
        self.commit(0, ["overtaken", *faults])
        self.collecting = False

    @rule()
    def collect(self) -> None:
        """Delete all snapshots but the last, as gc may when a run has ended."""
        self.snapshots_never_change_and_are_what_the_model_says()
        *before, newest = snapshot_numbers(self.storage) or [0]
        make_snapshot_durable(self.storage, newest)
        for number in before:
            self.storage.delete(snapshot_key(number))
            del self.seen[number]
            self.acknowledged.pop(number, None)

    @rule(number=writers, faults=faults)
    def restart_and_adopt(self, number: int, faults: list[Fault]) -> None:
        """Begin as a new run does: take in the complete parts that no snapshot names."""
        self.writers.pop(number, None)
        writer = self.writer(number)
        for name in sorted(part_names(self.storage) - writer.store.inside.state.parts):
            writer.pending[name] = adopt_part(self.storage, self.uuid, SPEC, name)
        with self.under(faults, number):
            self.commit_pending(writer)

    @rule(number=writers)
    def crash(self, number: int) -> None:
        self.writers.pop(number, None)

    @rule()
    def lose_power(self) -> None:
        self.writers.clear()
        self.storage.lose_power()
        newest = max(snapshot_numbers(self.storage), default=0)
        lost = {n for n in self.seen if n > newest}
        assert not lost & self.acknowledged.keys()
        for number in lost:
            del self.seen[number], self.states[number], self.parts[number]
        assert self.parts[newest] <= part_names(self.storage)

    def commit_pending(self, writer: Writer, names: list[str] | None = None) -> None:
        names = list(writer.pending) if names is None else names
        self.attempts.append(names)
        before, self.busy = self.busy, writer
        try:
            writer.store = commit_parts(writer.store, {name: writer.pending[name] for name in names})
        finally:
            self.busy = before
        for name in names:
            del writer.pending[name]
        if snapshot_key(writer.store.snapshot) in self.storage.visible:  # or gc has deleted it since
            self.acknowledged[writer.store.snapshot] = writer.store.inside.state.sha256
        self.acknowledged_songs |= {song for name in names for song in self.batches[name]}

    def somebody_else_commits(self) -> None:
        """Let another writer win the race, its own request being spared."""
        waiting, self.storage.faults = self.storage.faults, []
        for other in self.writers.values():
            if other is not self.busy and other.pending:
                for names in [[name] for name in other.pending] if self.collecting else [list(other.pending)]:
                    self.commit_pending(other, names)
                break
        if self.collecting:
            self.collect()
        self.storage.faults = waiting

    def under(self, faults: list[Fault], number: int) -> Faults:
        return Faults(self, faults, number)

    @invariant()
    def snapshots_never_change_and_are_what_the_model_says(self) -> None:
        if not hasattr(self, "seen"):
            return
        for number in snapshot_numbers(self.storage):
            data = self.storage.visible[snapshot_key(number)]
            if self.seen.setdefault(number, data) is data and number not in self.states:
                self.check(read_snapshot(self.storage, self.uuid, number))
            assert self.seen[number] == data
        assert all(check_seal(self.seen[n]) == digest for n, digest in self.acknowledged.items() if n)
        newest = self.states[max(self.states)]
        assert self.acknowledged_songs <= newest.keys()

    def check(self, snapshot: Snapshot) -> None:
        """Hold a new snapshot against the model, and everything it names against what lies there."""
        index, number = snapshot.index, snapshot.number
        found = dict(zip(index["song_id"].to_pylist(), index["fragment"].to_pylist(), strict=True))
        assert index.num_rows == len(found), "a song stands twice"
        before = self.parts[number - 1]
        fresh = snapshot.parts - before
        orders = [[name for name in names if name not in before] for names in self.attempts]
        expected = [self.replay(number - 1, order) for order in orders if set(order) == fresh]
        assert found in expected
        for fragment in set(found.values()):
            facts = Sealed(self.storage.visible[f"parts/{fragment}.parquet"], key="", place="").facts
            for key, one in facts["objects"].items():
                assert hashlib.sha256(self.storage.synced[key]).hexdigest() == one["sha256"]
        self.states[number], self.parts[number] = found, snapshot.parts

    def replay(self, number: int, order: list[str]) -> dict[str, str]:
        state = dict(self.states[number])
        for fragment in order:
            for song, replaces in self.batches[fragment].items():
                if state.get(song) == replaces:
                    state[song] = fragment
        return state


class Faults:
    """While in use the storage has some faults in store; a writer that dies of one is gone."""

    def __init__(self, machine: Protocol, faults: list[Fault], number: int) -> None:
        self.machine, self.faults, self.number = machine, faults, number

    def __enter__(self) -> None:
        self.machine.storage.faults = list(self.faults)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> bool:
        self.machine.storage.faults = []
        if isinstance(error, Crash):
            self.machine.writers.pop(self.number, None)
        return isinstance(error, Crash | StoreError)


def part_rows(fragment: str, batch: Batch) -> pa.Table:
    rows = [
        {"song_id": song, "status": "ok", "fragment": fragment, "row_start": row, "n_windows": 1, "run_id": "test"}
        for row, song in enumerate(batch)
    ]
    table = pa.Table.from_pylist(rows, schema=index_schema([]))
    return table.append_column(REPLACES, pa.array(list(batch.values()), pa.string()))


@pytest.mark.long
@pytest.mark.fault(43, 48, 49, 51, 52)
def test_no_schedule_of_faults_loses_doubles_or_changes_what_was_committed() -> None:
    how = settings(
        max_examples=N_SCHEDULES,
        stateful_step_count=14,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    # The pauses between attempts are for other processes; here there are none.
    with patch("time.sleep"):
        run_state_machine_as_test(Protocol, settings=how)
