"""Audio files as streams of mono samples."""

__all__ = [
    "chunks",
    "decode",
    "files",
    "flac_frames",
    "formats",
    "frames",
    "meter",
    "mpeg_frames",
    "recording",
    "resampler",
    "sniff",
    "sync",
    "tags",
]
