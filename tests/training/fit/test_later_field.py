"""What was written before a field was there stays valid: runs, resumed trainings and cross-validations."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from songbag_store.errors import UsageError
from songbag_store.format import document
from songbag_store.format.declaration import at_least, declared
from songbag_store.progress import Silent
from songbag_training import TrainConfig
from songbag_training.config import BaselineConfig
from songbag_training.errors import DamagedRun
from songbag_training.fit import cross_validation
from songbag_training.fit.pooled import CrossValidation
from songbag_training.fit.train import refuse_contradictions
from songbag_training.runs import facts, plan
from songbag_training.runs.run import Run

OLD = Path(__file__).parents[2] / "fixtures" / "training-format-1"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LaterConfig(TrainConfig):
    """A `TrainConfig` of a later songbag: with one more field."""

    noise: float = declared(0.0, "Noise that is added to the features.", rule=at_least(0), later=True)


@pytest.fixture
def later() -> Iterator[None]:
    """Make this songbag one that has the field; what it found of the types before is found again."""
    with pytest.MonkeyPatch.context() as patched:
        for module in (facts, plan):
            patched.setattr(module, "TrainConfig", LaterConfig)
            patched.setattr(module, "RunConfig", LaterConfig | BaselineConfig)
        document._hints.cache_clear()
        yield
    document._hints.cache_clear()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a copy of the folder, for what writes into it."""
    shutil.copytree(OLD, tmp_path / "old")
    return tmp_path / "old"


def edit(path: Path, **changes: object) -> None:
    """Change entries of the config in a document; None takes one out."""
    written = json.loads(path.read_text())
    config = written["config"] | changes
    written["config"] = {name: value for name, value in config.items() if value is not None or name not in changes}
    path.write_text(json.dumps(written))


def test_an_absent_entry_of_a_config_has_its_default(old: Path) -> None:
    edit(old / "run" / "run.json", mixup=None)
    assert Run.open(old / "run").facts.config == Run.open(OLD / "run").facts.config


@pytest.mark.usefixtures("later")
def test_an_old_run_has_the_default_of_a_later_field_and_is_written_as_before() -> None:
    facts = Run.open(OLD / "run").facts
    assert isinstance(facts.config, LaterConfig)
    assert facts.config.noise == 0.0
    before = json.loads((OLD / "run" / "run.json").read_text())["config"]
    # That is said by `log` now, and is left out where it is off.
    assert before.pop("tensorboard") is False
    assert facts.config.to_dict() == before


@pytest.mark.usefixtures("later")
def test_a_later_field_that_is_used_is_read(old: Path) -> None:
    edit(old / "run" / "run.json", noise=0.5)
    assert Run.open(old / "run").facts.config == LaterConfig(
        encoder="reference", bag_size=2, batch_size=4, epochs=3, learning_rate=0.01, noise=0.5
    )


def test_a_field_that_this_songbag_does_not_know_is_refused(old: Path) -> None:
    edit(old / "run" / "run.json", noise=0.5)
    with pytest.raises(DamagedRun, match="unknown fields: 'noise'"):
        Run.open(old / "run")


@pytest.mark.usefixtures("later")
def test_an_old_training_is_resumed_with_a_later_field_at_its_default_only() -> None:
    run = Run.open_unfinished(OLD / "interrupted")
    refuse_contradictions(run, {"noise": 0.0})
    with pytest.raises(UsageError, match=r"noise: is 0\.5, but it was begun with 0\.0"):
        refuse_contradictions(run, {"noise": 0.5})


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("written", [None, 0.0])
def test_an_old_cross_validation_goes_on_with_a_later_field_at_its_default_only(
    old: Path, written: float | None
) -> None:
    edit(old / "cross-validation" / "cross-validation.json", noise=written)

    def again(config: LaterConfig) -> CrossValidation:
        folder, split = old / "cross-validation", old / "folds.parquet"
        return cross_validation.cross_validate(old / "store", "label", folder, config, split=split, progress=Silent())

    config = LaterConfig(encoder="reference", bag_size=2, batch_size=8, epochs=1)
    assert len(again(config).runs) == 2
    with pytest.raises(UsageError, match=r"another cross-validation \(it differs in config\)"):
        again(dataclasses.replace(config, noise=0.5))
