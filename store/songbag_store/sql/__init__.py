"""Queries over the index, and tables in and out."""
