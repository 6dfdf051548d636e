"""The commands `extract`, `relabel` and `demo`."""

from songbag_pipeline.cli.commands import commands

__all__ = ["commands"]
