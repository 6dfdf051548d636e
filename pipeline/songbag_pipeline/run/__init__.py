"""A run of extraction: plan, coordinate, batch, cluster, workers."""
