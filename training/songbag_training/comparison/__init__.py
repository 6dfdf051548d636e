"""Runs side by side: a row a run, and paired differences."""

__all__ = ["compare", "listing"]
