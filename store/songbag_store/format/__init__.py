"""The disk format: every key, document and column, parsed once and strictly."""
