"""Songs of four made-up genres, synthesised with numpy.

A song draws tempo, scale, chords and instruments from its genre, renders one loop for each part, and repeats the loops
while parts come and go. The genres share some instruments, so that telling them apart takes learning.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal, TypeVar

import numpy as np
from numpy.random import Generator
from scipy import fft, signal

from songbag_pipeline.types import FloatArray

T = TypeVar("T")

Instrument = Callable[[float, float, int, Generator], FloatArray]
"""Plays ``(frequency_hz, duration_s, sample_rate_hz, rng)`` as one note: float32, shape (S,), roughly in [-1, 1]."""

Note = tuple[float, float, int]
"""When in the loop it starts and how long it is held, both in seconds, and its MIDI pitch."""

STEPS_PER_BEAT = 4
CYCLE_SAMPLES = 4096  # nearest-neighbour reading of one cycle: its error lies 60 dB below the tone, under the hiss


@lru_cache(maxsize=256)
def _cycle(partials: tuple[float, ...]) -> FloatArray:
    """One period of the wave whose ``k``-th harmonic has the amplitude ``partials[k - 1]``, at unit power."""
    spectrum = np.zeros(CYCLE_SAMPLES // 2 + 1, dtype=np.complex64)
    spectrum[1 : len(partials) + 1] = -1j * np.asarray(partials)
    wave = np.asarray(fft.irfft(spectrum, n=CYCLE_SAMPLES), dtype=np.float32)
    return wave / np.float32(2 * np.sqrt(np.mean(wave**2)))


def _tone(
    frequency_hz: float,
    duration_s: float,
    sample_rate_hz: int,
    rng: Generator,
    *,
    partials: tuple[float, ...],
    attack_s: float = 0.01,
    release_s: float = 0.05,
    fade_s: float = np.inf,
    vibrato: float = 0.0,
    detune: tuple[float, ...] = (0.0,),
) -> FloatArray:
    """A periodic wave: several oscillators ``detune`` apart, a vibrato of that relative depth, a fade of 1/e per
    ``fade_s``. Partials above half the sample rate are left out."""
    time_s = np.arange(int((duration_s + release_s) * sample_rate_hz)) / sample_rate_hz
    cycle = _cycle(partials[: max(1, int(0.45 * sample_rate_hz / frequency_hz))])
    periods = frequency_hz * time_s
    if vibrato:
        wobble_hz = rng.uniform(4.5, 6.5)
        periods += vibrato * frequency_hz / (2 * np.pi * wobble_hz) * np.sin(2 * np.pi * wobble_hz * time_s)
    note = np.zeros(time_s.size, dtype=np.float32)
    for offset in detune:
        position = (periods * (1 + offset) + rng.random()) * CYCLE_SAMPLES
        note += cycle[position.astype(np.int64) & (CYCLE_SAMPLES - 1)]
    envelope = np.exp(-time_s / fade_s) * np.clip(time_s / attack_s, 0, 1)
    envelope *= np.clip((duration_s + release_s - time_s) / release_s, 0, 1)
    return note * (envelope / len(detune)).astype(np.float32)


def _pluck(
    frequency_hz: float, duration_s: float, sample_rate_hz: int, rng: Generator, *, brightness: float
) -> FloatArray:
    """A plucked string: one period of noise that goes round and loses its high partials each time (Karplus-Strong).

    The round trips are rows of one inverse FFT; reading them a little faster or slower tunes the string, whose period
    would otherwise be a whole number of samples.
    """
    n_samples = int((duration_s + 0.4) * sample_rate_hz)
    period = max(8, round(sample_rate_hz / frequency_hz))
    stretch = frequency_hz * period / sample_rate_hz
    rounds = int(n_samples * stretch) // period + 2
    harmonic = np.arange(period // 2 + 1)
    loss = 0.995 * np.abs(np.cos(np.pi * harmonic / period)) ** (2 - brightness)
    burst = fft.rfft(rng.uniform(-1, 1, period)) * np.exp(-harmonic * (1 - brightness) / 4)
    burst[0] = 0.0
    string = fft.irfft(burst * loss ** np.arange(rounds)[:, None], n=period).ravel()
    note = np.interp(np.arange(n_samples) * stretch, np.arange(string.size), string)
    note *= np.clip(np.arange(n_samples)[::-1] / (0.05 * sample_rate_hz), 0, 1)
    return np.asarray(note / np.abs(note).max(), dtype=np.float32)


def _bell(
    frequency_hz: float, duration_s: float, sample_rate_hz: int, rng: Generator, *, ratio: float, index: float
) -> FloatArray:
    """A struck bell by frequency modulation: an inharmonic ``ratio``, and an ``index`` that fades with the stroke."""
    time_s = np.arange(int((duration_s + 0.6) * sample_rate_hz), dtype=np.float32) / np.float32(sample_rate_hz)
    fade = np.exp(-time_s * np.float32(3.0 / (duration_s + 0.6)))
    angle = np.float32(2 * np.pi * frequency_hz) * time_s
    note = np.sin(angle + np.float32(index) * fade * np.sin(np.float32(ratio) * angle)) * fade
    note *= np.clip(time_s / np.float32(0.003), 0, 1) * np.clip((time_s[-1] - time_s) / np.float32(0.05), 0, 1)
    return np.asarray(note * np.float32(0.6), dtype=np.float32)


def _kick(frequency_hz: float, duration_s: float, sample_rate_hz: int, rng: Generator) -> FloatArray:
    """A drum skin: a sine that falls from three times ``frequency_hz`` to it; the written duration does not matter."""
    time_s = np.arange(int(0.3 * sample_rate_hz)) / sample_rate_hz
    angle = 2 * np.pi * frequency_hz * (time_s + 0.03 * 2 * (1 - np.exp(-time_s / 0.03)))
    return np.asarray(np.sin(angle) * np.exp(-time_s / 0.09) * np.clip((0.3 - time_s) / 0.05, 0, 1), dtype=np.float32)


def _hit(
    frequency_hz: float, duration_s: float, sample_rate_hz: int, rng: Generator, *, fade_s: float, width: float
) -> FloatArray:
    """Filtered noise that fades by 1/e in ``fade_s``: a band ``width`` octaves wide around ``frequency_hz``."""
    n_samples = int(6 * fade_s * sample_rate_hz)
    low, high = frequency_hz * 2 ** (-width / 2), min(frequency_hz * 2 ** (width / 2), 0.45 * sample_rate_hz)
    sections = signal.butter(2, (low, high), "bandpass", fs=sample_rate_hz, output="sos")
    hit = signal.sosfilt(sections, rng.standard_normal(n_samples))
    hit *= np.exp(-np.arange(n_samples) / (fade_s * sample_rate_hz))
    return np.asarray(hit / np.abs(hit).max(), dtype=np.float32)


_SAW = tuple(1 / k for k in range(1, 25))
_HOLLOW = tuple((k % 2) / k for k in range(1, 20))
_SOFT = tuple(k**-1.6 for k in range(1, 16))
_DRAWBARS = (1.0, 0.8, 0.5, 0.6, 0.0, 0.25, 0.0, 0.3)

pad: Instrument = partial(_tone, partials=_SOFT, attack_s=0.6, release_s=0.9, detune=(-0.004, 0.005))
bowed: Instrument = partial(_tone, partials=_SAW, attack_s=0.15, release_s=0.3, vibrato=0.008)
reed: Instrument = partial(_tone, partials=_HOLLOW, attack_s=0.04, release_s=0.08, vibrato=0.006)
organ: Instrument = partial(_tone, partials=_DRAWBARS, attack_s=0.01, release_s=0.05, vibrato=0.003)
saw_bass: Instrument = partial(_tone, partials=_SAW[:12], attack_s=0.005, release_s=0.04, fade_s=0.4)
round_bass: Instrument = partial(_tone, partials=(1.0, 0.3, 0.1), attack_s=0.01, release_s=0.06, fade_s=0.6)
blip: Instrument = partial(_tone, partials=_HOLLOW, attack_s=0.003, release_s=0.03, fade_s=0.12)
nylon: Instrument = partial(_pluck, brightness=0.5)
steel: Instrument = partial(_pluck, brightness=0.9)
chime: Instrument = partial(_bell, ratio=3.5, index=2.0)
glass: Instrument = partial(_bell, ratio=1.41, index=4.0)
snare: Instrument = partial(_hit, fade_s=0.06, width=3.0)
hat: Instrument = partial(_hit, fade_s=0.02, width=1.0)
shaker: Instrument = partial(_hit, fade_s=0.04, width=1.5)
surf: Instrument = partial(_hit, fade_s=0.8, width=2.0)

BORROWED = (pad, bowed, reed, organ, blip, nylon, steel, chime, glass)
BORROWING = 0.15
"""Probability that the tune of a song is played by an instrument of ``BORROWED``."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a genre's arrangement."""

    plays: Literal["chords", "tonic", "bass", "tune", "drum"]
    """Which notes: of the bar's chord, of the key, the chord's root, a walk along the scale, or one fixed pitch."""
    instruments: tuple[Instrument, ...]
    """A song draws one."""
    rhythms: tuple[str, ...]
    """One bar in sixteenths (``x`` starts a note, ``-`` holds it, ``.`` rests); a song draws one, a tune one a bar."""
    pitch: int
    """MIDI number of the lowest key of a tonic (drum: of the drum)."""
    level: float = 0.3
    """Amplitude before the mix; a song varies it by up to 3 dB either way."""
    chance: float = 1.0
    """Share of songs that have this part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Genre:
    """What the songs of a genre have in common."""

    name: str
    """Also the folder of its songs."""
    tempo_bpm: tuple[float, float]
    """Slowest and fastest, in beats per minute."""
    swing: tuple[float, float]
    """By how much of a sixteenth every second sixteenth comes late, lowest and highest."""
    scales: tuple[tuple[int, ...], ...]
    """Semitones above the tonic, in [0, 12)."""
    progressions: tuple[tuple[int, ...], ...]
    """One scale degree a bar, from 0; a round of it is the loop of the song."""
    lows: tuple[float, float]
    """Share of low-passed sound that the master adds (or takes away), lowest and highest."""
    chord: tuple[int, ...] = (0, 2, 4)
    """Scale degrees above the root that sound together."""
    parts: tuple[Part, ...]


_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
_DORIAN, _PHRYGIAN, _MIXOLYDIAN = (0, 2, 3, 5, 7, 9, 10), (0, 1, 3, 5, 7, 8, 10), (0, 2, 4, 5, 7, 9, 10)

TIDEHUM = Genre(
    name="tidehum",
    tempo_bpm=(52, 76),
    swing=(0.0, 0.1),
    lows=(0.5, 1.8),
    scales=(_DORIAN, _PHRYGIAN, _MINOR),
    progressions=((0, 0, 3, 0), (0, 6, 5, 6), (0, 3)),
    parts=(
        Part("tonic", (bowed, pad), ("x---------------",), 38, 0.35),
        Part("chords", (pad, pad, bowed), ("x---------------", "x-------x-------"), 52),
        Part("tune", (chime, glass, reed), ("x-------........", "....x-----x-----", "x---x-----------"), 64, 0.22),
        Part("drum", (surf,), ("x...............", "x.......x......."), 91, chance=0.6),
        Part("drum", (shaker,), ("x.x.x.x.x.x.x.x.",), 112, 0.12, chance=0.3),
        Part("drum", (_kick,), ("x.......x.......",), 31, chance=0.3),
    ),
)
CLATTERSTEP = Genre(
    name="clatterstep",
    tempo_bpm=(132, 172),
    swing=(0.0, 0.12),
    lows=(-0.6, 0.5),
    scales=(_PHRYGIAN, _MINOR, _DORIAN),
    progressions=((0, 0, 5, 6), (0, 1, 0, 6), (0, 0, 3, 3, 5, 5, 6, 4)),
    parts=(
        Part("drum", (_kick,), ("x.....x...x.....", "x..x......x..x.."), 33, 0.6),
        Part("drum", (snare,), ("....x..x....x..x", "....x.......x.x."), 91, 0.4),
        Part("drum", (hat, shaker), ("x.xxx.x.x.xxx.xx", "xxxxxxxxxxxxxxxx"), 119),
        Part("bass", (saw_bass, round_bass), ("x--x--x-..x-x---", "x-x-..x-x-..x-x-"), 34),
        Part("chords", (blip, blip, organ), ("..x-..x-..x-..x-", "x---------------"), 53),
        Part("tune", (blip, glass, steel), ("x.x.xx..x.x.xx..", "x..x..x..x..x.x.", "................"), 62, 0.25, 0.8),
    ),
)
LANTERNWALTZ = Genre(
    name="lanternwaltz",
    tempo_bpm=(96, 144),
    swing=(0.0, 0.2),
    lows=(-0.5, 0.5),
    scales=(_MAJOR, _MIXOLYDIAN, _MINOR),
    progressions=((0, 3, 4, 0), (0, 5, 3, 4, 0, 5, 4, 0), (0, 4, 5, 3)),
    parts=(
        Part("bass", (nylon, nylon, round_bass), ("x---........", "x-------...."), 40, 0.35),
        Part("chords", (nylon, nylon, steel), ("....x---x---", "....x-x-x-x-"), 55, 0.35),
        Part("tune", (chime, nylon, steel), ("x-------x---", "x---x-x-x---", "x-x-x-x-x-x-", "x-----------"), 67),
        Part("tonic", (pad, bowed), ("x-----------",), 50, 0.1, chance=0.2),
        Part("drum", (shaker,), ("....x...x...", "x...x...x..."), 115, 0.15, chance=0.7),
        Part("drum", (_kick,), ("x...........",), 33, chance=0.3),
    ),
)
RUSTGROOVE = Genre(
    name="rustgroove",
    tempo_bpm=(84, 116),
    swing=(0.2, 0.4),
    lows=(0.4, 1.6),
    scales=(_DORIAN, _MIXOLYDIAN, _MINOR),
    progressions=((0, 3, 0, 4), (1, 4, 0, 0), (0, 3)),
    chord=(0, 2, 4, 6),
    parts=(
        Part("drum", (_kick,), ("x.......x.x.....", "x...x...x...x..."), 31, 0.55),
        Part("drum", (snare,), ("....x.......x...", "....x..x....x..."), 86, 0.4),
        Part("drum", (hat, hat, shaker), ("x.x.x.x.x.x.x.x.", "..x...x...x...x."), 117, 0.25),
        Part("bass", (saw_bass, saw_bass, saw_bass, round_bass), ("x--x..x-x--x....", "x---..x-..x-x-.x"), 36, 0.4),
        Part("chords", (organ, organ, organ, reed), ("..x---..x---....", "x-------..x-----"), 53, 0.35),
        Part("tune", (reed, steel, organ), ("x--x--x-........", "..x-x---x-x-....", "................"), 65, 0.3, 0.8),
    ),
)
GENRES = (TIDEHUM, CLATTERSTEP, LANTERNWALTZ, RUSTGROOVE)


class Song:
    """What one song draws from its genre.

    Attributes
    ----------
    key : int
        Semitones above the genre's lowest tonic.
    step_s, bar_s : float
        Seconds of a sixteenth and of a bar.
    swing : float
        By how much of a sixteenth every second sixteenth comes late.
    scale, progression : tuple of int
        One of each that the genre has.
    """

    def __init__(self, genre: Genre, rng: Generator) -> None:
        self.genre = genre
        self.key = int(rng.integers(0, 10))
        self.step_s = 60 / rng.uniform(*genre.tempo_bpm) / STEPS_PER_BEAT
        self.bar_s = len(genre.parts[0].rhythms[0]) * self.step_s
        self.swing = rng.uniform(*genre.swing)
        self.scale, self.progression = _one(genre.scales, rng), _one(genre.progressions, rng)

    def pitch(self, degree: int) -> int:
        """Return the semitones of a scale degree, which may lie outside the octave, above the genre's lowest tonic."""
        octave, step = divmod(degree, len(self.scale))
        return self.key + 12 * octave + self.scale[step]


