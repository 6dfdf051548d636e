"""One song: its windows and its facts, read in a process that may die of it."""

__all__ = ["clip", "containment", "direct", "facts"]
