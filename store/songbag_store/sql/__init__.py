"""Queries over the index, and tables in and out."""

__all__ = ["manifest", "output", "query", "shown"]
