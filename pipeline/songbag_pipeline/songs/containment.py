"""Songs are read in another process, so that a crash, an endless loop or a huge allocation costs one song.

Every worker keeps such a process, `songs.contained`. For each song it gets a path and a spec as JSON, and the file of
the batch as an open descriptor. It writes the song's windows to that file and answers with the song's facts. For
`songbag.read_audio` it writes samples.
"""

from __future__ import annotations

import atexit
import dataclasses
import hashlib
import json
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from songbag_pipeline.audio.files import modification_time
from songbag_pipeline.audio.recording import WHOLE, Excerpt
from songbag_pipeline.errors import ContainmentError, SongError
from songbag_pipeline.songs.facts import SongFacts
from songbag_pipeline.sources.bucket import LocalCopies
from songbag_store.child import Child, threads
from songbag_store.errors import SpecError, StoreError, UsageError
from songbag_store.format.document import reason
from songbag_store.format.spec import IN_DB, OWN, FeatureSpec
from songbag_store.machine import require_linux
from songbag_store.storage.files import require_regular
from songbag_store.windows.spill import WindowSpill
from songbag_store.words import counted

_NONE: Mapping[str, bytes] = MappingProxyType({})
_SUSPECT = ("decoder-crash", "extractor-crash", "out-of-memory", "extractor-memory")
_LAST_MOMENT_S = 5.0
_START_S = 120.0
_LONGEST_ANSWER = (1 << 29) - 1
"""Bytes; text where the length of an answer should be reads as a larger number."""
# Buffers of one window are freed and allocated again and again. Without this the C library returns them to the kernel
# each time; with the thresholds that Dask sets for its workers, that takes longer than the computation.
_LARGE = str(64 << 20)
_KEEP_MEMORY = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": _LARGE, "MALLOC_MMAP_THRESHOLD_": _LARGE}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Containment:
    """What reads songs, and within which limits. No feature byte depends on it."""

    reader: str = "songbag_pipeline.songs.song:read_song"
    """A function with the signature `songbag_pipeline.songs.facts.Reader`, as ``module:function``."""
    memory_bytes: int = 384 << 20
    """Memory that reading one song may take, beyond the process itself.

    A worker has 600 MB. The process takes 105 MB after its imports and the worker 70 MB; 40 MB are spare. The worker
    needs more only while it writes a fragment, when no song is read.
    """
    patience_s: float = 60.0
    """Time that any song may take, however small its file."""
    slowest_bytes_per_s: float = 50_000.0
    """Speed below which a song fails: ten hours of speech in 30 MB must still be read on a busy core."""
    spec: FeatureSpec | None = None
    """What is loaded when the process starts, and so does not count as memory of a song; None: there is nothing."""
    folders: tuple[str, ...] = ()
    """Where the module of an extractor is searched last."""
    modules: tuple[tuple[str, bytes], ...] = ()
    """Names and contents of files that were sent; they are searched before the folders."""
    tags: bool = False
    """Whether the tags of the songs are read too."""

    def for_spec(self, spec: FeatureSpec, folders: Sequence[str] = (), modules: Mapping[str, bytes] = _NONE) -> Self:
        """Return this for the features of a spec; an extractor from outside gets more time and memory."""
        if spec.kind in IN_DB:
            return self
        made = dataclasses.replace(self, spec=spec, folders=tuple(folders), modules=tuple(modules.items()))
        if spec.kind != OWN:
            return made
        return dataclasses.replace(made, memory_bytes=2 << 30, patience_s=600.0, slowest_bytes_per_s=5_000.0)

    def timeout_s(self, file_bytes: int) -> float:
        """Return the time that a file of this size may take, in seconds."""
        return self.patience_s + file_bytes / self.slowest_bytes_per_s


