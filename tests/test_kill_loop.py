"""``kill -9`` of one, two and three writers at random moments, on a local folder and on S3.

And in the object store that SONGBAG_TEST_STORE_URL names, with its credentials in the environment.
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from songbag_store import SongStore
from songbag_store.storage.location import Location
from songbag_store.writer import open_for_writing
from tests.support import objects
from tests.support.long import LONG
from tests.support.patience import PATIENCE_S
from tests.support.songs import SPEC, windows_of
from tests.support.writers import begin, hold, start

ROOT = Path(__file__).parents[1]
N_ROUNDS = 200 if LONG else 3
SONGS_PER_ROUND = 30


ELSEWHERE = pytest.param(
    "elsewhere",
    marks=pytest.mark.skipif(
        "SONGBAG_TEST_STORE_URL" not in os.environ, reason="SONGBAG_TEST_STORE_URL names no bucket"
    ),
)


@pytest.fixture(params=["folder", "s3", ELSEWHERE])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, str]]:
    if request.param == "folder":
        return str(tmp_path / "store"), {}
    if request.param == "elsewhere":
        return f"{os.environ['SONGBAG_TEST_STORE_URL'].rstrip('/')}/{uuid.uuid4().hex}", {}
    endpoint = request.getfixturevalue("s3_endpoint")
    return request.getfixturevalue("s3_url"), objects.options(endpoint)


def round_of(number: int, place: tuple[str, dict[str, str]], chance: random.Random) -> list[subprocess.Popen[str]]:
    """Start one, two or three writers, with more songs to do in every round."""
    n_songs = (number + 1) * SONGS_PER_ROUND
    return [start(place, chance.randrange(2**32), n_songs) for _ in range(1 + number % 3)]


def kill_at_random(writers: list[subprocess.Popen[str]], chance: random.Random) -> set[str]:
    """Let writers run for a while, kill them one after the other; return the songs that were acknowledged."""
    for writer in writers:
        begin(writer)
    said = ""
    for place, writer in enumerate(writers):
        # On a busy machine no writer may come to say anything; the first is waited for.
        said += "".join(lines(writer, chance.choice([0, 0, 1, 5, 10] if place else [1, 5, 10])))
        time.sleep(chance.uniform(0, 0.3))
        writer.kill()
        # A line that was cut off by the kill acknowledges nothing.
        said += writer.communicate()[0].rpartition("\n")[0] + "\n"
    return set(said.split())


def lines(writer: subprocess.Popen[str], most: int) -> list[str]:
    """Wait for some lines; fewer come where the writer ends."""
    assert writer.stdout is not None
    return [writer.stdout.readline() for _ in range(most)]


class Onlooker(threading.Thread):
    """Reads the store all the time: through the snapshot it began with, and through whatever is newest."""

    def __init__(self, store: SongStore) -> None:
        super().__init__(daemon=True)
        self.first = store
        self.error: BaseException | None = None
        self.n_looks = 0
        self._stop_looking = threading.Event()
        self._before = dict(store.iter_windows())

    def run(self) -> None:
        chance = random.Random(0)
        known: set[str] = set()
        try:
            while not self._stop_looking.is_set():
                newest = self.first.at()
                ids = newest.index(arrow=True)["song_id"].to_pylist()
                assert len(ids) == len(set(ids))
                assert known <= set(ids)
                known = set(ids)
                for song in chance.sample(ids, min(3, len(ids))):
                    np.testing.assert_array_equal(newest.windows(song), windows_of(song))
                for song, windows in self._before.items():
                    np.testing.assert_array_equal(self.first.windows(song), windows)
                self.n_looks += 1
                self._stop_looking.wait(0.05)
        except BaseException as error:
            self.error = error

    def finish(self) -> None:
        self._stop_looking.set()
        self.join()
        if self.error is not None:
            raise self.error


@pytest.mark.long
@pytest.mark.fault(40)
def test_writers_killed_at_random_lose_no_acknowledged_song_and_show_no_tear(
    place: tuple[str, dict[str, str]],
) -> None:
    seed = int(os.environ.get("SONGBAG_SEED") or random.SystemRandom().randrange(2**32))
    print(f"kill loop of {N_ROUNDS} rounds in {place[0]}: SONGBAG_SEED={seed}")
    chance = random.Random(seed)
    store = open_for_writing(Location(str(place[0]), place[1]), SPEC)
    acknowledged: set[str] = set()
    onlooker = Onlooker(store)
    onlooker.start()
    coming = round_of(0, place, chance)
    for number in range(N_ROUNDS):
        # Those of the next round load Python meanwhile.
        writers, coming = coming, round_of(number + 1, place, chance)
        fresh = kill_at_random(writers, chance)
        acknowledged |= fresh
        hold(store.at(), acknowledged, fresh)
    for writer in coming:
        begin(writer)
    for writer in coming:
        _, err = writer.communicate(timeout=PATIENCE_S)
        assert writer.returncode == 0, err
    onlooker.finish()
    everything = {f"song-{n:04}" for n in range((N_ROUNDS + 1) * SONGS_PER_ROUND)}
    hold(store.at(), everything, everything)
    assert acknowledged
    assert onlooker.n_looks > 0
