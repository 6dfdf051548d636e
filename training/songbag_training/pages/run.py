"""The page of a run or a cross-validation."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Any

from songbag_store.errors import SongbagError, UsageError
from songbag_store.pages.page import Page, Section, require_pages, write_page
from songbag_store.pages.pieces import Block, Column, Command, Facts, Place, Table, Words
from songbag_store.progress import Progress
from songbag_store.storage.files import within
from songbag_store.words import counted
from songbag_training.pages import judgement
from songbag_training.pages.material import Missing, read_copies, read_history, read_metrics, song_sources
from songbag_training.pages.songs import MOST_SONGS, Songs, read_songs
from songbag_training.pages.timeline import MOST_BYTES, read_timelines
from songbag_training.runs.document import RUN, SWEEP
from songbag_training.runs.facts import RunFacts
from songbag_training.runs.plan import Plan
from songbag_training.runs.summary import describe, info

NAME = "report.html"
"""The page of a run, in its folder."""

_SCRIPT = Path(__file__).with_name("run.js")
_TEST = "test"


def run_page(folder: Path, *, embed_audio: int = 0) -> Page:
    """Return the page of a run or a cross-validation, from the files of its folder and, if it is there, its store.

    Parameters
    ----------
    folder : pathlib.Path
        The run folder.
    embed_audio : int
        The first songs whose audio is put in.

    Raises
    ------
    RunError
        If `run.json` or `cross-validation.json` cannot be read.
    UsageError
        If it is a sweep, or a point of one whose test songs were not judged.
    """
    if (folder / SWEEP).exists():
        remedy = "Give one of its points, or several, which are compared: `songbag report DIR/point-1 DIR/point-2`."
        raise UsageError("this is a sweep", place=str(folder), remedy=remedy)
    missing = Missing()
    is_run = (folder / RUN).exists()
    facts = info_of(folder, missing)
    folds = [folder] if is_run else sorted(within(folder, "fold-*"), key=lambda one: (len(one.name), one.name))
    of_runs = [RunFacts.read(fold) for fold in folds if (fold / RUN).exists()]
    metrics = missing.tried("Metrics are missing", lambda: read_metrics(folder)) or {}
    if metrics and is_run:
        if _TEST not in metrics:
            what = "its test songs are not judged: it is a point of a sweep that was not chosen"
            remedy = f"`songbag evaluate {shlex.quote(str(folder))}` judges them."
            raise UsageError(what, place=str(folder), remedy=remedy)
        metrics = metrics[_TEST]
    elif metrics:
        metrics = metrics | {"song": metrics["pooled"]}
    songs, task = None, of_runs[0].song_task if of_runs else None
    if task is not None:
        column, judged = ("part", _TEST) if is_run else ("fold", None)
        path = folder / "predictions.parquet"
        songs = missing.tried("Predictions are missing", lambda: read_songs(path, task, column, judged))
    histories = {fold.name: missing.tried("Learning curves are missing", partial(read_history, fold)) for fold in folds}
    curves = judgement.curves({name: own for name, own in histories.items() if own}, facts.get("best_epoch"))
    details = _details(folds, of_runs, songs, is_run, embed_audio, missing) if songs and of_runs else {}
    sections = [Section("result", "Result", judgement.headline(metrics, facts, missing.notes))]
    sections += [Section("learning", "Learning", curves)] if curves else []
    if songs and task:
        sections += judgement.sections(songs, task, metrics)
        sections += [Section("songs", "Songs", _songs(songs, "part" if is_run else "fold"))]
        sections += [Section("balance", "Balance", judgement.balance(songs, task))]
    copies = missing.tried("Copies are missing", lambda: read_copies(folder))
    sections.append(Section("leaks", "Copies and leaks", judgement.leaks(metrics, copies)))
    sections.append(Section("repeat", "How to repeat it", _repeat(facts)))
    if songs and task:
        details |= {"classes": list(task.classes), "judged": _TEST if is_run else None}
    kind = "Run" if is_run else "Cross-validation"
    return Page(kind, folder.resolve().name, _lead(facts), sections, [_SCRIPT.read_text()], details)


def info_of(folder: Path, missing: Missing) -> dict[str, Any]:
    """Return what `songbag info` tells of a run; without what is missing."""
    return missing.tried("What the run is cannot be told", lambda: info(folder)) or {}


def _lead(facts: dict[str, Any]) -> str:
    if not facts:
        return ""
    songs, n_classes = sum(facts["songs"].values()), len(facts["classes"])
    told = f"{counted(songs, 'song')} of {counted(n_classes, 'class')}"
    text = f"Learns {facts['label']!r}: {told}, {facts['model']}"
    begun = facts["created_at"][:16].replace("T", " ")
    return f"{text}. {facts['state'].capitalize()}, begun {begun} UTC."


def _details(
    folds: list[Path], of_runs: list[RunFacts], songs: Songs, is_run: bool, embed_audio: int, missing: Missing
) -> dict[str, Any]:
    """Return what the page's script shows of a chosen song: a list in the order of the table."""
    found: dict[str, dict[str, Any]] = {one.song_id: {} for one in songs.shown}
    names = [] if is_run else Plan.open(folds[0].parent).folds
    for fold in folds:
        own = [one for one in songs.shown if is_run or fold.name == f"fold-{names.index(one.subset) + 1}"]
        room = MOST_BYTES if is_run else MOST_BYTES // len(folds)
        facts = of_runs[0]
        read = partial(read_timelines, fold / "windows.parquet", own, facts.song_task, facts.config, room)
        for song_id, timeline in (missing.tried("What single windows say is missing", read) or {}).items():
            found[song_id]["timeline"] = timeline
    for song_id, source in song_sources(of_runs[0], songs.shown, embed_audio, missing).items():
        found[song_id] |= source
    in_order = [found[one.song_id] | {"followed": one.followed} for one in songs.shown]
    n_told = sum("timeline" in one for one in in_order)
    if n_told < len(in_order):
        told = f"{n_told:,} of {counted(len(in_order), 'song')}"
        missing.notes.append(f"Of {told} the page tells what single windows say.")
    return {"songs": in_order}


