"""What of a folder or a bucket is taken."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from functools import lru_cache

from songbag_store.errors import UsageError

_HIDDEN = re.compile(r"\.[^.]")
_SYSTEM = frozenset(
    # Trash of Windows and of NAS boxes; that of Linux and macOS is hidden.
    {"$recycle.bin", "recycler", "recycled", "#recycle", "@recycle", "network trash folder", "files_trashbin"}
    # Earlier versions.
    | {"~snapshot", "#snapshot", "@snapshot", "@recently-snapshot", "backups.backupdb", "files_versions", "_gsdata_"}
    # What file systems, NAS boxes and desktops keep for themselves.
    | {"system volume information", "lost+found", "@eadir", "@tmp", "@__thumb", "@synoresource", "@sharebin"}
    | {"temporary items", "thevolumesettingsfolder", "desktop db", "desktop df", "desktop.ini", "thumbs.db", "icon\r"}
    | {"__macosx", "$extend", "$winreagent"}
)
_SYSTEM_KINDS = re.compile(r"found\.[0-9]{3}|~syncthing~.*|.*\.(download|crdownload|part|partial)", re.DOTALL)
_APPLE_DOUBLE = "._"

HIDDEN = "hidden, trash, version and system entries"
APPLE_DOUBLE = "AppleDouble files (._name), which hold no audio,"
EXCLUDED = "entries that `exclude` names"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is taken of a folder or a bucket; docs/reference/sources.md has the rules.

    Raises
    ------
    UsageError
        If a pattern is empty.
    """

    hidden: bool = False
    exclude: tuple[str, ...] = ()
    follow_links: bool = False
    _used: set[str] = dataclasses.field(default_factory=set, compare=False, repr=False)

    def __post_init__(self) -> None:
        for pattern in self.exclude:
            if not pattern.strip("./"):
                remedy = "Write it like *.wav, demos or live/**."
                raise UsageError(f"the pattern {pattern!r} names nothing", place="exclude", remedy=remedy)

    def reason(self, name: str, path: str, *, is_folder: bool) -> str | None:
        """Return why an entry is left out, None if it is taken.

        Parameters
        ----------
        name, path : str
            Its name, and its path below the source, with ``/``.
        is_folder : bool
            Whether it is a folder: all below it goes with it.
        """
        if not self.hidden and is_hidden(name):
            return HIDDEN
        if not is_folder and name.startswith(_APPLE_DOUBLE):
            return APPLE_DOUBLE
        named = [pattern for pattern in self.exclude if matches(pattern, name, path, is_folder=is_folder)]
        self._used.update(named)
        return EXCLUDED if named else None

    def reason_for_key(self, key: str) -> str | None:
        """Return why an object of a bucket is left out, by the parts of its key; None if it is taken."""
        parts = key.split("/")
        for end, name in enumerate(parts, 1):
            if reason := self.reason(name, "/".join(parts[:end]), is_folder=end < len(parts)):
                return reason
        return None

    def unused(self) -> list[str]:
        """Return the patterns that have named nothing so far."""
        return [pattern for pattern in dict.fromkeys(self.exclude) if pattern not in self._used]


def is_hidden(name: str) -> bool:
    """Return whether an entry of this name is hidden, or belongs to a trash, an archive of versions or a system.

    One dot at the start hides; several do not: "..But Seriously" and "...And Justice for All" are albums.
    """
    low = name.casefold()
    return bool(_HIDDEN.match(name)) or low in _SYSTEM or bool(_SYSTEM_KINDS.fullmatch(low))


def matches(pattern: str, name: str, path: str, *, is_folder: bool) -> bool:
    """Return whether a pattern names an entry: by its name, or by its whole path if there is a ``/`` in the pattern."""
    if pattern.endswith("/") and not is_folder:
        return False
    whole, regex = _compiled(pattern)
    text = unicodedata.normalize("NFC", path if whole else name)
    # So that a name with brackets can be given as it is.
    return bool(regex.fullmatch(text)) or text == unicodedata.normalize("NFC", pattern.strip("/"))


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> tuple[bool, re.Pattern[str]]:
    """Return whether a pattern is for whole paths, and its regular expression."""
    text = unicodedata.normalize("NFC", pattern.removeprefix("./"))
    whole = "/" in text.rstrip("/")
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?\]?[^\]/]*\])", text.strip("/"))
    return whole, re.compile("".join(map(_part, parts)), re.DOTALL)


def _part(part: str) -> str:
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if part in wild:
        return wild[part]
    if part.startswith("[") and part.endswith("]") and part not in ("[]", "[!]"):
        return _set(part[1:-1])
    return re.escape(part)


def _set(inside: str) -> str:
    """Return the regular expression for what stands between brackets; a range that ends before it begins is empty."""
    others = inside.startswith("!")
    found = re.findall(r"(.)-(.)|(.)", inside[others:], re.DOTALL)
    ranges = [(low or one, high or one) for low, high, one in found]
    chosen = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges if low <= high)
    if others:
        return f"[^/{chosen}]"
    return f"(?!/)[{chosen}]" if chosen else "(?!)"
