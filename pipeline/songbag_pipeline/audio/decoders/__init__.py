"""The decoders: libsndfile, FFmpeg through PyAV, and FFmpeg frame by frame."""

__all__ = ["ffmpeg", "frames", "libsndfile"]