class ContainedReader(AbstractContextManager["ContainedReader"]):
    """Reads songs in another process, which is started when needed and replaced when it dies; not thread-safe.

    Parameters
    ----------
    containment : Containment
        What reads, and within which limits.
    """

    def __init__(self, containment: Containment | None = None) -> None:
        self.containment = containment or Containment()
        self._child: Child | None = None
        self._sent: tempfile.TemporaryDirectory[str] | None = None
        self._has_waited = False

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self, patience_s: float = 0.0) -> str:
        """End the process, after a moment to end by itself; return how it ended."""
        child, self._child, self._has_waited = self._child, None, False
        ended = ""
        if child is not None:
            ended = child.stop(patience_s)
            child.close()
        if self._sent is not None:
            self._sent.cleanup()
            self._sent = None
        return ended

    def read(
        self, address: str, spill: WindowSpill, copies: LocalCopies | None = None, excerpt: Excerpt = WHOLE
    ) -> SongFacts:
        """Compute the windows of one song.

        Parameters
        ----------
        address : str
            An audio file, or an object that is fetched first.
        spill : WindowSpill
            Gets the windows of a song that does not fail.
        copies : LocalCopies, optional
            Fetches the object.
        excerpt : Excerpt
            What the song is of the file.

        Raises
        ------
        StoreError
            If there is no room for the windows.
        ContainmentError
            If the process cannot be started.
        UnsupportedSystem
            If this machine does not run Linux.
        """
        try:
            path = address if copies is None else copies.path(address)
            return self._fairly(lambda: self._windows(path, spill, excerpt))
        except SongError as error:
            return SongFacts.of_failure(error)

    def read_samples(self, path: str, sample_rate_hz: int, excerpt: Excerpt, file: int) -> SongFacts:
        """Decode a file to samples, float32, and write them to an open descriptor."""

        def attempt() -> SongFacts:
            os.ftruncate(file, os.lseek(file, 0, os.SEEK_SET))
            wanted = {"sample_rate_hz": sample_rate_hz, "excerpt": dataclasses.asdict(excerpt)}
            return self._attempt(path, wanted, file)

        return self._fairly(attempt)

    def read_tags(self, path: str) -> SongFacts:
        """Read only the tags of a file, which are then the one thing in its facts; it may fail as a song may."""
        with open(os.devnull, "wb") as nowhere:
            return self._fairly(lambda: self._attempt(path, {"tags": True}, nowhere.fileno()))

    def _fairly(self, attempt: Callable[[], SongFacts]) -> SongFacts:
        """Try a song, and once more in a fresh process if an earlier song may be to blame."""
        has_waited = self._has_waited
        facts = attempt()
        if has_waited and facts.error_code in _SUSPECT:
            # The process may also have ended because it was idle.
            self.close()
            facts = attempt()
        if facts.error_code in ("out-of-memory", "extractor-memory"):
            self.close()
        return facts

    @property
    def _runs_extractor(self) -> bool:
        """Whether code from outside songbag runs in the process, beside the decoders."""
        own = self.containment.spec
        return own is not None and own.kind == OWN

    def _windows(self, path: str, spill: WindowSpill, excerpt: Excerpt) -> SongFacts:
        """Have the process read a song; cut its windows off again if it fails."""
        try:
            own = {"spec": spill.spec.to_dict(), "excerpt": dataclasses.asdict(excerpt), "tags": self.containment.tags}
            facts = self._attempt(path, own, spill.fileno())
            if facts.status == "ok" and facts.n_windows != spill.n_pending():
                written = counted(spill.n_pending(), "window was", "windows were")
                what = f"{written} written, and {facts.n_windows} computed"
                facts.fail("internal-error", what)
            if facts.status == "ok":
                spill.end_song()
            return facts
        finally:
            spill.drop_song()

    def _attempt(self, path: str, wanted: Mapping[str, object], file: int) -> SongFacts:
        """Have the process read a song, and write what is wanted of it to a file."""
        facts = SongFacts()
        with suppress(OSError, ValueError):  # the reader says what is wrong
            status = os.stat(path)
            facts.file_bytes, facts.modified_at = status.st_size, modification_time(status)
        timeout_s = self.containment.timeout_s(facts.file_bytes or 0)
        try:
            self._child = child = self._child or self._started()
            self._has_waited = True
            answer = _ask(child, timeout_s, (path, wanted), file)
            if "what" in answer:
                raise StoreError(**answer)
            if "facts" in answer:
                facts = SongFacts.from_dict(answer["facts"])
            else:
                facts.fail(*answer["failed"])
        except TimeoutError:
            self.close()
            what = f"had come to no end after {timeout_s:.0f} s"
            if self._runs_extractor:
                facts.fail("extractor-hang", f"decoding, or the extractor, {what}")
            else:
                facts.fail("decoder-hang", f"decoding {what}")
        except (EOFError, ConnectionError):
            what = f"died on this file ({self.close(_LAST_MOMENT_S)})"
            if self._runs_extractor:
                facts.fail("extractor-crash", f"the decoder or the extractor {what}")
            else:
                facts.fail("decoder-crash", f"the decoder {what}")
        return facts

    def _started(self) -> Child:
        require_linux("decoding audio")
        arguments = self.containment.reader, str(self.containment.memory_bytes), self._prepared()
        environment = {**threads(1), **_KEEP_MEMORY}
        try:
            child = Child("songbag_pipeline.songs.contained", *arguments, environment=environment, heard=True)
        except OSError as error:
            raise _not_started(error.strerror or str(error)) from error
        try:
            unfit = _ask(child, _START_S).get("unfit")
        except (EOFError, ConnectionError, TimeoutError) as error:
            ended = f"no end after {_START_S:.0f} s" if isinstance(error, TimeoutError) else child.stop(_LAST_MOMENT_S)
            reason = child.last_words()
            child.close()
            if not self._runs_extractor:
                raise _not_started(reason) from error
            unfit = f"the extractor ended its process, {ended}: {reason}"
        if unfit is not None:
            child.close()
            what = f"the features cannot be computed of a window of noise ({unfit})"
            remedy = "Correct the extractor" if self._runs_extractor else "Choose other features"
            raise SpecError(what, place="spec", remedy=f"{remedy}, or other numbers for them.")
        return child

    def _prepared(self) -> str:
        """Return what the process is to load, as JSON; write the modules that were sent into a folder for it."""
        own = self.containment
        if own.spec is None:
            return ""
        folders = list(own.folders)
        if own.modules:
            self._sent = self._sent or tempfile.TemporaryDirectory(prefix="songbag-modules-")
            for name, content in own.modules:
                path = Path(self._sent.name, _path_of(Path(name), own.spec.extractor or ""))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            folders.insert(0, self._sent.name)
        return json.dumps({"spec": own.spec.to_dict(), "folders": folders})

    def start(self) -> None:
        """Start the process, if it does not run.

        Raises
        ------
        ContainmentError
            If it cannot be started.
        SpecError
            If the numbers of the spec do not suit what computes its features.
        """
        self._child = self._child or self._started()
        self._has_waited = True


