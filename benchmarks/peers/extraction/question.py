"""From audio files to features on disk: how fast, with a broken file among them, and after a kill in the middle.

The songs are half a minute of 44.1 kHz stereo as WAV, which all of them read. The start of a program's workers is part
of its time. Lhotse and pyAudioAnalysis compute features of other kinds. After a kill in the middle, the same is called
again: the rest takes the share shown of a whole run, and the songs are counted whose features are there in the end.
"""

from __future__ import annotations

import os
import shutil
import threading
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measuring import music, write_song
from benchmarks.peers.contest import Contest, Setting, Values, contest
from benchmarks.peers.contestants import CannotRun, Contestant, Peer
from benchmarks.peers.results import Column, Table

TITLE = "Extraction: files to features on disk"

PEERS = (
    Peer(name="songbag extract", place="extraction.songbag:Songbag"),
    Peer(
        name="the first recipe",
        place="extraction.recipe:Recipe",
        group="audio",
        package="librosa",
        note="librosa.load, MFCC a window, np.save; one process",
    ),
    Peer(
        name="Dask bag of the recipe",
        place="extraction.recipe:DaskBag",
        group="audio",
        package="dask",
        note="a process a core",
    ),
    Peer(
        name="Lhotse",
        place="extraction.lhotse:Lhotse",
        group="torch",
        package="lhotse",
        note="compute_and_store_features, a process a core, Kaldi's MFCC",
    ),
    Peer(
        name="pyAudioAnalysis",
        place="extraction.py_audio_analysis:PyAudioAnalysis",
        group="audio",
        package="pyAudioAnalysis",
        note="68 short-term features; one process; a tenth of the songs",
    ),
)

SIZES = {"full": (200, 3), "quick": (10, 1), "tiny": (10, 1)}
"""Songs and rounds."""

_DIFFERENT = 4
_SONG_S = 30
_FEWER = {"pyAudioAnalysis": 10}

COLUMNS = (
    Column("songs_per_s", "songs/s", "rate", more_is_better=True),
    Column("ratio", "songbag is", "ratio"),
    Column("memory_bytes", "memory, all processes", "bytes"),
    Column("bytes", "bytes a song", "bytes"),
    Column("broken", "with one broken file", "text"),
    Column("killed", "after a kill in the middle", "text"),
)


def run(setting: Setting) -> tuple[list[Table], dict[str, str]]:
    """Measure one table."""
    n_songs, rounds = SIZES[setting.scale]
    about = f"{n_songs} songs of {_SONG_S} s, all cores where the contestant uses them."
    table = Table(title=f"{n_songs} songs", about=about, columns=COLUMNS)
    setting.say("making the songs")
    folders = {peer.name: _songs(setting.folder, n_songs // _FEWER.get(peer.name, 1)) for peer in setting.peers}
    with contest(table, setting.peers, setting.folder) as found:
        for number in range(rounds):
            setting.say(f"round {number + 1} of {rounds}")
            found.each(partial(_turn, found, folders))
        setting.say("a broken file among them")
        found.each(partial(_with_a_broken_file, found, folders))
        setting.say("killed in the middle, and again")
        found.each(partial(_killed, found, folders))
        return [table], found.fill()


def _songs(folder: Path, n_songs: int) -> Path:
    """Make the songs: a few, under many names."""
    made, place = folder / "different", folder / f"songs-{n_songs}"
    if not made.exists():
        made.mkdir()
        for number in range(_DIFFERENT):
            write_song(made / f"{number}.wav", music(_SONG_S, 44100, 2, number), 44100, ("WAV", "PCM_16"))
    if not place.exists():
        place.mkdir()
        for number in range(n_songs):
            os.link(made / f"{number % _DIFFERENT}.wav", place / f"{number:04}.wav")
    return place


def _out(found: Contest, peer: Peer) -> Path:
    out = found.folder(peer) / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    return out


def _turn(found: Contest, folders: dict[str, Path], peer: Peer, contestant: Contestant, values: Values) -> None:
    out, n_songs = _out(found, peer), len(list(folders[peer.name].iterdir()))
    answer = contestant.ask("extract", str(folders[peer.name]), str(out))
    stored = contestant.ask("stored", str(out)).value
    if stored != n_songs:
        raise CannotRun(f"{stored} of {n_songs} songs stored")
    values.setdefault("songs_per_s", []).append(n_songs / answer.wall_s)
    values["seconds"] = answer.wall_s
    values["bytes"] = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / n_songs


def _with_a_broken_file(
    found: Contest, folders: dict[str, Path], peer: Peer, contestant: Contestant, values: Values
) -> None:
    """Break every hundredth file, at least one, and measure the memory on the way."""
    out, place = _out(found, peer), found.folder(peer) / "broken"
    shutil.copytree(folders[peer.name], place, copy_function=os.link)
    paths = sorted(place.iterdir())
    broken = paths[len(paths) // 2 :: 100]
    for path in broken:
        path.unlink()
        path.write_bytes(b"no audio" * 1000)
    told = []
    try:
        values["memory_bytes"] = contestant.peak_bytes("extract", str(place), str(out))
    except CannotRun as error:
        values["memory_bytes"] = contestant.peak
        told = [f"stops: {str(error).split(':')[0]}"]
    stored = _stored(contestant, out)
    values["broken"] = ", ".join([f"{stored} of {len(paths) - len(broken)} others stored", *told])


def _killed(found: Contest, folders: dict[str, Path], peer: Peer, contestant: Contestant, values: Values) -> None:
    whole_s = values.pop("seconds")
    out, songs = _out(found, peer), str(folders[peer.name])
    timer = threading.Timer(whole_s / 2, contestant.kill)
    timer.start()
    try:
        contestant.ask("extract", songs, str(out))
    except CannotRun:
        pass
    finally:
        timer.cancel()
    again = found.start(peer)
    answer: Any = again.ask("extract", songs, str(out))
    stored, n_songs = _stored(again, out), len(list(folders[peer.name].iterdir()))
    values["killed"] = f"the rest takes {answer.wall_s / whole_s:.2f} of a whole run; {stored} of {n_songs} stored"


def _stored(contestant: Contestant, out: Path) -> int:
    try:
        return int(contestant.ask("stored", str(out)).value)
    except CannotRun:
        return 0