def synthesise(genre: Genre, duration_s: float, sample_rate_hz: int, channels: int, rng: Generator) -> FloatArray:
    """Make up one song of a genre.

    Parameters
    ----------
    genre : Genre
        Where its tempo, harmony and instruments are drawn from.
    duration_s : float
        Length in seconds, greater than 0.
    sample_rate_hz : int
        At least 16,000 Hz; the percussion needs the room.
    channels : int
        1, or 2 with every part at another place between left and right.
    rng : numpy.random.Generator
        The same state gives the same song.

    Returns
    -------
    samples : float32, shape (S, channels)
        ``S = round(duration_s * sample_rate_hz)``, all within [-0.85, 0.85].
    """
    song = Song(genre, rng)
    mix = np.zeros((channels, round(duration_s * sample_rate_hz)), dtype=np.float32)
    for part in genre.parts:
        if rng.random() >= part.chance:
            continue
        borrows = part.plays == "tune" and rng.random() < BORROWING
        instrument = _one(BORROWED if borrows else part.instruments, rng)
        loop = _play(_notes(song, part, rng), instrument, song.bar_s * len(song.progression), sample_rate_hz, rng)
        loop *= part.level * 10 ** (rng.uniform(-3, 3) / 20)
        pan = rng.uniform(-0.6, 0.6)
        _lay(mix, loop, (1 - pan, 1 + pan) if channels == 2 else (1.0,), part.plays in ("chords", "drum"), rng)
    return np.ascontiguousarray(_master(mix, genre, sample_rate_hz, rng).T)


