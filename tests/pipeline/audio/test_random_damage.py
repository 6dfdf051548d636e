"""Files with random damage: each is read, or fails with a reason, and none ends the process that asked."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from songbag_pipeline.errors import SongError
from songbag_pipeline.songs.direct import read_audio
from songbag_store.format.failure_codes import REMEDIES
from tests.support.audio import chirp, sparse_wav, write
from tests.support.encoders import encoded, sound_file
from tests.support.long import LONG

SEED = int(os.environ.get("SONGBAG_SEED", "20261126"))
N_ROUNDS = 4000 if LONG else 200
WRITTEN = {
    "mp3": ("libmp3lame", "mp3"),
    "adts": ("aac", "adts"),
    "m4a": ("aac", "ipod"),
    "alac": ("alac", "ipod"),
    "flac": ("flac", "flac"),
    "ogg-flac": ("flac", "ogg"),
    "opus": ("libopus", "ogg"),
    "matroska": ("libopus", "matroska"),
    "wavpack": ("wavpack", "wv"),
    "tta": ("tta", "tta"),
    "ac3": ("ac3", "ac3"),
    "mpeg-ts": ("aac", "mpegts"),
    "avi": ("libmp3lame", "avi"),
    "mov": ("pcm_s16le", "mov"),
}
ALSO = {"wav": ("WAV", "PCM_16"), "aiff": ("AIFF", "PCM_24"), "caf": ("CAF", "ALAC_16"), "vorbis": ("OGG", "VORBIS")}


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits, overwrite the header, cut the end off, take a part out, or put noise in."""
    some = bytearray(data)
    start, stop = sorted(rng.integers(0, len(some), 2).tolist())
    kind = rng.integers(5)
    if kind == 0:
        for place in rng.integers(0, len(some), rng.integers(1, 30)):
            some[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        for place in rng.integers(0, min(len(some), 400), rng.integers(1, 10)):
            some[place] = int(rng.integers(256))
    elif kind == 2:
        del some[stop:]
    elif kind == 3:
        some[start:stop] = rng.bytes(int(rng.integers(200)))
    else:
        some[start : start + 300] = rng.bytes(int(rng.integers(300)))
    return bytes(some)


@pytest.mark.fault(27, 89)
@pytest.mark.long
def test_no_damage_ends_the_process_or_is_a_fault_of_songbag(tmp_path: Path) -> None:
    samples = {n: chirp(0.5, 48000, n) for n in (1, 2, 6)}
    whole = [encoded(samples[n], 48000, *kind) for kind in WRITTEN.values() for n in samples if fits(kind[0], n)]
    whole += [sound_file(samples[n], 48000, *kind) for kind in ALSO.values() for n in samples]
    rng = np.random.default_rng(SEED)
    path, outcomes = tmp_path / "x", []
    for number in range(N_ROUNDS):
        path.write_bytes(damaged(whole[rng.integers(len(whole))], rng))
        code, what = outcome(path)
        assert code in ("ok", *REMEDIES.keys() - {"internal-error", "unreadable-file"}), (SEED, number, what)
        assert not re.search(r"Errno|<none>|-\d+\.\d s|nan", what), (SEED, number, what)
        outcomes.append(code)
    assert outcomes.count("ok") > N_ROUNDS / 3
    assert len(set(outcomes)) > 2


def outcome(path: Path) -> tuple[str, str]:
    """Code and reason of a song that cannot be read."""
    try:
        samples = read_audio(str(path))
    except SongError as error:
        return error.code, error.what
    return ("ok" if np.isfinite(samples).all() else "not finite"), ""


def fits(codec: str, channels: int) -> bool:
    return channels <= 2 or codec != "libmp3lame"


@pytest.mark.fault(89)
def test_a_decoder_that_dies_is_an_error_and_the_next_file_is_read(tmp_path: Path) -> None:
    long, song = sparse_wav(tmp_path / "long.wav", hours=0.2), write(tmp_path / "song.wav", chirp(1.0))
    read_audio(str(song))
    reader = "songbag_pipeline.songs.song:read_song"
    decoder = next(process for process in psutil.Process().children() if reader in process.cmdline())
    begun_s, done = decoder.cpu_times().user, threading.Event()

    def kill_while_it_decodes() -> None:
        while not done.wait(0.01):
            if decoder.cpu_times().user > begun_s + 0.03:
                decoder.kill()
                return

    killer = threading.Thread(target=kill_while_it_decodes)
    killer.start()
    # An earlier song may have been to blame, so the file is tried once more in a fresh process.
    samples = read_audio(str(long))
    done.set()
    killer.join()
    assert not decoder.is_running() or decoder.status() == psutil.STATUS_ZOMBIE
    assert len(samples) == 0.2 * 3600 * 22050
    assert len(read_audio(str(song))) == 22050


def test_samples_are_the_callers_own(tmp_path: Path) -> None:
    path = write(tmp_path / "song.wav", chirp(1.0))
    first = read_audio(str(path))
    first[:] = 1
    assert not np.array_equal(read_audio(str(path)), first)
