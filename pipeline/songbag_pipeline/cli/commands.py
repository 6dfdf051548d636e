"""The commands `extract`, `relabel` and `demo`."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from songbag_pipeline.run.config import ExtractConfig
from songbag_store.cli.options import At, Given, Store, with_location, with_options
from songbag_store.cli.upkeep import relabel_store
from songbag_store.cli.wording import AsOptions
from songbag_store.errors import SpecError, UsageError
from songbag_store.format.extractor import unasked
from songbag_store.format.spec import FeatureSpec, features_of
from songbag_store.progress import shown_on
from songbag_store.terminal import say
from songbag_store.words import counted

if TYPE_CHECKING:
    from songbag_pipeline.run.summary import Summary
    from songbag_pipeline.run.tags import Relabelled

commands = typer.Typer()
_FEATURES_HELP = (
    "mfcc or logmel, each also with +delta or +delta+delta2; or by librosa chroma, contrast, tonnetz, tempogram, "
    "several of them joined by +; or your own, as module:function. \\[default: mfcc]"
)

Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Folder or bucket of songs, or a manifest: CSV, TSV, JSONL, Parquet.")
]
NewStore = Annotated[str, typer.Argument(metavar="STORE", help="A folder, s3://, gs:// or az://; made if need be.")]
Features = Annotated[str | None, typer.Option(metavar="KIND", help=_FEATURES_HELP, rich_help_panel="What to compute")]

Labels = Annotated[
    Path | None, typer.Argument(metavar="[LABELS]", help="CSV, TSV, JSONL or Parquet: song_id or path, and columns.")
]
FromTags = Annotated[
    bool, typer.Option("--from-tags", help="Fill in artist, album, title, genre, year and track from the files' tags.")
]

Segments = Annotated[
    Path | None,
    typer.Option("--segments", metavar="FILE", help="Table with labels of stretches: song_id, start_s, end_s, label."),
]

_NAMED = 10
_DUPLICATES_SQL = "select list(song_id) from songs group by content_sha256, start_s, end_s having count(*) > 1"


@commands.command()
@with_location(snapshot=False)
@with_options
def extract(
    source: Source,
    store: NewStore,
    context: typer.Context,
    at: At,
    features: Features = None,
    *,
    spec: Given[FeatureSpec],
    config: Given[ExtractConfig],
) -> None:
    """Compute the features of every song that the store does not have yet.

    Run it again at any time: for new songs, after an interruption, after a crash. A store has one spec: if the store
    exists, the options under "What to compute" come from it, and other values are an error.
    """
    # Arrow's own allocator keeps tens of MB that it no longer needs. The choice holds when Arrow is first loaded.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    from songbag_pipeline.run.extract import extract as run
    from songbag_pipeline.songs.containment import folders_of

    chosen = config.make()
    if features is not None:
        named = features_of(features, folders_of(chosen.upload))
        _refuse_other_rate(spec, named)
        spec = dataclasses.replace(spec, fields=spec.fields | named)
    shown = AsOptions(shown_on(sys.stderr), context.command)
    summary = run(at(source), at(store), partial(_spec, spec), chosen, progress=shown)
    for line in _report(summary, store):
        say(line)
    if summary.nothing_stored:
        raise typer.Exit(1)


def _spec(given: Given[FeatureSpec], stored: FeatureSpec | None) -> FeatureSpec:
    """Return the spec of an existing store with the given options on top, or the spec of a new one."""
    before = {} if stored is None else stored.to_dict()
    if stored is not None and stored.extractor is not None and "extractor" not in given.fields:
        raise unasked(stored.extractor)
    # If the window is given, the hop is half of it unless it is given too.
    spec = given.make(**(before | ({"window_hop_s": None} if "window_s" in given.fields else {})))
    spec.refuse_unused(given.fields)
    return spec


def _refuse_other_rate(given: Given[FeatureSpec], named: dict[str, Any]) -> None:
    """Refuse a sample rate that is not the extractor's."""
    rate = given.fields.get("sample_rate_hz")
    if rate is not None and named.get("sample_rate_hz", rate) != rate:
        what = f"is {rate} but the extractor takes {named['sample_rate_hz']}"
        raise SpecError(what, place="sample_rate_hz", remedy="Leave it out.")


