"""Audio files as streams of mono samples."""
