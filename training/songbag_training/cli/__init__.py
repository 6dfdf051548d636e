"""The commands of training."""

from songbag_training.cli.train import commands

__all__ = ["commands"]
