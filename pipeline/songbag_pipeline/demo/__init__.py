"""The collection behind ``songbag demo``: made-up songs of made-up genres, and the walk that runs songbag on them."""

__all__ = ["walkthrough"]
