"""What each column of the index holds, and in what unit: docs/reference/columns.md is made from this."""

from __future__ import annotations

COLUMNS: dict[str, tuple[str, str]] = {
    "song_id": ("", "unique, never null"),
    "path": ("", "path or address of the file when it was read"),
    "status": ("", "`ok` or `failed`"),
    "error_code": ("", "why a song failed, one of a fixed list of words"),
    "error": ("", "the same in a sentence"),
    "duration_s": ("s", "of the audio that was decoded"),
    "declared_duration_s": ("s", "as the file's header says, or the bounds of a part"),
    "source_sample_rate_hz": ("Hz", "of the file"),
    "channels": ("", "number of channels of the file"),
    "source_format": ("", "of the file, such as `flac`"),
    "truncated": ("", "more than 1 % of the declared length is missing"),
    "padded": ("", "shorter than one window, padded with zeros"),
    "sample_peak": ("full scale", "largest absolute sample of any channel"),
    "clipped_share": ("share", "of the samples, those that are at full scale or above it"),
    "silent_share": ("share", "of the frames of 20 ms, those in which the mix to mono is below -60 dB of full scale"),
    "cancelled_share": (
        "share",
        "of the frames with sound, those that the mix to mono silences; 1: opposite phase; null for one channel",
    ),
    "side_share": (
        "share",
        "of the energy, that in the differences of the channels; 0: all channels are the same; null for one channel",
    ),
    "highest_hz": ("Hz", "where content ends, at the sample rate of the file; null if there is none"),
    "audio_note": ("", "what the decoder left out or chose, such as one of several streams; null if there is nothing"),
    "start_s": ("s", "where a part of a recording begins in its file; null: with the file"),
    "end_s": ("s", "where it ends; null: with the file"),
    "content_sha256": ("", "of the bytes of the whole file, also for a part"),
    "file_bytes": ("bytes", "size of the file"),
    "modified_at": ("UTC", "when the file was last written"),
    "fragment": ("", "array with the windows; for a failed song, the part with its row"),
    "row_start": ("rows", "first row of the array"),
    "n_windows": ("windows", "rows of the array; 0 for a failed song"),
    "feature_sum": ("of the features", "sum over all values of each coefficient"),
    "feature_sumsq": ("its square", "the same of their squares"),
    "run_id": ("", "which run of `songbag extract` read the song"),
    "extracted_at": ("UTC", "when the song was read"),
}
"""By column: the unit, and the meaning. A share is a number from 0 to 1."""
