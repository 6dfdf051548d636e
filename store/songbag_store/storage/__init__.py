"""Where a store's objects lie: a folder or an object store, their options and their refusals."""

__all__ = ["files", "folder", "location", "objects", "own_folder", "storage"]
