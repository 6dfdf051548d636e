"""The commands of training."""

from __future__ import annotations

import typer

from songbag_training.cli.comparison import compare, runs
from songbag_training.cli.explain import explain
from songbag_training.cli.pretrain import pretrain
from songbag_training.cli.review import review
from songbag_training.cli.run import evaluate, export, info, predict, report, verify
from songbag_training.cli.train import baseline, cross_validate, split, sweep, train
from songbag_training.cli.vectors import embed, similar

__all__ = ["commands"]

commands = typer.Typer()
for command in (
    train,
    split,
    baseline,
    cross_validate,
    sweep,
    pretrain,
    evaluate,
    predict,
    explain,
    export,
    embed,
    similar,
    runs,
    compare,
    review,
    info,
    report,
    verify,
):
    commands.command(command.__name__.replace("_", "-"))(command)
