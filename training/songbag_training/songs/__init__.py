"""Songs as a network sees them: labels, bags as `tf.data`, augmentation, scaling."""

__all__ = [
    "augmentation",
    "bags",
    "columns",
    "cosines",
    "costs",
    "labels",
    "pieces",
    "sampling",
    "scaling",
    "spelling",
    "task",
]
