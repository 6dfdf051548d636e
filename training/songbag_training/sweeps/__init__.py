"""A sweep: many trainings of one store that differ in some settings, and the best of them."""

__all__ = ["sweep"]
