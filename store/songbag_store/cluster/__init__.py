"""A Dask cluster: one that is started here, or one that is already there. Dask comes with an extra."""

__all__ = ["cluster", "limits"]
