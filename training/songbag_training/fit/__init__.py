"""Training: one run, its resumption, cross-validation."""