def _path_of(file: Path, extractor: str) -> Path:
    """Return where a file that was sent lies, so that it is found: a module ``package.module`` lies in a folder."""
    parts = extractor.partition(":")[0].split(".")
    is_named = file.stem == parts[-1] and all(part.isidentifier() for part in parts)
    return Path(*parts[:-1], file.name) if is_named else Path(file.name)


def folders_of(files: Sequence[str]) -> list[str]:
    """Return where this machine searches the module of an extractor: the folders of files, and the current one."""
    return [*(os.path.dirname(os.path.abspath(one)) for one in files), os.getcwd()]


def modules_of(files: Sequence[str]) -> dict[str, bytes]:
    """Return the modules to send to workers: name and content of each file.

    Raises
    ------
    UsageError
        If one cannot be read, or two have one name.
    """
    modules: dict[str, bytes] = {}
    for path in map(Path, files):
        if path.name in modules:
            remedy = "Rename one of them: on the workers they lie in one folder."
            raise UsageError(f"another file of the name {path.name!r} is sent too", place="upload", remedy=remedy)
        try:
            require_regular(path)
            modules[path.name] = path.read_bytes()
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot be read ({reason(error)})", place=str(path)) from error
    return modules


def try_features(spec: FeatureSpec, folders: Sequence[str] = (), modules: Mapping[str, bytes] = _NONE) -> None:
    """Have a process compute the features of noise; nothing is to be tried of those that songbag computes itself.

    The module of an extractor is searched among the modules, and then in the folders.

    Raises
    ------
    ContainmentError
        If the process cannot be started.
    SpecError
        If the numbers of the spec do not suit what computes its features.
    """
    containment = Containment().for_spec(spec, folders, modules)
    file = f"{(spec.extractor or '').partition(':')[0].rpartition('.')[2]}.py"
    if file in modules and hashlib.sha256(modules[file]).hexdigest() != spec.extractor_sha256:
        what = f"the module of {spec.extractor!r} is another one here than {file}, which is sent to the workers"
        remedy = "If another module of that name is found first, rename the file; if it was changed, make a new store."
        raise SpecError(what, place="upload", remedy=remedy)
    if containment.spec is not None:
        with ContainedReader(containment) as reader:
            reader.start()


def _ask(child: Child, timeout_s: float, request: object = None, file: int = -1) -> dict[str, Any]:
    """Send a request, if there is one, and the descriptor of a file; return the next answer."""
    with Connection(os.dup(child.channel.fileno())) as messages:
        if request is not None:
            socket.send_fds(child.channel, [b"\0"], [file])
            messages.send_bytes(json.dumps(request).encode())
        if not messages.poll(timeout_s):
            raise TimeoutError
        try:
            # The answer is data: nothing in it is executed.
            answer: dict[str, Any] = json.loads(messages.recv_bytes(_LONGEST_ANSWER))
        except (OSError, ValueError) as error:
            # An extractor may write to every descriptor that it finds.
            raise EOFError from error
        return answer


def _not_started(reason: str) -> ContainmentError:
    return ContainmentError(
        f"the process that decodes could not be started ({reason})",
        place=sys.executable,
        remedy="Check the installation of songbag[pipeline] and the free memory where the workers run.",
    )


_idle: list[ContainedReader] = []
_idle_lock = threading.Lock()
_of_the_parent: list[ContainedReader] = []


def _forget_after_fork() -> None:
    """Leave the processes to the process that started them: two that talk to one would get each other's answers."""
    global _idle_lock
    _idle_lock = threading.Lock()
    _of_the_parent.extend(_idle)
    _idle.clear()


os.register_at_fork(after_in_child=_forget_after_fork)


@contextmanager
def contained_reader(containment: Containment) -> Iterator[ContainedReader]:
    """Lend a reader to one borrower; its process may have served earlier batches of this worker."""
    with _idle_lock:
        fitting = [one for one in _idle if one.containment == containment]
        if fitting:
            _idle.remove(fitting[0])
    reader = fitting[0] if fitting else ContainedReader(containment)
    try:
        yield reader
    except BaseException:
        reader.close()
        raise
    with _idle_lock:
        _idle.append(reader)


@atexit.register
def _close_idle() -> None:
    with _idle_lock:
        while _idle:
            _idle.pop().close()
