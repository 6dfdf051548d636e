"""What the frames of an MP3 and of a FLAC file have in common."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BufferedReader
from typing import NamedTuple


def end_of_frames(file: BufferedReader, end: int | None = None) -> int:
    """Return where the frames end: before tags at the end of the file (ID3v1, and APEv2 by its footer).

    Parameters
    ----------
    file : file
        An open file.
    end : int, optional
        Where the part that matters ends; by default with the file.
    """
    end = os.fstat(file.fileno()).st_size if end is None else end
    if os.pread(file.fileno(), 3, max(0, end - 128)) == b"TAG":
        end -= 128
    footer = os.pread(file.fileno(), 32, max(0, end - 32))
    if footer[:8] == b"APETAGEX":
        header_bytes = 32 if footer[23] & 0x80 else 0
        end -= int.from_bytes(footer[12:16], "little") + header_bytes
    return max(0, end)


class Place(NamedTuple):
    """Where decoding may begin.

    Attributes
    ----------
    at : int
        Where a frame begins, in bytes.
    sample : int
        How many samples the frames before it hold.
    before : tuple of (int, int)
        Place and length of the frames before it that the decoder must have seen.
    """

    at: int
    sample: int
    before: tuple[tuple[int, int], ...] = ()


class Frames:
    """The frames of one file.

    Attributes
    ----------
    sample_rate_hz, channels : int
        As in the header.
    first : int
        Where the first frame begins, in bytes.
    codec : str
        FFmpeg's decoder.
    extradata : bytes
        What the decoder must know before the first frame.
    bytes_at_once : int
        How much to read and decode at a time: enough frames for a call, few enough for the cache.
    ends_whole : bool
        Whether the data after the last begin of a frame is a whole frame.
    declared_frames : int or None
        Samples in all, if the file says so.
    start, stop : int, int or None
        The first sample of the music, and the one after its last.
    n_samples : int or None
        The most samples that all frames may hold, with those before and after the music.
    slack_samples : int
        How much of the declared samples may be no music.
    """

    codec: str
    bytes_at_once: int
    extradata = b""
    ends_whole = False
    declared_frames: int | None = None
    start = 0
    stop: int | None = None
    n_samples: int | None = None
    slack_samples = 0

    def __init__(self, sample_rate_hz: int, channels: int, first: int) -> None:
        self.sample_rate_hz, self.channels, self.first = sample_rate_hz, channels, first

    def are_countable(self, file: BufferedReader, end: int) -> bool:
        """Return whether the frames up to a place are as counted, where that must be known before decoding."""
        return True

    def place(self, file: BufferedReader, sample: int, end: int) -> Place:
        """Return where decoding may begin so that this sample and those after it are what they are in the whole.

        Parameters
        ----------
        file : file
            Where the frames are.
        sample : int
            Counted from the first sample of the first frame.
        end : int
            Where the frames end, in bytes.

        Raises
        ------
        ValueError
            If frames cannot be counted.
        """
        raise NotImplementedError

    def cuts(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield places where frames begin, and how many frames lie between each and the one before it.

        The data begin with a frame.

        Raises
        ------
        ValueError
            If there is something else between frames.
        """
        raise NotImplementedError
