"""The error codes of failed songs, and what a user can do about each."""

REMEDIES = {
    "missing": "Put the file back, or take the song out of the manifest.",
    "permission-denied": "Give the user who runs the workers read access, then extract with `retry_failed=True`.",
    "not-a-file": "Give a regular file: folders, pipes and devices are not read.",
    "unreadable-file": "Reading gave an error: check disk and network, then extract with `retry_failed=True`.",
    "changed-while-read": "Something wrote to the file: extract with `retry_failed=True` when it is done.",
    "empty-file": "The file has no bytes: fetch it again.",
    "not-audio": "songbag knows no audio format with this content, even if the name says so: replace or remove it.",
    "unreadable-header": "The file is cut off or damaged at its start: fetch it again.",
    "unsupported-codec": "Convert it, for instance to FLAC; protected (DRM) files cannot be read.",
    "no-audio": "The file has a valid start and no samples: fetch it again.",
    "corrupt": "Too much of the file could not be decoded: fetch it again.",
    "too-short": "The song is shorter than the spec allows; leave it out, or use a store with a shorter window.",
    "part-beyond-end": "The file is shorter than the manifest says: correct `start_s`, and extract again.",
    "non-finite": "The samples hold NaN or infinite values: export the file again.",
    "out-of-range": "The samples are far beyond +-1, or the store needs `encoding='float32'` or a larger step.",
    "bad-sample-rate": "The header gives a rate outside 1 to 768 kHz: repair it.",
    "too-many-channels": "More than 64 channels: mix it down first.",
    "decoder-crash": "The decoder died on this file, alone in its process: convert the file, or report it.",
    "decoder-hang": "The decoder came to no end on this file and was stopped: convert the file, or report it.",
    "out-of-memory": "Reading took more memory than a song may: take a shorter window, convert the file, or report it.",
    "extractor-error": "The extractor of your own failed on this song: correct it, and extract into a new store.",
    "extractor-shape": "The extractor gave something else than it declares: correct it, and extract into a new store.",
    "extractor-not-finite": "The extractor gave NaN or infinite values: correct it, and extract into a new store.",
    "extractor-memory": "The extractor took more memory than it may: give it shorter windows, or correct it.",
    "extractor-crash": "The process died on this song, in the decoder or in the extractor: try both alone.",
    "extractor-hang": "The process came to no end on this song, in the decoder or in the extractor: try both alone.",
    "embedding-not-finite": "The encoder of the run gave NaN or infinite values: embed with another run.",
    "internal-error": "This is a fault of songbag: please report it with the error text.",
}
"""Remedy by error code. The codes are part of the format: add to them, but never rename one."""


def remedy_for(code: str | None) -> str:
    """Return what a user can do about a song that failed with this code."""
    return REMEDIES.get(code or "", "No remedy is known for this code.")