def _one(choices: Sequence[T], rng: Generator) -> T:
    return choices[int(rng.integers(len(choices)))]


def _notes(song: Song, part: Part, rng: Generator) -> Iterator[Note]:
    """Yield the notes of one part in one round of the progression, in order."""
    rhythm, degree = _one(part.rhythms, rng), 0
    for bar, root in enumerate(song.progression):
        if part.plays == "tune":
            rhythm = _one(part.rhythms, rng)
        for hit in re.finditer("x-*", rhythm):
            step, steps = hit.start(), len(hit.group())
            degree = int(np.clip(degree + rng.integers(-2, 3), -3, 9))
            start_s = song.bar_s * bar + (step + song.swing * (step % 2)) * song.step_s
            for pitch in _pitches(song, part, root, degree):
                yield start_s, steps * song.step_s, pitch


def _pitches(song: Song, part: Part, root: int, degree: int) -> list[int]:
    """Return the MIDI numbers that sound together, over the chord on ``root``, with the tune at ``degree``."""
    if part.plays == "drum":
        return [part.pitch]
    degrees = {
        "chords": [(root + interval) % len(song.scale) for interval in song.genre.chord],
        "tonic": [0, 4],
        "bass": [root % len(song.scale)],
        "tune": [degree],
    }[part.plays]
    return [part.pitch + song.pitch(each) for each in degrees]


