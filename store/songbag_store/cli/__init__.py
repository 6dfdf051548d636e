"""The `songbag` command and the commands of a store."""

from songbag_store.cli.root import main

__all__ = ["main", "options", "upkeep", "wording"]
