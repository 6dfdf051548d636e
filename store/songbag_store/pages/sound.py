"""Where the browser finds the audio of a song: the file itself, or its bytes in the page."""

from __future__ import annotations

import base64
import mimetypes
from pathlib import Path

MOST_BYTES = 16 * 10**6
"""A larger file is not put into a page."""
MOST_BYTES_IN_ALL = 64 * 10**6


def audio_address(path: str | None) -> str | None:
    """Return the address of an audio file of this machine; None if there is no such file."""
    try:
        return Path(path).resolve().as_uri() if path and "://" not in path and Path(path).is_file() else None
    except (OSError, ValueError):
        return None


def embedded_audio(path: str, room_bytes: int) -> str | None:
    """Return an audio file as an address that holds its bytes; None if it cannot be read or is too large.

    Parameters
    ----------
    path : str
    room_bytes : int
        How many bytes may still be put in; see `MOST_BYTES` too.
    """
    kind = mimetypes.guess_type(path)[0] or ""
    try:
        if not kind.startswith(("audio/", "video/")) or Path(path).stat().st_size > min(MOST_BYTES, room_bytes):
            return None
        data = Path(path).read_bytes()
    except (OSError, ValueError):
        return None
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
