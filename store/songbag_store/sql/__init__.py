"""Queries over the index, and tables in and out."""

__all__ = [
    "bounds",
    "drawing",
    "form",
    "likely_bounds",
    "manifest",
    "output",
    "query",
    "shown",
    "texts",
    "window_labels",
]
