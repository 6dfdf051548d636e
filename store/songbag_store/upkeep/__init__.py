"""The care of a store: relabel, remove, compact, gc, verify, repair, and what is in it."""

__all__ = [
    "change",
    "classes",
    "compact",
    "comparable",
    "difference",
    "garbage",
    "notes",
    "pins",
    "sound",
    "summary",
    "verify",
]
