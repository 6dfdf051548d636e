"""The commands `extract` and `demo`."""

from songbag_pipeline.cli.commands import commands

__all__ = ["commands"]
