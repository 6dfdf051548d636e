"""Which songs train, validate and test: dealt, grouped, saved, checked for leaks."""

__all__ = ["deal", "division", "groups", "split"]
