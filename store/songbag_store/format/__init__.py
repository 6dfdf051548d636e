"""The disk format: every key, document and column, parsed once and strictly."""

__all__ = [
    "array",
    "declaration",
    "document",
    "encoding",
    "facts",
    "failure_codes",
    "index",
    "index_check",
    "keys",
    "repeats",
    "sealed",
    "spec",
]