def _songs(songs: Songs, column: str) -> list[Block]:
    shown = songs.shown
    words = "The surest mistakes come first, then the least sure right answers. Choose a song to see and hear it."
    if songs.n > len(shown):
        words += f" The page lists {MOST_SONGS:,} of {counted(songs.n, 'song')}; predictions.parquet has them all."
    columns = [
        Column("song", [one.song_id for one in shown]),
        Column("label", [one.label for one in shown]),
        Column("answer", [one.answer for one in shown]),
        Column("confidence", [one.confidence for one in shown], "share"),
        Column("", ["right" if one.is_right else "wrong" for one in shown]),
        Column("split" if column == "part" else "fold", [one.subset for one in shown]),
    ]
    return [Words(words), Table("songs", "", columns, choose=True), Place("song", "No song is chosen.")]


def _repeat(facts: dict[str, Any]) -> list[Block]:
    if not facts:
        return [Words("The files of the run do not tell how it was made.", note=True)]
    told = [(name, value) for name, value in describe(facts) if name not in ("again", "classes")]
    words = "The same snapshot, split, settings and seed; on the same machine it gives the same weights."
    return [Words(words), Command(facts["command"]), Facts(told)]


def add_page(folder: Path, progress: Progress) -> None:
    """Write the page of a run that has just ended into its folder; a page that cannot be written is only noted."""
    try:
        require_pages("report")
        write_page(run_page(folder), folder / NAME)
    except (SongbagError, OSError) as error:
        why = error.what if isinstance(error, SongbagError) else error.strerror
        progress.note(f"note: the run has no page ({why}); `songbag report {shlex.quote(str(folder))}` makes it")
