"""Runs side by side: a row a run, paired differences, and their page."""

__all__ = ["compare", "judged", "listing", "page"]
