"""What a training waits for: an epoch from the store beside memory, a step beside PyTorch's, the second training.

Songs of 23 windows (13, 216) and ten classes, bags of 16 windows, batches of 32, Adam, on the CPU with all cores. The
second training is of one network and of new audio files: songbag takes the features from its store, the first recipe
computes them again.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import write_song
from benchmarks.peers.contest import Setting, Values, contest
from benchmarks.peers.contestants import Contestant, Peer
from benchmarks.peers.results import Column, Table
from benchmarks.peers.training.batches import STEPS

TITLE = "Training"

_PYTORCH = Peer(
    name="PyTorch", place="training.pytorch:PyTorch", group="torch", package="torch", note="channels first, from memory"
)
_CHANNELS_LAST = dataclasses.replace(
    _PYTORCH, name="PyTorch, channels last", note="from memory", options={"channels_last": True}
)
PEERS = (
    Peer(name="songbag", place="training.keras:Keras"),
    _PYTORCH,
    _CHANNELS_LAST,
    Peer(name="from memory", place="training.keras:Keras", package="tensorflow", note="songbag's network, tf.data"),
    Peer(
        name="TimeDistributed",
        place="training.keras:Keras",
        package="keras",
        note="Keras's own layers",
        options={"distributed": True},
    ),
    Peer(
        name="the first recipe",
        place="training.again:Recipe",
        package="librosa",
        note="librosa.load, MFCC a window, fit; no evaluation",
    ),
)

SIZES = {"full": (500, 3, 60), "quick": (64, 1, 4), "tiny": (64, 1, 8)}
"""Songs in the store, rounds, and audio files of the second training."""

_FILE_S = 30

_STEP = (Column("step_ms", "ms a step", "number"), Column("ratio", "songbag is", "ratio"))
_PARAMETERS = Column("parameters", "parameters", "number")
_EPOCH = (Column("epoch_s", "an epoch", "seconds"), Column("ratio", "songbag is", "ratio"))
_AGAIN = (
    Column("second_s", "the second training", "seconds"),
    Column("ratio", "songbag is", "ratio"),
    Column("first_s", "the first", "seconds"),
)
_SCORE = (
    Column("score_s", "to 0.85, decoding included", "seconds"),
    Column("best", "best accuracy in 60 epochs", "number"),
)
_SGD = "librosa's MFCC, windows of 1 s, reference network, SGD"


def run(setting: Setting) -> tuple[list[Table], dict[str, str]]:
    """Measure a step, an epoch, the reference network and the second training; with ESC-10, the time to a score."""
    from benchmarks.stores import music_windows, write_store

    n_songs, rounds, n_files = SIZES[setting.scale]
    setting.say(f"making a store of {n_songs} songs")
    data = setting.folder / "data"
    write_store(data / "store", music_windows(n_songs))
    peers = {peer.name: peer for peer in setting.peers}
    own = setting.peers[0]
    with contest(Table(title="", about="", columns=_STEP), [own], data, data=str(data)) as made:
        made.each(lambda peer, contestant, values: contestant.ask("write"))
        if made.missing:
            raise RuntimeError(made.missing[own.name])

    def chosen(*names: str) -> list[Peer]:
        return [peers[name] for name in names if name in peers]

    def compared(table: Table, some: list[Peer], act: Any, **options: Any) -> dict[str, str]:
        with contest(table, some, setting.folder / table.title, **options) as found:
            for number in range(rounds + 1):
                setting.say(f"{table.title}: round {number} of {rounds}")
                found.each(partial(act, number))
            return found.fill()

    step = Table(title="A step of the network compact", about=f"{STEPS} steps at once.", columns=(*_STEP, _PARAMETERS))
    epoch = Table(title="An epoch of the network compact", about=f"{n_songs:,} songs.", columns=_EPOCH)
    reference = Table(
        title="A step of the reference network", about="Windows folded into the batch, and not.", columns=_STEP
    )
    missing = compared(step, chosen("songbag", "PyTorch", "PyTorch, channels last"), _step, data=str(data))
    missing |= compared(
        epoch, chosen("songbag", "from memory", "PyTorch", "PyTorch, channels last"), _epoch, data=str(data)
    )
    missing |= compared(reference, chosen("songbag", "TimeDistributed"), _step, data=str(data), encoder="reference")
    files = f"{n_files} files of {_FILE_S} s, one network (`--members 1`), 5 epochs."
    again = Table(title="The second training", about=files, columns=_AGAIN)
    songs = _files(setting.folder / "songs", n_files)
    trainer = Peer(name="songbag", place="training.again:Songbag")
    some = [trainer, *chosen("the first recipe")]
    missing |= compared(again, some, _again, songs=str(songs))
    tables = [step, epoch, reference, again]
    if setting.esc10 is None:
        return tables, {**missing, "the time to 0.85 on ESC-10": "no folder of its songs was given (ESC10=FOLDER)"}
    kept = "Accuracy on a fold kept aside, three folds; songbag with its defaults on log mel bands; 60 epochs."
    score = Table(title="The time to 0.85 on ESC-10", about=kept, columns=_SCORE)
    scorers = [Peer(name="songbag", place="training.esc10:Songbag", note="defaults on log mel bands")]
    scorers += [dataclasses.replace(one, place="training.esc10:Recipe", note=_SGD) for one in some[1:]]
    with contest(score, scorers, setting.folder / "esc10", songs=str(setting.esc10)) as found:
        for fold in "123":
            setting.say(f"{score.title}: fold {fold}")
            found.each(partial(_scored, fold))
        missing |= found.fill()
    return [*tables, score], missing


def _step(number: int, peer: Peer, contestant: Contestant, values: Values) -> None:
    if number == 0:
        values["parameters"] = contestant.ask("parameters").value
    answer = contestant.ask("step")
    if number:
        values.setdefault("step_ms", []).append(1000 * answer.wall_s / STEPS)


def _epoch(number: int, peer: Peer, contestant: Contestant, values: Values) -> None:
    answer = contestant.ask("epoch_from_store" if peer.name == "songbag" else "epoch_from_memory")
    if number:
        values.setdefault("epoch_s", []).append(answer.wall_s)


def _again(number: int, peer: Peer, contestant: Contestant, values: Values) -> None:
    answer = contestant.ask("second" if number else "first")
    if number:
        values.setdefault("second_s", []).append(answer.wall_s)
    else:
        values["first_s"] = answer.wall_s


def _scored(fold: str, peer: Peer, contestant: Contestant, values: Values) -> None:
    reached = contestant.ask("reach", fold).value
    values.setdefault("best", []).append(reached["best"])
    if "seconds" in reached:
        values.setdefault("score_s", []).append(reached["seconds"])


def _files(folder: Path, n_files: int) -> Path:
    """Make audio files of two genres, each another song: copies would be kept together by a split."""
    from songbag_pipeline.demo.genres import GENRES, synthesise

    for number in range(n_files):
        genre, rng = GENRES[number % 2], np.random.default_rng(number)
        samples = synthesise(genre, duration_s=_FILE_S, sample_rate_hz=44100, channels=2, rng=rng)
        place = folder / str(number % 2) / f"{number:04}.wav"
        place.parent.mkdir(parents=True, exist_ok=True)
        # As long as the others, for the recipe stacks them.
        write_song(place, np.asarray(samples[: _FILE_S * 44100], np.float32), 44100, ("WAV", "PCM_16"))
    return folder
