"""The page of a run or a cross-validation, made with the store's page kit."""

__all__ = ["material", "run"]
