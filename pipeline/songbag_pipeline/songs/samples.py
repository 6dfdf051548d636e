"""One song as samples at one rate."""

from __future__ import annotations

from songbag_pipeline.audio.decode import decode, with_any_decoder
from songbag_pipeline.audio.files import open_regular
from songbag_pipeline.audio.formats import AudioFormat, Decoder
from songbag_pipeline.audio.recording import Excerpt, Recording
from songbag_pipeline.audio.resampler import resampled
from songbag_pipeline.songs.facts import Fresh, Sink, SongFacts, failures_of


def read_samples(path: str, sample_rate_hz: int, excerpt: Excerpt, sink: Sink) -> SongFacts:
    """Decode a file to mono at one sample rate, and pass its samples on in blocks.

    Parameters
    ----------
    path : str
        An audio file.
    sample_rate_hz : int
        The rate of the samples.
    excerpt : Excerpt
        What is wanted of the recording.
    sink : callable
        Called with float32 of shape (S,).

    Returns
    -------
    facts : SongFacts
        A bad file raises no exception.
    """
    facts = SongFacts()
    with failures_of(facts), open_regular(path) as file:
        fresh = Fresh(sink)

        def use(form: AudioFormat, decoder: Decoder) -> Recording:
            fresh.again()
            with decode(file, form, decoder, excerpt) as (recording, blocks):
                for piece in resampled(recording, blocks, sample_rate_hz):
                    fresh.pass_on(piece)
            return recording

        with_any_decoder(file, use)
    return facts
