"""The commands that look after a store: remove, compact, gc, history and repair; and verifying one."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from songbag_store.cli.options import At, Form, Output, Store, chosen_writer, with_location
from songbag_store.progress import Lines
from songbag_store.storage.location import Location
from songbag_store.terminal import say
from songbag_store.words import counted

commands = typer.Typer()

Where = Annotated[str, typer.Option("--where", metavar="SQL", help="Remove the songs for which this holds.")]
Yes = Annotated[bool, typer.Option("--yes", help="Delete; without it, only say what would go.")]
Release = Annotated[
    list[str] | None, typer.Option("--release", metavar="TAG", help="Delete this tag first; may be repeated.")
]
Full = Annotated[bool, typer.Option("--full", help="Read every byte: digests, windows and their sums.")]


def relabel_store(store: Location, labels: Path | None, segments: Path | None = None) -> None:
    """Join columns of a table and say what was done; the command `relabel` is the pipeline's, which can read tags."""
    from songbag_store.store import SongStore
    from songbag_store.upkeep.change import relabel as run

    opened = SongStore.open(store)
    notes: list[str] = []
    after, n_matched = run(opened, labels, segments=segments, progress=Lines(notes.append))
    if after.snapshot == opened.snapshot:
        say(f"{counted(n_matched, 'song')} matched; the store has these values already. Snapshot {after.snapshot}.")
    else:
        n_songs = after.inside.state.content.n_rows
        say(f"{n_matched:,} of {counted(n_songs, 'song')} matched; snapshot {after.snapshot} of {store.address}.")
    for note in notes:
        say(f"note: {note}", file=sys.stderr)


@commands.command()
@with_location(snapshot=False)
def remove(store: Store, at: At, where: Where) -> None:
    """Take songs out of the index at once; their bytes go with compact and gc."""
    from songbag_store.upkeep.change import remove as run

    after, n_removed = run(at(store), where)
    if n_removed == 0:
        say(f"No song matches. Snapshot {after.snapshot}.")
        return
    say(
        f"{counted(n_removed, 'song')} left the index; "
        f"snapshot {after.snapshot} has {after.inside.state.content.n_rows:,}."
    )
    say("An extract that lists them takes them as new. To free their bytes: songbag compact, then songbag gc")


@commands.command()
@with_location(snapshot=False)
def compact(store: Store, at: At) -> None:
    """Rewrite fragments that hold windows of removed songs, and join small ones."""
    from songbag_store.sql.output import bytes_text
    from songbag_store.upkeep.compact import compact as run

    after, done = run(at(store))
    if done.n_before == 0:
        say(f"There is nothing to compact. Snapshot {after.snapshot}.")
        return
    freed = f"{bytes_text(done.n_freed_bytes)} of removed windows (uncompressed) left out"
    say(
        f"{counted(done.n_before, 'fragment')} became {done.n_after:,}: "
        f"{counted(done.n_songs, 'song')} copied, {freed}."
    )
    say(f"Snapshot {after.snapshot}. Older snapshots use the old fragments until songbag gc deletes them.")


@commands.command()
@with_location(snapshot=False)
def gc(store: Store, at: At, release: Release = None, yes: Yes = False) -> None:
    """Delete what no kept snapshot reaches.

    Kept are the last 10 snapshots, every tagged one and all of the last 30 days; of an extract that has ended, only its
    last. No windows younger than 7 days go.
    """
    from songbag_store.sql.output import bytes_text
    from songbag_store.upkeep.garbage import gc as run
    from songbag_store.upkeep.pins import lost_pins, pins_text

    location, released = at(store), release or []
    garbage = run(location, release=released, yes=yes)
    if released:
        say(f"tags {'released' if yes else 'to release'}: {', '.join(released)}")
    verb = "deleted" if yes else "to delete"
    if garbage.snapshots:
        say(f"snapshots {verb}: {', '.join(map(str, garbage.snapshots))}")
    say(f"{counted(len(garbage.objects), 'object')}, {bytes_text(garbage.n_bytes)} {verb}.")
    if garbage.n_young:
        say(f"{garbage.n_young:,} more are not in use, but are kept because they may be younger than 7 days.")
    if (garbage.objects or released) and not yes:
        words = ["songbag", "gc", store, *(word for tag in released for word in ("--release", tag)), "--yes"]
        say(f"Nothing was deleted. To do it: {shlex.join(words)}")
    if pins := [pin for pin in lost_pins(location.storage()) if pin.tag not in released]:
        say(pins_text(pins, store))


@commands.command()
@with_location(snapshot=False)
def history(store: Store, at: At, form: Form = None, output: Output = None) -> None:
    """List the snapshots, newest first: number, time, songs, what changed, tags."""
    from songbag_store.compat import arrow_without_pandas

    arrow_without_pandas()
    from songbag_store.sql.drawing import print_table
    from songbag_store.upkeep.pins import lost_pins, pins_text
    from songbag_store.upkeep.summary import history as run

    location, write = at(store), chosen_writer(form, output)
    table = run(location, arrow=True)
    if write is not None:
        write(table)
    elif table.num_rows:
        # Names of tags are long: beside the changes neither would be legible in 80 columns.
        print_table(table.drop_columns("tags"))
        for number, names in zip(table["snapshot"].to_pylist(), table["tags"].to_pylist(), strict=True):
            if names:
                say(f"snapshot {number} is kept by: {names}")
    else:
        say("Nothing was committed yet.")
    if pins := lost_pins(location.storage()):
        say(pins_text(pins, store), file=None if write is None else sys.stderr)


def verify_store(store: Location, full: bool) -> None:
    """Verify a store and print what is found; the command `verify` is training's, because it also takes a run."""
    from songbag_store.store import SongStore
    from songbag_store.upkeep.verify import not_sealed, report, unsealed_text, verify as run

    opened = SongStore.open(store)
    damages = run(opened, full=full)
    if unsealed := not_sealed(opened):
        say(unsealed_text(unsealed))
    if not damages:
        n_songs, how = opened.inside.places.num_rows, "every byte" if full else "every size"
        say(f"Snapshot {opened.snapshot} of {store.address} is whole: {counted(n_songs, 'song')}, {how} checked.")
        return
    say(report(damages))
    hit = {song_id for damage in damages for song_id in damage.song_ids}
    say(f"{counted(len(damages), 'object')} damaged, {counted(len(hit), 'song')} hit.")
    if hit:
        command = f"songbag repair {shlex.quote(store.address)}{' --full' * full}"
        say(f"Restore the objects from a copy, or take the songs out: {command}")
    raise typer.Exit(1)


@commands.command()
@with_location(snapshot=False)
def repair(store: Store, at: At, full: Full = False) -> None:
    """Take the songs that verify names out of the index, so that the next extract computes them again."""
    from songbag_store.store import SongStore
    from songbag_store.upkeep.verify import repair as run, report, verify

    opened = SongStore.open(at(store))
    damages = verify(opened, full=full)
    if not damages:
        say(f"Nothing is damaged. Snapshot {opened.snapshot}.")
        return
    say(report(damages))
    after, n_removed = run(opened, damages)
    say(
        f"{counted(n_removed, 'song')} left the index; "
        f"snapshot {after.snapshot} has {after.inside.state.content.n_rows:,}."
    )
    if n_removed:
        say("The next extract computes them again. Columns that came by relabel must be given again:")
        say(f"snapshot {opened.snapshot} still has them.")
