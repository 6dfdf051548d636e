"""Queries over the index, and tables in and out."""

__all__ = ["drawing", "form", "manifest", "output", "query", "shown", "texts"]
