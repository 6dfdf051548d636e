"""Labels to look at again: those that are probably wrong, and songs that are worth labelling next."""

__all__ = ["review", "unlabelled"]
