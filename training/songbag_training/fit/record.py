"""What a run records of how it was made. TensorFlow is loaded only for a network."""

from __future__ import annotations

import platform
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import songbag_store
from songbag_store import SongStore
from songbag_store.errors import StoreError
from songbag_store.format import keys
from songbag_store.progress import Progress
from songbag_training.fit.material import Material
from songbag_training.runs.facts import RunFacts
from songbag_training.runs.run import Run
from songbag_training.splits.split import Split


def facts_of(material: Material, **others: Any) -> RunFacts:
    """Return the facts of a new run of a network; `others` are those that depend on the task."""
    import keras
    import numpy as np
    import tensorflow as tf

    others |= {"label": material.label, "where": material.where, "config": material.config}
    others["parent"] = material.parent.recorded if material.parent else None
    return new_facts(material.store, material.split, (keras, tf, np), **others)


def new_facts(store: SongStore, split: Split, libraries: Sequence[ModuleType], **others: Any) -> RunFacts:
    """Return the facts of a new run; `others` are those that do not follow from its store and its split."""
    return RunFacts(
        run_id=uuid.uuid4().hex,
        created_at=now(),
        store_location=store.location.absolute().address,
        store_uuid=store.uuid,
        snapshot=store.snapshot,
        snapshot_sha256=store.inside.state.sha256,
        spec=store.spec,
        fingerprint=store.spec.fingerprint,
        split_sha256=split.digest,
        versions={
            "songbag": songbag_store.__version__,
            **{library.__name__: library.__version__ for library in libraries},
            "python": platform.python_version(),
        },
        **others,
    )


def pin(run: Run, store: SongStore, progress: Progress) -> None:
    """Tag the snapshot, so that `songbag gc` keeps it; a store that cannot be written is no reason to stop."""
    name = f"run-{run.facts.run_id}"
    if keys.tag_key(name) in {entry.key for entry in store.inside.storage.entries(keys.TAGS)}:
        return  # the interrupted process did it
    try:
        said = {"run": str(run.folder.absolute()), "host": platform.node(), "label": run.facts.label}
        store.tag(name, said)
    except StoreError as error:
        progress.note(f"note: snapshot {store.snapshot} could not be pinned, and gc may delete it ({error.what})")


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
