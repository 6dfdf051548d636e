"""`explain`: which seconds of a song decided, as a table and as audio, and which window would change the answer."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from songbag_store import SongStore
from songbag_store.errors import SongNotFound, StoreNotFound, UsageError
from songbag_store.format.index import PLACE_COLUMNS
from songbag_store.progress import Progress
from songbag_store.sql.shown import Shown
from songbag_store.storage.files import require_output
from songbag_store.storage.location import Location
from songbag_store.store import StoreLike
from songbag_store.terminal import plain_text
from songbag_store.words import counted, did_you_mean
from songbag_training.apply.explanation import SongExplanation, explain_score
from songbag_training.apply.pieces import SongPiece, deciding_pieces, left_out
from songbag_training.apply.source import SongAudio, audio_file, stored_audio, write_audio
from songbag_training.errors import some
from songbag_training.evaluation.predictions import probability_columns
from songbag_training.evaluation.score import SongScorer
from songbag_training.runs.facts import RunFacts
from songbag_training.runs.run import Run, RunLike
from songbag_training.runs.store import refuse_other_spec, require_song
from songbag_training.songs.pieces import Piece, stored_pieces

CLIP_SUFFIXES = (".flac", ".wav", ".ogg", ".mp3", ".aiff")
"""Suffixes of a clip."""

MOST_SECONDS = 600.0
"""A clip may be as long as this: the pieces are decoded one after the other, each in memory."""

_TURNING_SHOWN = 5


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Explanation(Shown):
    """What decided the prediction of a song.

    Attributes
    ----------
    song : SongExplanation
        What each window says, its weight, and the song's probabilities without it.
    pieces : list of SongPiece
        The deciding pieces, in the order of the clip.
    answers_without : list of str or None
        For each piece, what the answer is without its windows; None if there are no others.
    audio : SongAudio
        Where the song is heard.
    """

    song: SongExplanation
    pieces: list[SongPiece]
    answers_without: list[str | None]
    audio: SongAudio

    def table(self, *, arrow: bool = False) -> Any:
        """Return the pieces as pandas, or as Arrow with ``arrow=True``.

        Columns: start_s and end_s in the song, clip_s, where it begins in the clip, class, weight, probability, windows
        (how many) and answer_without.
        """
        lengths = [one.end_s - one.start_s for one in self.pieces]
        table = pa.table(
            {
                "start_s": pa.array([one.start_s for one in self.pieces], pa.float64()),
                "end_s": pa.array([one.end_s for one in self.pieces], pa.float64()),
                "clip_s": pa.array(np.cumsum([0.0, *lengths])[:-1], pa.float64()),
                "class": [self.song.task.classes[one.class_number] for one in self.pieces],
                "weight": pa.array([one.weight for one in self.pieces], pa.float64()),
                "probability": pa.array([one.probability for one in self.pieces], pa.float64()),
                "windows": pa.array([len(one.windows) for one in self.pieces], pa.int32()),
                "answer_without": pa.array(self.answers_without, pa.string()),
            }
        )
        return table if arrow else table.to_pandas()

    def windows(self, *, arrow: bool = False) -> Any:
        """Return a row for each window: window, start_s, end_s, weight, p_<class>..., turns, without_p_<class>...

        `turns` says whether the answer would be another without the window. The columns ``without_p_<class>`` have the
        song's probabilities without it, null if that was not tried.
        """
        song, classes = self.song, self.song.task.classes
        without = probability_columns(classes, song.probabilities_without)
        table = pa.table(
            {
                "window": np.arange(len(song.weights), dtype=np.int32),
                "start_s": song.starts_s,
                "end_s": song.ends_s,
                "weight": song.weights,
                **probability_columns(classes, song.window_probabilities),
                "turns": song.turning,
                **{f"without_{name}": pa.array(one, from_pandas=True) for name, one in without.items()},
            }
        )
        return table if arrow else table.to_pandas()

    def answer(self) -> str:
        """Return in one line what the song is predicted to be."""
        song = self.song
        shown = [f"{plain_text(song.task.classes[one])} {song.probabilities[one]:.2f}" for one in song.answered]
        said = ", ".join(shown) if song.predicted.any() else f"no class; most probable is {shown[0]}"
        return f"{plain_text(song.song_id)}: {said}, by {counted(len(song.weights), 'window')}"

    def turning(self) -> list[str]:
        """Return in words which windows, left out one at a time, would change the answer."""
        song, found = self.song, np.flatnonzero(self.song.turning).tolist()
        if not song.n_tried:
            return ["The song has one window, so none can be left out."]
        if not found:
            tried = "" if song.n_tried == len(song.weights) else f" of the {song.n_tried:,} of largest weight"
            return [f"No single window{tried}, left out, would change the answer."]
        lines = []
        for window in found[:_TURNING_SHOWN]:
            shares = song.probabilities_without[window]
            answer = song.names(song.task.predicted(shares[None])[0])
            seconds = f"{song.starts_s[window]:.1f}-{song.ends_s[window]:.1f} s"
            lines.append(f"Without the window {seconds} the answer would be {plain_text(answer)}.")
        more = len(found) - len(lines)
        return [*lines, f"So it would without each of {counted(more, 'other window')}."] if more else lines

    def _facts(self) -> Iterator[tuple[str, object]]:
        yield "answer", self.answer()
        for piece in self.pieces:
            name = self.song.task.classes[piece.class_number]
            yield "piece", f"{piece.start_s:.1f}-{piece.end_s:.1f} s, {name}, weight {piece.weight:.2f}"
        for line in self.turning():
            yield "left out", line

    def write_clip(self, output: str | Path) -> float:
        """Write the pieces, joined, into an audio file, and return its length in seconds; see `explain`."""
        return write_audio(self.audio, [(one.start_s, one.end_s) for one in self.pieces], Path(output))


def explain(
    run: RunLike,
    song: str,
    output: str | Path | None = None,
    *,
    store: StoreLike | None = None,
    class_name: str | None = None,
    seconds: float = 30.0,
    encoder: str | None = None,
    features: str | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Explain the prediction for a song: its deciding seconds, and which window, left out, would change the answer.

    The evidence of a window for a class is its weight in the pooling times its probability of the class. For each
    predicted class (or the most probable one, if none is predicted) the windows with most evidence are taken, until
    they have half of all evidence or the seconds are full; those that overlap or touch become one piece. A weight says
    what counted, not what caused the answer: for that, every window is left out in turn (of a long song, the 1,000 of
    largest weight).

    Parameters
    ----------
    run : Run, str or pathlib.Path
        A finished run.
    song : str
        The song id; or the path of an audio file, if the store has no such song.
    output : str or pathlib.Path, optional
        An audio file to write the pieces to, joined: .flac, .wav, .ogg, .mp3 or .aiff. It is what the model hears, mono
        at the sample rate of the features, decoded from the file of the song.
    store : SongStore, Location, str or pathlib.Path, optional
        A store with the song; by default the run's own, at the snapshot of the training if that has the song,
        otherwise at the newest.
    class_name : str, optional
        Explain this class instead of the predicted ones.
    seconds : float
        The most that the pieces last together, up to 600; one window always is taken.
    encoder : str, optional
        The name of the run's encoder, to allow it, if it is a function outside songbag: see `Run.allow_encoder`.
    features : str, optional
        For an audio file, the extractor of own features that the run was trained on, ``module:name``, to allow it.
    progress : Progress, optional
        Where notes about an audio file are shown; by default standard output.

    Returns
    -------
    explanation : Explanation
        `table()` has a row for each piece, `windows()` one for each window.

    Raises
    ------
    SongNotFound
        If the store has no features of the song, and there is no such file.
    SpecMismatch
        If the store holds other features than the model was trained on.
    SongbagError
        With `output`: if the audio is not there, cannot be decoded or has changed since its features were computed.

    Examples
    --------
    >>> songbag.explain("my-run", "album/song.mp3", "clip.flac").table()
    """
    if class_name is not None:
        class_name = str(class_name)  # classes are texts, also those of a column of whole numbers
    if not (math.isfinite(seconds) and 0 < seconds <= MOST_SECONDS):
        raise UsageError(f"is {seconds:g} but must be above 0 and at most {MOST_SECONDS:g}", place="seconds")
    if output is not None:
        require_output(Path(output), *CLIP_SUFFIXES)
    run = Run.open(run).allow_encoder(encoder)
    task = run.facts.song_task
    if class_name is not None and class_name not in task.classes:
        meant = did_you_mean(class_name, task.classes) or f"There are {some(task.classes)}."
        raise UsageError(f"the run has no class {class_name!r}", place="class_name", remedy=meant)
    scorer = SongScorer(run.load_model(), task)
    windows, audio = _song(run.facts, song, store, features, scorer.chunk_windows, progress)
    score, outputs = next(scorer.scored(windows))
    found = explain_score(scorer, score, outputs, run.facts.spec)
    classes = found.answered.tolist() if class_name is None else [task.classes.index(class_name)]
    pieces = deciding_pieces(found, classes, seconds, audio.duration_s)
    without = scorer.without(outputs, left_out(found, pieces))
    answers = [None if np.isnan(one).any() else found.names(task.predicted(one[None])[0]) for one in without]
    explanation = Explanation(found, pieces, answers, audio)
    if output is not None:
        explanation.write_clip(output)
    return explanation


