"""How long the MFCC of a song take: one minute at 22.05 kHz, 23 windows of 5 s, 13 coefficients, on one core.

Every library is set as near to the reference recipe (librosa, a window at a time) as it can be. The difference from it
is the largest of all values, in dB; the correlation is that of the worst coefficient over all frames.
"""

from __future__ import annotations

import numpy as np

from benchmarks.measuring import music
from benchmarks.peers.contest import Setting, Values, contest
from benchmarks.peers.contestants import Contestant, Peer
from benchmarks.peers.results import Column, Table

TITLE = "Features: the MFCC of a song's windows"

PEERS = (
    Peer(name="songbag", place="features.songbag:Songbag"),
    Peer(name="librosa, per window", place="features.librosa:PerWindow", package="librosa", note="the reference"),
    Peer(name="librosa, batched", place="features.librosa:Batched", package="librosa"),
    Peer(
        name="Lhotse, batched",
        place="features.lhotse:Lhotse",
        group="torch",
        package="lhotse",
        note="another mel scale and liftering",
    ),
    Peer(name="torchaudio, batched", place="features.torch_audio:TorchAudio", group="torch", package="torchaudio"),
    Peer(name="kaldi-native-fbank", place="features.kaldi:Kaldi", group="torch", package="kaldi-native-fbank"),
    Peer(
        name="audioflux",
        place="features.audio_flux:AudioFlux",
        group="audio",
        package="audioflux",
        note="another mel scale",
    ),
    Peer(name="Essentia", place="features.essentia:Essentia", group="audio", package="essentia"),
)

SIZES = {"full": (60, 15), "quick": (60, 5), "tiny": (10, 1)}
"""Seconds of the song, and rounds."""

COLUMNS = (
    Column("wall_ms", "ms a song", "number"),
    Column("ratio", "songbag is", "ratio"),
    Column("processor_ms", "processor, ms", "number"),
    Column("difference", "largest difference, dB", "number"),
    Column("correlation", "least correlation", "number"),
)


def run(setting: Setting) -> tuple[list[Table], dict[str, str]]:
    """Measure one table."""
    duration_s, rounds = SIZES[setting.scale]
    data = setting.folder / "data"
    data.mkdir()
    np.save(data / "samples.npy", np.ascontiguousarray(music(duration_s, 22050, 1)[:, 0]))
    table = Table(title=f"A song of {duration_s} s", about="All on one core, one thread.", columns=COLUMNS)
    reference = next(peer for peer in PEERS if peer.note == "the reference")
    with contest(table, [reference], setting.folder, data=str(data)) as made:
        made.each(lambda peer, contestant, values: contestant.ask("write_reference"))
    with contest(table, setting.peers, setting.folder, one_core=True, data=str(data)) as found:
        found.each(_compared)
        for number in range(rounds):
            setting.say(f"round {number + 1} of {rounds}")
            found.each(_turn)
        return [table], found.fill()


def _compared(peer: Peer, contestant: Contestant, values: Values) -> None:
    values |= contestant.ask("compare").value


def _turn(peer: Peer, contestant: Contestant, values: Values) -> None:
    answer = contestant.ask("compute")
    values.setdefault("wall_ms", []).append(1000 * answer.wall_s)
    values.setdefault("processor_ms", []).append(1000 * answer.processor_s)
