"""The disk format: every key, document and column, parsed once and strictly."""

__all__ = [
    "array",
    "check",
    "declaration",
    "document",
    "extractor",
    "facts",
    "failure_codes",
    "index",
    "keys",
    "sealed",
    "spec",
    "work",
]
