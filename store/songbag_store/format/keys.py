"""Keys of a store's objects."""

GROUP = "features.zarr"
