"""The commands `extract` and `demo`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from songbag_pipeline.cli import options as of
from songbag_store.cli.options import StorageOption
from songbag_store.progress import first_notes

if TYPE_CHECKING:
    from songbag_pipeline.run.extract import Summary
    from songbag_store import FeatureSpec

commands = typer.Typer()

_DUPLICATES_SQL = "select content_sha256, list(song_id) from songs group by 1 having count(*) > 1"


@commands.command()
def extract(
    source: of.Source,
    store: of.NewStore,
    features: of.Features = None,
    n_mfcc: of.NMfcc = None,
    n_mels: of.NMels = None,
    sample_rate: of.SampleRate = None,
    n_fft: of.NFft = None,
    hop_length: of.HopLength = None,
    window: of.Window = None,
    window_hop: of.WindowHop = None,
    max_duration: of.MaxDuration = None,
    encoding: of.Encoding = None,
    label_from_folder: of.LabelFromFolder = False,
    workers: of.Workers = None,
    limit: of.Limit = None,
    retry_failed: of.RetryFailed = False,
    update_changed: of.UpdateChanged = False,
    max_failed: of.MaxFailed = None,
    scheduler: of.Scheduler = None,
    scheduler_file: of.SchedulerFile = None,
    storage_option: StorageOption = None,
) -> None:
    """Compute the features of every song that the store does not have yet.

    Run it again at any time: after new songs came, after an interruption, after a crash. The options under "What to
    compute" are taken from the store where it exists; another value is an error, for a store has one spec.
    """
    # Arrow's own allocator keeps tens of MB of what a run once needed; it is chosen when Arrow is first loaded.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    from songbag_pipeline.run.extract import extract as run
    from songbag_store.storage.options import parse_options

    options = parse_options(storage_option)
    given = of.spec_fields(
        features,
        encoding,
        n_mfcc=n_mfcc,
        n_mels=n_mels,
        sample_rate_hz=sample_rate,
        n_fft=n_fft,
        hop_length=hop_length,
        window_s=window,
        window_hop_s=window_hop,
        max_duration_s=max_duration,
    )
    summary = run(
        source,
        store,
        _spec(store, given, options),
        label_from_folder=label_from_folder,
        workers=workers,
        limit=limit,
        retry_failed=retry_failed,
        update_changed=update_changed,
        max_failed=max_failed,
        scheduler=scheduler,
        scheduler_file=scheduler_file,
        storage_options=options,
    )
    for line in _report(summary, store):
        print(line)


def _spec(store: str, given: dict[str, Any], options: dict[str, str]) -> FeatureSpec:
    """Return the spec of an existing store with the options given laid over it, or that of a new one."""
    from songbag_store import FeatureSpec, SongStore
    from songbag_store.errors import StoreNotFound

    try:
        fields = SongStore.open_identity(store, storage_options=options).spec.to_dict()
    except StoreNotFound:
        return FeatureSpec(**given)
    if "window_s" in given and "window_hop_s" not in given:
        fields["window_hop_s"] = None
    return FeatureSpec(**(fields | given))


def _report(summary: Summary, store: str) -> list[str]:
    """Say in a few lines what a run did; the failures are counted in the last one."""
    lines = first_notes(summary.warnings)
    if summary.n_adopted:
        lines.append(f"{summary.n_adopted:,} songs were taken over from an earlier run that did not commit them.")
    known = f"{max(0, summary.n_known - summary.n_adopted):,} songs were in the store already"
    if summary.n_failed_before:
        known += f", {summary.n_failed_before:,} had failed before (--retry-failed tries them again)"
    if not summary.n_stored + summary.n_failed:
        return [*lines, f"Nothing is new: {known}. Snapshot {summary.snapshot}."]
    if summary.n_known + summary.n_failed_before:
        lines.append(f"{known}.")
    if summary.n_duplicates:
        lines.append(f"{summary.n_duplicates:,} songs are byte for byte another one of the store ({_DUPLICATES_SQL}).")
    speed = f"{(summary.n_stored + summary.n_failed) / summary.elapsed_s:.1f} songs/s"
    times = f"{summary.audio_s / summary.elapsed_s:,.0f} x real time"
    lines.append(f"{summary.n_windows:,} windows in {summary.elapsed_s:.1f} s ({speed}, {times}).")
    end = f"{summary.n_stored:,} songs stored, {summary.n_failed:,} failed; snapshot {summary.snapshot} of {store}."
    if summary.n_failed:
        end += f" Why: songbag failures {store}"
    return [*lines, end]


@commands.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to put everything.")] = Path("songbag-demo"),
) -> None:
    """Make a small collection of synthetic songs and run the whole path on it."""
    from songbag_pipeline.demo.walkthrough import walk

    sys.exit(walk(folder))
