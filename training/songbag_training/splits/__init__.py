"""Which songs train, validate and test: dealt, grouped, saved, checked for leaks."""
