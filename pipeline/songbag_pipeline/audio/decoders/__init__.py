"""The decoders: libsndfile, FFmpeg through PyAV, and FFmpeg frame by frame."""
