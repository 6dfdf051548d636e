"""Lhotse: its lilcom-compressed features as cuts, its own shuffling sampler, threads that load them."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from lhotse import CutSet, Features, LilcomChunkyWriter, MonoCut
from lhotse.dataset import SimpleCutSampler

from benchmarks.peers.streaming.songs import BATCH, WINDOW, WORKERS, Batch, Streaming, bag

_SHIFT_S = 0.01


class Lhotse(Streaming):
    """A row of a cut's features is a coefficient of a window: 13 rows a window."""

    def write(self) -> None:
        with LilcomChunkyWriter(self.folder / "features") as writer:
            cuts = [self._cut(writer, number) for number in range(len(self.songs))]
        CutSet.from_cuts(cuts).to_file(self.folder / "cuts.jsonl.gz")

    def begin(self, epoch: int) -> Iterator[Batch]:
        sampler = self._sampler()
        sampler.set_epoch(epoch)
        return _Cuts(sampler)

    def state(self, batches: Any) -> Any:
        # Its keys are numbers, which JSON would turn into texts.
        return base64.b64encode(pickle.dumps(batches.sampler.state_dict())).decode()

    def resume(self, state: Any) -> Iterator[Batch]:
        sampler = self._sampler()
        sampler.load_state_dict(pickle.loads(base64.b64decode(state)))  # noqa: S301 (of this very run)
        return _Cuts(sampler)

    def _sampler(self) -> Any:
        cuts = CutSet.from_file(self.folder / "cuts.jsonl.gz").to_eager()
        return SimpleCutSampler(cuts, max_cuts=BATCH, shuffle=True)

    def _cut(self, writer: Any, number: int) -> Any:
        rows = self.songs.raw_song(number).reshape(-1, WINDOW[1])
        features = Features(
            type="mfcc",
            num_frames=len(rows),
            num_features=WINDOW[1],
            frame_shift=_SHIFT_S,
            sampling_rate=22050,
            start=0,
            duration=len(rows) * _SHIFT_S,
            storage_type=writer.name,
            storage_path=str(writer.storage_path),
            storage_key=writer.write(str(number), np.array(rows)),
            recording_id=str(number),
            channels=0,
        )
        return MonoCut(id=str(number), start=0, duration=features.duration, channel=0, features=features)


class _Cuts:
    """Loads a batch with threads. A state is of the batches that were given out: none is drawn ahead."""

    def __init__(self, sampler: Any) -> None:
        self.sampler, self._drawn = sampler, iter(sampler)
        self._threads = ThreadPoolExecutor(WORKERS)

    def __iter__(self) -> _Cuts:
        return self

    def __next__(self) -> Batch:
        cuts = list(next(self._drawn))
        rng = np.random.default_rng()
        loaded = self._threads.map(lambda cut: cut.load_features(), cuts)
        return [int(cut.id) for cut in cuts], np.stack([bag(_windows(one), rng) for one in loaded])


def _windows(rows: Any) -> Any:
    """Return the windows of a cut: its length in seconds may round up to one row more."""
    return rows[: len(rows) // WINDOW[0] * WINDOW[0]].reshape(-1, *WINDOW)
