"""The commands `embed` and `similar`. Heavy imports happen inside."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from songbag_store.cli.options import At, Form, Output, Store, with_location
from songbag_store.cli.wording import AsOptions
from songbag_store.progress import shown_on
from songbag_store.terminal import say
from songbag_store.words import counted
from songbag_training.cli.quiet import quiet_start
from songbag_training.cli.run import PlugIn, RunFolder

_SONGS_HELP = "A .parquet file with a vector for each song: song_id, vector."
_RUN_HELP = "Compare by the song vectors of this run, for which every window is read."


@with_location(cache=True)
def embed(
    context: typer.Context,
    run: RunFolder,
    store: Store,
    at: At,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="STORE2", help="The store of embeddings; made if need be.")
    ] = None,
    songs: Annotated[Path | None, typer.Option(metavar="FILE", help=_SONGS_HELP)] = None,
    encoder: PlugIn = None,
) -> None:
    """Make a store whose windows are a run's embeddings, and a file with a vector for each song.

    Run it again after an interruption, and when the store has new songs: only what is missing is embedded.
    """
    with quiet_start():
        from songbag_training.apply.embed import embed as run_embed
    shown = AsOptions(shown_on(sys.stderr), context.command)
    place = None if output is None else dataclasses.replace(at(output), snapshot=None)
    done = run_embed(run, at(store), place, songs=songs, encoder=encoder, progress=shown)
    if songs is not None:
        say(f"{counted(done.n_vectors, 'song vector')}: {songs}")
    if done.store is None:
        return
    known, snapshot = counted(done.n_known, "song was", "songs were"), f"napshot {done.store.snapshot} of {output}."
    if not done.n_songs and not done.n_failed:
        say(f"Nothing is new: {known} there already. S{snapshot}")
        return
    if done.n_known:
        say(f"{known} there already.")
    why = f" Why: songbag failures {shlex.quote(str(output))}" if done.n_failed else ""
    say(f"{counted(done.n_songs, 'song')} embedded, {done.n_failed:,} failed; s{snapshot}{why}")


@with_location(cache=True)
def similar(
    context: typer.Context,
    store: Store,
    at: At,
    song: Annotated[str | None, typer.Argument(metavar="[SONG]", help="A song id; without it, every song.")] = None,
    run: Annotated[Path | None, typer.Option(metavar="RUN", help=_RUN_HELP)] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="How many neighbours a song gets.")] = 10,
    where: Annotated[
        str | None, typer.Option(metavar="SQL", help="Look only among the songs for which it holds.")
    ] = None,
    encoder: PlugIn = None,
    form: Form = None,
    output: Output = None,
) -> None:
    """List the songs that are nearest to a song, or to every song: by the index, or by the vectors of a run."""
    from songbag_store.compat import arrow_without_pandas

    if run is None:
        arrow_without_pandas()
    from songbag_store.sql.output import chosen_format, write_table
    from songbag_training.apply.similar import find_similar

    if run is not None:
        with quiet_start():
            import songbag_training.apply.vectors  # noqa: F401 (loads TensorFlow)
    chosen = chosen_format(form, output)
    shown = AsOptions(shown_on(sys.stderr), context.command)
    found = find_similar(at(store), song, k=k, run=run, where=where, encoder=encoder, progress=shown)
    write_table(found, chosen, output)
    if not found.num_rows:
        say("There is no other song to compare with.", file=sys.stderr)
