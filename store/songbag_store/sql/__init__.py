"""Queries over the index, and tables in and out."""

__all__ = ["form", "manifest", "output", "query", "shown"]
