from __future__ import annotations

from typing import Any

import pytest

from songbag_training import TrainConfig
from songbag_training.errors import ModelError


def test_a_config_survives_its_dictionary() -> None:
    config = TrainConfig(epochs=3, early_stopping=2)
    assert TrainConfig(**config.to_dict()) == config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("encoder", "huge"),
        ("encoder", "nets:small()"),
        ("encoder", ["compact"]),
        ("pooling", "sum"),
        ("bag_size", 0),
        ("batch_size", True),
        ("epochs", 1.5),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("class_weight", "auto"),
        ("label_smoothing", 1.0),
        ("label_smoothing", -0.1),
        ("early_stopping", 0),
        ("seed", -1),
        ("seed", 2**32),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(ModelError, match=name.replace("_", "-")):
        TrainConfig(**{name: value})