def _report(summary: Summary, store: str) -> list[str]:
    """Return a few lines on what a run did; the last one counts the failures."""
    lines = []
    if summary.n_adopted:
        were, them = counted(summary.n_adopted, "song was", "songs were"), _them(summary.n_adopted)
        lines.append(f"{were} taken over from an earlier run that did not commit {them}.")
    n_known = max(0, summary.n_known - summary.n_adopted)
    known = f"{counted(n_known, 'song was', 'songs were')} in the store already"
    if summary.n_failed_before:
        again = f"--retry-failed tries {_them(summary.n_failed_before)} again"
        known += f", {summary.n_failed_before:,} had failed before ({again})"
    if not summary.n_done:
        return [*lines, f"Nothing is new: {known}. Snapshot {summary.snapshot}."]
    if summary.n_known + summary.n_failed_before:
        lines.append(f"{known}.")
    if summary.n_duplicates:
        are = counted(summary.n_duplicates, "song is", "songs are")
        lines.append(f"{are} byte for byte another one of the store ({_DUPLICATES_SQL}).")
    speed = f"{summary.n_done / summary.elapsed_s:.1f} songs/s"
    times = f"{summary.audio_s / summary.elapsed_s:,.0f} x real time"
    lines.append(f"{counted(summary.n_windows, 'window')} in {summary.elapsed_s:.1f} s ({speed}, {times}).")
    end = f"{counted(summary.n_stored, 'song')} stored, {summary.n_failed:,} failed"
    end += f"; snapshot {summary.snapshot} of {store}."
    if summary.n_failed:
        end += f" Why: songbag failures {shlex.quote(store)}"
    return [*lines, end]


@commands.command()
@with_location(snapshot=False)
def relabel(
    store: Store, at: At, labels: Labels = None, segments: Segments = None, from_tags: FromTags = False
) -> None:
    """Join new or corrected columns to the songs of a store, by song_id or path; no feature is touched."""
    if [labels is not None, segments is not None, from_tags].count(True) != 1:
        what = "takes LABELS, or --segments or --from-tags in their place"
        raise UsageError(what, place="relabel", remedy="Give one of them.")
    if not from_tags:
        relabel_store(at(store), labels, segments)
        return
    from songbag_pipeline.run.tags import relabel_from_tags

    done = relabel_from_tags(at(store))
    for line in _report_tags(done, store):
        say(line)
    if done.n_songs and len(done.gone) + len(done.changed) + len(done.unreadable) == done.n_songs:
        raise typer.Exit(1)


def _them(n: int) -> str:
    return "it" if n == 1 else "them"


def _report_tags(done: Relabelled, store: str) -> list[str]:
    """Return notes on the songs whose tags were not read, and a line on what was done."""
    lines = [f"note: {note}" for note in done.notes]
    remedy = f"songbag extract SOURCE STORE --update-changed --tags computes {_them(len(done.changed))} again"
    other = f"other content than was extracted ({remedy})"
    for song_ids, one, more in (
        (done.gone, "file is gone", "files are gone"),
        (done.changed, f"file has {other}", f"files have {other}"),
        (done.unreadable, "file cannot be read", "files cannot be read"),
    ):
        if song_ids:
            named = ", ".join(map(repr, song_ids[:_NAMED])) + ", ..." * (len(song_ids) > _NAMED)
            lines.append(f"note: {counted(len(song_ids), one, more)}: {named}")
    has = "has" if done.n_tagged == 1 else "have"
    tagged = f"{done.n_tagged:,} of {counted(done.n_songs, 'song')} {has} tags"
    if not done.n_filled:
        return [*lines, f"{tagged}; there is nothing to fill in. Snapshot {done.store.snapshot}."]
    filled = f"{counted(done.n_filled, 'value')} filled in"
    return [*lines, f"{tagged}; {filled}; snapshot {done.store.snapshot} of {store}."]


@commands.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to put everything.")] = Path("songbag-demo"),
) -> None:
    """Make a small collection of synthetic songs and run the whole path on it."""
    from songbag_pipeline.demo.walkthrough import walk

    sys.exit(walk(folder))
