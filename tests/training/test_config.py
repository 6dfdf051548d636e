from __future__ import annotations

from typing import Any

import pytest

from songbag_store import FeatureSpec
from songbag_training import TrainConfig
from songbag_training.errors import ModelError


def test_a_config_survives_its_dictionary() -> None:
    config = TrainConfig(epochs=3, early_stopping=2)
    assert TrainConfig.from_dict(config.to_dict()) == config


def test_whole_numbers_are_taken_where_any_number_will_do() -> None:
    assert TrainConfig(mixup=0, time_shift=1) == TrainConfig(mixup=0.0, time_shift=1.0)


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
        ("weight_decay", -0.1),
        ("mixup", float("inf")),
        ("gain_db", "6"),
        ("time_shift", 1.1),
        ("band_mask", True),
        ("window_dropout", 1.0),
        ("label_smoothing", 1.0),
        ("label_smoothing", -0.1),
        ("early_stopping", 0),
        ("seed", -1),
        ("seed", 2**32),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(ModelError, match=name):
        TrainConfig(**{name: value})


def test_the_encoder_is_chosen_by_the_windows_unless_it_is_named() -> None:
    names: dict[str, Any] = {"extractor": "a:b", "extractor_version": "1", "extractor_sha256": "0" * 64, "own_bands": 8}
    embeddings = FeatureSpec(kind="own", own_frames=1, **names)
    assert TrainConfig().encoder_for(embeddings) == "dense"
    assert TrainConfig().encoder_for(FeatureSpec(kind="own", own_frames=2, **names)) == "compact"
    assert TrainConfig().encoder_for(FeatureSpec()) == "spectral"
    assert TrainConfig().encoder_for(FeatureSpec(kind="logmel")) == "compact"
    assert TrainConfig(encoder="reference").encoder_for(embeddings) == "reference"
