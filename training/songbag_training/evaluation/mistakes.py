"""The most confident mistakes: where a model is wrong and sure of it, songs are mislabelled as often as misheard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from songbag_training.evaluation.metrics import confidences
from songbag_training.types import Floats, Label

SHOWN = 20


def confident_mistakes(
    song_ids: Sequence[str],
    labels: Sequence[Label],
    true: npt.NDArray[Any],
    probabilities: Floats,
    classes: Sequence[str],
    *,
    limit: int = SHOWN,
) -> list[dict[str, Any]]:
    """Return wrong answers, the surest first: song_id, label, said, probability.

    `said` is the predicted class; multi-label it is ``rock`` or ``not rock``, and a song may come several times.
    """
    hits, confidence = confidences(true, probabilities)
    wrong = np.flatnonzero(~hits)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")[:limit]]
    found = []
    for place in surest.tolist():
        row, said = _answer(place, true, probabilities, classes)
        found.append(
            {
                "song_id": song_ids[row],
                "label": labels[row] if true.ndim == 1 else list(labels[row]),
                "said": said,
                "probability": float(confidence[place]),
            }
        )
    return found


def _answer(place: int, true: npt.NDArray[Any], probabilities: Floats, classes: Sequence[str]) -> tuple[int, str]:
    """Return the song that an answer is about, and what it says."""
    if true.ndim == 1:
        return place, classes[int(probabilities[place].argmax())]
    row, number = divmod(place, len(classes))
    return row, classes[number] if probabilities[row, number] > 0.5 else f"not {classes[number]}"
