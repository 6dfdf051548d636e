from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from songbag_store import FeatureSpec
from songbag_store.errors import SpecError


def test_the_defaults_are_the_reference_recipe() -> None:
    spec = FeatureSpec()
    assert (spec.window_samples, spec.window_hop_samples, spec.window_shape) == (110_250, 55_125, (13, 216))


def test_a_hop_left_out_is_half_a_window_and_has_the_same_fingerprint_as_that_hop_given() -> None:
    assert FeatureSpec(window_s=1.0) == FeatureSpec(window_s=1.0, window_hop_s=0.5)
    assert FeatureSpec(window_s=1.0).fingerprint == FeatureSpec(window_s=1, window_hop_s=0.5).fingerprint


def test_deltas_are_further_channels_below_the_features() -> None:
    assert FeatureSpec(deltas=2).window_shape == (39, 216)
    assert FeatureSpec(deltas=2).n_channels == 3


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "logmel"},
        {"sample_rate_hz": 16000},
        {"n_fft": 2048},
        {"hop_length": 256},
        {"n_mels": 64},
        {"n_mfcc": 20},
        {"deltas": 1},
        {"window_s": 2.0},
        {"window_hop_s": 5.0},
        {"top_db": 60.0},
        {"max_duration_s": 60.0},
        {"short_songs": "reject"},
        {"encoding": "float32"},
    ],
)
def test_every_field_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert FeatureSpec(**change).fingerprint != FeatureSpec().fingerprint


def test_the_number_of_coefficients_does_not_matter_to_log_mel() -> None:
    assert FeatureSpec(kind="logmel", n_mfcc=20).fingerprint == FeatureSpec(kind="logmel").fingerprint


@given(
    st.builds(
        FeatureSpec,
        kind=st.sampled_from(["mfcc", "logmel"]),
        n_mfcc=st.integers(1, 40),
        n_mels=st.integers(40, 128),
        window_s=st.floats(0.5, 30),
        encoding=st.sampled_from(["int16", "float32"]),
        max_duration_s=st.none() | st.floats(1, 1e5),
    )
)
def test_a_spec_survives_json(spec: FeatureSpec) -> None:
    again = FeatureSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert again.fingerprint == spec.fingerprint


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"kind": "chromatic"}, "kind"),
        ({"n_fft": 1023}, "n_fft"),
        ({"n_fft": True}, "n_fft"),
        ({"n_fft": 1024.0}, "n_fft"),
        ({"hop_length": 2000}, "hop_length"),
        ({"n_mfcc": 200}, "n_mfcc"),
        ({"window_s": 0.01}, "window_s"),
        ({"window_s": float("nan")}, "window_s"),
        ({"window_hop_s": 0.0}, "window_hop_s"),
        ({"deltas": 3}, "deltas"),
        ({"n_mels": 500}, "float32"),
        ({"max_duration_s": -1.0}, "max_duration_s"),
        ({"max_duration_s": 1e308}, "max_duration_s"),
        ({"max_duration_s": 1e-320}, "max_duration_s"),
        ({"window_hop_s": 1e308}, "window_hop_s"),
        ({"window_s": 1e308}, "window_s"),
        ({"definition": 2}, "definition"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(SpecError, match=named):
        FeatureSpec(**fields)


def test_unknown_fields_are_refused_and_absent_ones_have_their_default() -> None:
    with pytest.raises(SpecError, match="unknown fields: 'colour'"):
        FeatureSpec.from_dict(FeatureSpec().to_dict() | {"colour": "red"})
    assert FeatureSpec.from_dict({}) == FeatureSpec()


def test_the_fingerprint_of_the_reference_recipe_is_that_of_the_first_stores() -> None:
    assert FeatureSpec().fingerprint == "0c22f66315a36c3090708fdca0f9c16446ba1e5acfe04f3601895b141f58ecf9"


def test_differences_name_the_fields_with_both_values() -> None:
    assert FeatureSpec().differences(FeatureSpec(n_mfcc=20)) == {"n_mfcc": (13, 20)}
