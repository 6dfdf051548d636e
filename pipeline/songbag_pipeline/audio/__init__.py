"""Audio files as streams of mono samples."""

__all__ = [
    "decode",
    "files",
    "flac_frames",
    "formats",
    "frames",
    "mpeg_frames",
    "recording",
    "resampler",
    "sniff",
    "sync",
]
