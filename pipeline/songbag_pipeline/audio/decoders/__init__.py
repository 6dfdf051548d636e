"""The decoders: libsndfile, FFmpeg through PyAV, and FFmpeg frame by frame."""

__all__ = ["ends", "ffmpeg", "frames", "libsndfile"]