def _play(
    notes: Iterator[Note], instrument: Instrument, loop_s: float, sample_rate_hz: int, rng: Generator
) -> FloatArray:
    """Render the notes as one loop; sound after its end continues at its beginning. Equal notes are made once."""
    loop = np.zeros(round(loop_s * sample_rate_hz), dtype=np.float32)
    made: dict[tuple[float, int], FloatArray] = {}
    for start_s, duration_s, pitch in notes:
        if (duration_s, pitch) not in made:
            made[duration_s, pitch] = instrument(440 * 2 ** ((pitch - 69) / 12), duration_s, sample_rate_hz, rng)
        sound, start = made[duration_s, pitch], round(start_s * sample_rate_hz)
        while sound.size:
            here = sound[: loop.size - start]
            loop[start : start + here.size] += here
            sound, start = sound[here.size :], 0
    return loop


def _lay(mix: FloatArray, loop: FloatArray, gains: tuple[float, ...], throughout: bool, rng: Generator) -> None:
    """Add the loop to the mix, shape (channels, S), round after round; without ``throughout`` it rests in a fifth."""
    before = 0.0
    for start in range(0, mix.shape[1], loop.size):
        now = 1.0 if throughout or rng.random() < 0.8 else 0.0
        round_ = loop[: mix.shape[1] - start] * np.float32(now)
        turn = min(round_.size, 1024)
        round_[:turn] += loop[:turn] * np.linspace(before - now, 0, turn, dtype=np.float32)
        for channel, gain in zip(mix, gains, strict=True):
            channel[start : start + round_.size] += round_ * np.float32(gain)
        before = now


