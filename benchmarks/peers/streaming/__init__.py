"""Bags of shuffled songs into NumPy batches, from songbag's store and from other formats with their own loaders."""
