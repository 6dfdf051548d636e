"""Audio files as streams of mono samples."""

__all__ = ["decode", "files", "flac_frames", "frames", "mpeg_frames", "recording", "sniff"]
