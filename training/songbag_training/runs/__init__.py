"""The run folder: what a training leaves behind, and how good it is."""

__all__ = [
    "attempt",
    "checkpoints",
    "document",
    "evaluate",
    "facts",
    "history",
    "interruption",
    "overlap",
    "plan",
    "run",
    "seals",
    "store",
    "summary",
    "verification",
    "weights",
]
