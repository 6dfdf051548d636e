"""The commands in the order of work: their groups in `songbag --help`, and an example of each.

A new command gets its line in `GUIDE`, in whichever package it is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from typer.core import TyperGroup

from songbag_store.cli.usage import unknown_command

GUIDE: dict[str, dict[str, str]] = {
    "Begin": {
        "doctor": "songbag doctor",
        "demo": "songbag demo my-demo",
    },
    "From songs to a store": {
        "extract": "songbag extract my-music my-store --label-from-folder",
        "info": "songbag info my-store",
        "failures": "songbag failures my-store",
    },
    "Ask the store": {
        "query": "songbag query my-store 'select label, count(*) from songs group by 1'",
        "copies": "songbag copies my-store -o copies.csv",
        "similar": "songbag similar my-store album/song.mp3 -k 5",
    },
    "Train": {
        "split": "songbag split my-store --label label --group artist -o split.parquet",
        "baseline": "songbag baseline my-store --label label -o my-floor",
        "train": "songbag train my-store --label label -o my-run --epochs 40",
        "pretrain": "songbag pretrain my-store -o my-encoder",
        "cross-validate": "songbag cross-validate my-store --label label --folds 5 -o my-folds",
        "sweep": "songbag sweep my-store --label label --set pooling=mean,max -o my-sweep",
    },
    "Use a run": {
        "runs": "songbag runs my-runs --sort balanced-accuracy",
        "compare": "songbag compare my-run my-other-run",
        "evaluate": "songbag evaluate my-run",
        "review": "songbag review my-folds -o fix.csv",
        "report": "songbag report my-run --open",
        "predict": "songbag predict my-run new-songs -o predictions.csv",
        "explain": "songbag explain my-run album/song.mp3 -o clip.flac",
        "embed": "songbag embed my-run my-store -o my-embeddings --songs vectors.parquet",
        "export": "songbag export my-run --format onnx -o model.onnx",
    },
    "Look after a store": {
        "relabel": "songbag relabel my-store labels.csv",
        "remove": "songbag remove my-store --where \"label = 'noise'\"",
        "history": "songbag history my-store",
        "diff": "songbag diff my-store --from 1",
        "verify": "songbag verify my-store --full",
        "repair": "songbag repair my-store",
        "compact": "songbag compact my-store",
        "gc": "songbag gc my-store --yes",
    },
}
"""The groups in the order of work; in each, the commands with an example."""

LINE = 76
"""Most letters of an example: what fits on one line of a terminal of 80 columns."""


_PLACEHOLDERS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}


class Guided(TyperGroup):
    """The root command, with its commands in the order and the groups of `GUIDE`; others come last."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        guided: dict[str, Any] = {}
        for group, examples in GUIDE.items():
            for name, example in examples.items():
                # A command is not there if its package is not.
                command: Any = self.commands.get(name)
                if command is not None:
                    command.rich_help_panel = group
                    command.epilog = f"Example:\n\n  {_unmarked(example)}"
                    guided[name] = command
        self.commands = guided | dict(self.commands)
        for command in (self, *self.commands.values()):
            for parameter in command.params:
                parameter.metavar = _placeholder(parameter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command; one that does not exist is refused with the names that are like it."""
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise unknown_command(args[0], list(self.commands))
        return super().resolve_command(ctx, args)


def _placeholder(parameter: Any) -> str | None:
    """Return what stands for the value of an option in its help; nothing for a switch, which takes none."""
    if parameter.metavar is not None or parameter.param_type_name == "argument":
        return cast("str | None", parameter.metavar)
    return "" if parameter.is_flag else _PLACEHOLDERS.get(parameter.type_descriptor.annotation)


def _unmarked(text: str) -> str:
    """Return text in which rich sees no markup."""
    return text.replace("[", "\\[")
