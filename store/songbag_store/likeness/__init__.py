"""Songs that are alike: what the index says of each, the nearest, and their windows compared."""

__all__ = ["alike", "copies", "nearest", "points", "search", "statistics"]
