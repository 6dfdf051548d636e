"""The command `pretrain`. Heavy imports happen inside."""

from __future__ import annotations

import sys

import typer

from songbag_store.cli.options import At, Given, Store, with_location, with_options
from songbag_store.cli.wording import AsOptions
from songbag_store.progress import shown_on
from songbag_training.cli.quiet import quiet_start
from songbag_training.cli.train import Resume, RunFolder, Where, given_options
from songbag_training.config import PretrainConfig
from songbag_training.runs.interruption import refuse_unfinished, telling


@with_location(cache=True)
@with_options
def pretrain(
    context: typer.Context,
    store: Store,
    at: At,
    output: RunFolder,
    where: Where = None,
    *,
    config: Given[PretrainConfig],
    resume: Resume = False,
) -> None:
    """Learn an encoder from all songs of a store, with labels or without: for `train --from RUN`."""
    chosen, place = config.make(), at(store)
    progress = AsOptions(shown_on(sys.stdout), context.command)
    if not resume:
        refuse_unfinished(output, place)
    with telling(output, place, progress):
        with quiet_start(progress):
            from songbag_training.fit import pretraining
            from songbag_training.fit.train import go_on, refuse_contradictions
            from songbag_training.runs.run import Run
        if not resume:
            material = pretraining.prepare_songs(place, where, chosen, progress=progress)
            pretraining.pretrain_on(material, chosen, output, progress)
            return
        run, given = Run.open_unfinished(output), given_options(place, config, where=where)
        refuse_contradictions(run, given)
        go_on(run, place, given.get("encoder"), progress, epochs=given.get("epochs"))
