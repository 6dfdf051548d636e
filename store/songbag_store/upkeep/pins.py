"""Snapshots that are kept only for training runs whose folders are gone."""

from __future__ import annotations

import dataclasses
import platform
import shlex
from pathlib import Path

from songbag_store.commits.history import Tag, read_tags
from songbag_store.format import keys
from songbag_store.format.document import parse_document
from songbag_store.storage.files import read_bounded
from songbag_store.storage.storage import Storage
from songbag_store.terminal import plain_text

_LARGEST_BYTES = 32 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class LostPin:
    """A tag of a run that is not where it was.

    Attributes
    ----------
    snapshot : int
        The snapshot that it pins.
    tag : str
        Its name.
    folder : str
        Where the run was.
    host : str
        Name of the machine that made it; empty if it was not noted.
    """

    snapshot: int
    tag: str
    folder: str
    host: str = ""


def lost_pins(storage: Storage) -> list[LostPin]:
    """Return the tags of the snapshots that nothing pins but runs whose folders are not there.

    A folder may lie on another machine, or have been moved: only the user can tell. What cannot be looked at counts as
    there.
    """
    tags = read_tags(storage)
    needed = {tag.snapshot for tag in tags if not _is_lost(tag)}
    return [
        LostPin(tag.snapshot, tag.name, str(tag.said["run"]), str(tag.said.get("host", "")))
        for tag in tags
        if tag.snapshot is not None and tag.snapshot not in needed
    ]


def _is_lost(tag: Tag) -> bool:
    """Return whether a tag is that of a run which is not in its folder."""
    folder = tag.said.get("run")
    if not isinstance(folder, str) or not keys.is_tag(tag.name) or not tag.name.startswith("run-"):
        return False
    try:
        # Another run may have taken the folder.
        facts = parse_document(read_bounded(Path(folder, "run.json"), _LARGEST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return f"run-{facts.get('run_id')}" != tag.name


def pins_text(pins: list[LostPin], store: str) -> str:
    """Return lost pins as text, with the command that releases them."""
    lines = ["Kept only for runs that are not there any more, as far as this machine can see:"]
    for pin in sorted(pins, key=lambda pin: (pin.snapshot, pin.tag)):
        made_on = f", made on {plain_text(pin.host)}" if pin.host not in ("", platform.node()) else ""
        lines.append(f"  snapshot {pin.snapshot}: {pin.tag} ({plain_text(pin.folder)}{made_on})")
    names = " ".join(f"--release {pin.tag}" for pin in pins)
    lines.append(f"If they were deleted, not moved: songbag gc {shlex.quote(store)} {names}")
    return "\n".join(lines)