def _master(mix: FloatArray, genre: Genre, sample_rate_hz: int, rng: Generator) -> FloatArray:
    """Give the mix, shape (channels, S), its own tone, hiss and level, with soft peaks, and fade it in and out."""
    decay = np.float32(np.exp(-2 * np.pi * rng.uniform(500, 900) / sample_rate_hz))
    lows: FloatArray = signal.lfilter(np.array([1 - decay]), np.array([1, -decay], dtype=np.float32), mix)
    mix = mix + np.float32(rng.uniform(*genre.lows)) * lows
    mix /= np.sqrt(np.mean(mix**2))
    mix += np.float32(10 ** rng.uniform(-2.9, -2.3)) * rng.standard_normal(mix.shape, dtype=np.float32)
    song: FloatArray = np.float32(rng.uniform(0.4, 0.85)) * np.tanh(mix * np.float32(rng.uniform(0.25, 0.5)))
    fade_in, fade_out = int(0.01 * sample_rate_hz), min(song.shape[1] // 4, int(rng.uniform(0.2, 2) * sample_rate_hz))
    song[:, :fade_in] *= np.linspace(0, 1, fade_in, dtype=np.float32)
    song[:, -fade_out:] *= np.linspace(1, 0, fade_out, dtype=np.float32)
    return song
