"""A finished run put to use: predict, export."""
