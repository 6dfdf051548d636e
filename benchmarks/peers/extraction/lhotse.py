"""Lhotse: cuts of 5 s every 2.5 s, its MFCC of Kaldi's kind, compute_and_store_features on all cores."""

from __future__ import annotations

from pathlib import Path

from lhotse import CutSet, LilcomChunkyWriter, Mfcc, MfccConfig, RecordingSet

from benchmarks.peers.extraction.songs import RATE_HZ, WORKERS, Extraction


class Lhotse(Extraction):
    def extract(self, songs: str, out: str) -> None:
        recordings = RecordingSet.from_dir(songs, "*.wav", num_jobs=WORKERS)
        cuts = CutSet.from_manifests(recordings=recordings).resample(RATE_HZ)
        windows = cuts.cut_into_windows(duration=5.0, hop=2.5).to_eager()
        extractor = Mfcc(
            MfccConfig(sampling_rate=RATE_HZ, frame_length=1024 / RATE_HZ, frame_shift=512 / RATE_HZ, num_filters=128)
        )
        done = windows.compute_and_store_features(
            extractor, Path(out) / "features", num_jobs=WORKERS, storage_type=LilcomChunkyWriter, progress_bar=False
        )
        done.to_file(Path(out) / "cuts.jsonl.gz")

    def stored(self, out: str) -> int:
        path = Path(out) / "cuts.jsonl.gz"
        return len({cut.recording_id for cut in CutSet.from_file(path)}) if path.exists() else 0
