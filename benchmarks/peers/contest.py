"""The contestants of one table: they start, take turns, and leave with a reason when they cannot go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers.contestants import CannotRun, Contestant, Peer
from benchmarks.peers.results import Table

Say = Callable[[str], None]
"""Told what happens, a line at a time."""

Values = dict[str, Any]
"""A contestant's row in the making: a list is the values of the rounds."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a question is asked with."""

    scale: str
    peers: Sequence[Peer]
    """songbag first."""

    folder: Path
    """An empty folder for its files."""

    say: Say
    esc10: Path | None = None
    """A folder of ESC-10's songs, where there is one."""


class Contest:
    """Contestants by name, what they did, and why some are not in it."""

    def __init__(self, table: Table, peers: Sequence[Peer], folder: Path, options: dict[str, Any]) -> None:
        self.values: dict[str, Values] = {peer.name: {} for peer in peers}
        self.missing: dict[str, str] = {}
        self._table, self._peers, self._folder, self._options = table, peers, folder, options
        self._running: dict[str, Contestant] = {}

    def start(self, peer: Peer) -> Contestant:
        """Start a contestant's process, or a new one in the same folder."""
        self._begin(peer)
        self._running[peer.name].wait_until_ready()
        return self._running[peer.name]

    def _begin(self, peer: Peer) -> None:
        if peer.name in self._running:
            self._running.pop(peer.name).close()
        self._running[peer.name] = Contestant(peer, self.folder(peer), **self._options)

    def _start_all(self) -> None:
        """Start those that do not run; all load their libraries at once."""
        begun = [peer for peer in self._peers if peer.name not in self._running]
        self._attempt(begun, self._begin)
        self._attempt(begun, lambda peer: self._running[peer.name].wait_until_ready())

    def _attempt(self, peers: Sequence[Peer], act: Callable[[Peer], object]) -> None:
        for peer in peers:
            if peer.name in self.missing:
                continue
            try:
                act(peer)
            except CannotRun as error:
                self.missing[peer.name] = str(error)

    def folder(self, peer: Peer) -> Path:
        """Return where a contestant keeps its files."""
        return self._folder / peer.name

    def each(self, act: Callable[[Peer, Contestant, Values], object]) -> None:
        """Do something with each in turn, first of all start it. Who fails is missing from then on."""
        self._start_all()
        self._attempt(self._peers, lambda peer: act(peer, self._running[peer.name], self.values[peer.name]))

    def close(self) -> None:
        """End all processes."""
        for contestant in self._running.values():
            contestant.close()

    def fill(self) -> dict[str, str]:
        """Put a row for each who came to the end into the table; return who did not, with the reasons."""
        own, first = self.values[self._peers[0].name], self._table.columns[0].key
        has_ratios = any(column.key == "ratio" for column in self._table.columns)
        for peer in self._peers:
            if peer.name in self.missing:
                continue
            values = self.values[peer.name]
            if has_ratios and peer is not self._peers[0] and first in own:
                values["ratio"] = self._table.ratio(own[first], values[first])
            self._table.add(peer.name, values, peer.version, peer.note)
        return {f"{name} ({self._table.title})": why for name, why in self.missing.items()}


@contextmanager
def contest(table: Table, peers: Sequence[Peer], folder: Path, **options: Any) -> Iterator[Contest]:
    """Hold a contest; its processes end with the block."""
    made = Contest(table, peers, folder, options)
    try:
        yield made
    finally:
        made.close()
