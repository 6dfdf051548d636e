"""From a folder of audio files to features on disk, by songbag and by what one would write or use instead."""