def _song(
    facts: RunFacts,
    song: str,
    store: StoreLike | None,
    features: str | None,
    chunk_windows: int,
    progress: Progress | None,
) -> tuple[Iterator[Piece], SongAudio]:
    """Return the windows and the audio of a song of a store, or of an audio file."""
    try:
        opened = _opened(facts, song, store)
        require_song(opened, song)
    except (StoreNotFound, SongNotFound):
        if not os.path.isfile(song):
            raise
        return audio_file(facts, song, features, chunk_windows, progress)
    rows = opened.songs(ids=[song], columns=PLACE_COLUMNS, arrow=True)
    return stored_pieces(opened, rows, chunk_windows), stored_audio(opened, song)


def _opened(facts: RunFacts, song: str, store: StoreLike | None) -> SongStore:
    """Open a store with the features of a run: its own at the snapshot of the training, if that has the song."""
    place = facts.store_location if store is None else store
    opened = SongStore.open(place)
    refuse_other_spec(facts, opened)
    chosen = isinstance(place, SongStore) or (isinstance(place, Location) and place.snapshot is not None)
    if chosen or opened.uuid != facts.store_uuid:
        return opened
    with suppress(StoreNotFound, SongNotFound):
        then = opened.at(facts.snapshot)
        then.songs(ids=[song], columns=["song_id"], arrow=True)
        return then
    return opened
