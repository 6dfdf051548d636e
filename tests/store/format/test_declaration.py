"""A field is declared once: a class with one more field, in the checks, the JSON, the command line and the tables."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from songbag_store import FeatureSpec
from songbag_store.cli.options import Given, with_options
from songbag_store.errors import SpecError, UsageError
from songbag_store.format.declaration import Declared, above, at_least, between, declared, share_below_one
from tests.support.option_tables import table

Shape = Literal["round", "square"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LaterSpec(FeatureSpec):
    """A `FeatureSpec` of a later songbag: with one more field."""

    preemphasis: float = declared(
        0.0, "Strength of the pre-emphasis filter.", rule=share_below_one(), panel="Later", later=True
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Things(Declared):
    """A field of every kind."""

    shape: Shape = declared("round", "What it looks like.")
    n_sides: int = declared(4, "Sides.", rule=between(3, 12))
    width_s: float | None = declared(
        None, "How long.", rule=above(0), unit="seconds", absent="for ever", option="--width"
    )
    n_most: int | None = declared(None, "At most.", rule=at_least(0))
    loud: bool = declared(False, "Make noise.")
    path: str | Path | None = declared(None, "Where.", metavar="FILE")
    secret: int = declared(7, "Has no option.", option=None)


def said(command: Any, *arguments: str) -> str:
    app = typer.Typer()
    app.command()(with_options(command))
    done = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def test_a_new_field_is_checked() -> None:
    with pytest.raises(SpecError, match="preemphasis: is 1 but must be a number from 0 to below 1"):
        LaterSpec(preemphasis=1)
    with pytest.raises(SpecError, match="preemphasis: is 'much' but must be a number"):
        LaterSpec(preemphasis="much")  # type: ignore[arg-type]


def test_a_new_field_at_its_default_is_in_no_json_and_in_no_fingerprint() -> None:
    assert LaterSpec().to_dict() == FeatureSpec().to_dict()
    assert LaterSpec().fingerprint == FeatureSpec().fingerprint
    assert LaterSpec(n_mfcc=20).differences(LaterSpec.from_dict(FeatureSpec(n_mfcc=20).to_dict())) == {}


def test_a_new_field_with_another_value_is_in_json_fingerprint_and_differences() -> None:
    spec = LaterSpec(preemphasis=0.97)
    assert spec.fingerprint != FeatureSpec().fingerprint
    assert LaterSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert LaterSpec().differences(spec) == {"preemphasis": (0.0, 0.97)}


def test_an_earlier_songbag_refuses_what_it_does_not_know() -> None:
    with pytest.raises(SpecError, match="FeatureSpec: has unknown fields: 'preemphasis'"):
        FeatureSpec.from_dict(LaterSpec(preemphasis=0.97).to_dict())


def test_a_new_field_is_an_option_with_its_help_default_and_panel() -> None:
    def command(place: str, spec: Given[LaterSpec]) -> None:
        print(place, spec.fields, spec.make(n_mels=64).preemphasis)

    assert said(command, "here") == "here {} 0.0\n"
    assert said(command, "here", "--preemphasis", "0.5", "--window", "2") == (
        "here {'window_s': 2.0, 'preemphasis': 0.5} 0.5\n"
    )
    shown = said(command, "--help")
    assert "─ Later ─" in shown
    assert "Strength of the pre-emphasis filter. [default: 0]" in shown


def test_a_new_field_is_in_the_table() -> None:
    assert table(LaterSpec).splitlines()[-1] == (
        "| `--preemphasis` | `preemphasis` | a number from 0 to below 1 | 0 | Strength of the pre-emphasis filter. |"
    )


def test_options_of_every_kind() -> None:
    def command(
        things: Given[Things], other: Annotated[bool, typer.Option("--other", help="By hand.")] = False
    ) -> None:
        print(things.make())

    assert said(command) == f"{Things()}\n"
    given = ["--shape", "square", "--n-sides", "5", "--width", "2", "--n-most", "0", "--loud", "--path", "x"]
    expected = Things(shape="square", n_sides=5, width_s=2.0, n_most=0, loud=True, path="x")
    assert said(command, *given) == f"{expected}\n"
    shown = said(command, "--help")
    for words in ("What it looks like: round | square. [default: round]", "How long, in seconds. [default: for ever]"):
        assert words in shown
    assert "secret" not in shown


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("shape", "oval", "one of round, square"),
        ("shape", ["round"], "one of round, square"),
        ("shape", None, "one of round, square"),
        ("n_sides", 2, "a whole number from 3 to 12"),
        ("n_sides", 4.0, "a whole number from 3 to 12"),
        ("n_sides", True, "a whole number from 3 to 12"),
        ("n_sides", None, "a whole number from 3 to 12"),
        ("width_s", 0, "a number above 0"),
        ("width_s", float("inf"), "a number above 0"),
        ("width_s", float("nan"), "a number above 0"),
        ("width_s", False, "a number above 0"),
        ("n_most", 2**32, "a whole number from 0"),
        ("loud", 1, "true or false"),
        ("path", 1, "a text"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_words(name: str, value: object, wanted: str) -> None:
    with pytest.raises(UsageError) as refused:
        Things(**{name: value})  # type: ignore[arg-type]
    assert (refused.value.place, refused.value.what) == (name, f"is {value!r} but must be {wanted}")


def test_whole_numbers_become_floats_where_floats_are_wanted() -> None:
    assert isinstance(Things(width_s=2).width_s, float)


def test_numbers_of_numpy_are_taken_as_those_of_python() -> None:
    made = Things(n_sides=np.int64(4), width_s=np.float32(0.5), loud=np.bool_(True))  # type: ignore[arg-type]
    assert made == Things(n_sides=4, width_s=0.5, loud=True)
    assert {type(value) for value in (made.n_sides, made.width_s, made.loud)} == {int, float, bool}
    assert type(Things(width_s=np.float64(0.5)).width_s) is float
    assert FeatureSpec(n_mfcc=np.int16(20)).fingerprint == FeatureSpec(n_mfcc=20).fingerprint  # type: ignore[arg-type]
    for wrong in (np.array([4]), np.float64(4), np.str_("4")):
        with pytest.raises(UsageError, match="a whole number from 3 to 12"):
            Things(n_sides=wrong)  # type: ignore[arg-type]
