"""Copies of a run that give chosen answers."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from songbag_store.format.document import write_fields
from songbag_training.runs.document import CROSS_VALIDATION
from songbag_training.runs.plan import Plan
from songbag_training.runs.run import Run


def answering(
    run: Run, folder: Path, wrong: Collection[str] = (), parts: Any = None, labels: Any = None, **changes: Any
) -> Path:
    """Copy a run that answers all test songs right but some; `parts` are other parts of songs, None for none."""
    folder.mkdir()
    for name in ("metrics.json", "split.parquet"):
        shutil.copy(run.folder / name, folder / name)
    table = run.predictions(arrow=True).to_pylist()
    classes = run.facts.classes
    table = [row for row in table if (parts or {}).get(row["song_id"], row["part"]) is not None]
    for row in table:
        row["label"] = (labels or {}).get(row["song_id"], row["label"])
        row["part"] = (parts or {}).get(row["song_id"], row["part"])
        said = classes.index(row["label"])
        said = (said + 1) % len(classes) if row["song_id"] in wrong else said
        row["predicted"] = classes[said]
        row |= {f"p_{name}": 0.8 if number == said else 0.1 for number, name in enumerate(classes)}
    pq.write_table(pa.Table.from_pylist(table), folder / "predictions.parquet")
    (folder / "run.json").write_bytes(write_fields(dataclasses.replace(run.facts, files=None, **changes)))
    return folder


def songs_tested(run: Run) -> list[str]:
    table = run.predictions(arrow=True)
    ids: list[str] = table["song_id"].filter(pc.equal(table["part"], "test")).to_pylist()
    return ids


def judging(run: Run, folder: Path, labels: dict[str, Any], shares: dict[str, list[float]], **changes: Any) -> Path:
    """Write a cross-validation of a run's store that gives songs these probabilities; changes are of the facts."""
    facts = dataclasses.replace(run.facts, files=None, **changes)
    (folder / "fold-1").mkdir(parents=True)
    (folder / "fold-1" / "run.json").write_bytes(write_fields(facts))
    shutil.copy(run.folder / "split.parquet", folder / "split.parquet")
    plan = Plan(
        store_uuid=facts.store_uuid,
        snapshot=facts.snapshot,
        label=facts.label,
        where=None,
        split_sha256=facts.split_sha256,
        folds=["a", "b"],
        config=facts.config,
    )
    plan.write(folder / CROSS_VALIDATION)
    task, ids = facts.song_task, sorted(shares)
    said = task.predicted(np.array([shares[song] for song in ids], np.float64))
    table = {"song_id": ids, "label": pa.array([labels[song] for song in ids], task.label_type)}
    table |= {"predicted": task.labels(said), "fold": ["a" if number % 2 else "b" for number in range(len(ids))]}
    table |= {f"p_{name}": [shares[song][at] for song in ids] for at, name in enumerate(task.classes)}
    pq.write_table(pa.table(table), folder / "predictions.parquet")
    return folder
