"""A real process that adds songs to a store until it is killed or all are there.

``python -m tests.support.writer_process LOCATION OPTIONS SEED N_SONGS``, the options as JSON. It does what a worker
and the
coordinator of a run do: adopts finished parts, writes fragments and parts, commits; and prints every song after the
commit that acknowledged it. It says ``loaded`` and waits for a line before it begins.
"""

from __future__ import annotations

import json
import random
import sys

from songbag_store.commits.parts import adopt_part, part_names
from songbag_store.storage.location import Location
from songbag_store.writer import commit_parts, open_for_writing
from tests.support.songs import SPEC, windows_of
from tests.support.stores import fill


def main(location: str, options: dict[str, str], seed: int, n_songs: int) -> None:
    print("loaded", flush=True)
    sys.stdin.readline()
    chance = random.Random(seed)
    store = open_for_writing(Location(location, options), SPEC)
    pending = part_names(store.inside.storage) - store.inside.state.parts
    while True:
        done = set(store.index(arrow=True)["song_id"].to_pylist())
        todo = [song for song in (f"song-{n:04}" for n in range(n_songs)) if song not in done]
        if not todo and not pending:
            return
        for _ in range(chance.randint(1, 3)):
            batch = chance.sample(todo, min(len(todo), chance.randint(1, 6)))
            if batch:
                pending.add(fill(store, {song: windows_of(song) for song in sorted(batch)}))
        parts = {name: adopt_part(store.inside.storage, store.uuid, SPEC, name) for name in sorted(pending)}
        store, pending = commit_parts(store, parts), set()
        for rows in parts.values():
            for song in rows["song_id"].to_pylist():
                print(song, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
