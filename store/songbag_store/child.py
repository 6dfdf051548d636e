"""A process that works for this one: it gets requests over a socket, and ends when its owner does."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress

_LAST_BYTES = 64 << 10
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


def threads(count: int) -> dict[str, str]:
    """Return the environment of a process whose numerical libraries use so many threads."""
    return dict.fromkeys(_THREADS, str(count))


class Child:
    """A process that runs a module of songbag; the module calls `serve` first.

    Parameters
    ----------
    module : str
        What to run, as ``python -m`` takes it.
    *arguments : str
        What `serve` gives the module.
    environment : mapping of str to str, optional
        Variables added to the environment of this process.
    files : tuple of int
        Descriptors that the process inherits, with the same numbers.
    heard : bool
        Whether to keep its standard error, for `last_words`.

    Attributes
    ----------
    channel : socket.socket
        This end of the socket.
    pid : int
        Its process id.

    Raises
    ------
    OSError
        If it cannot be started.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        files: tuple[int, ...] = (),
        heard: bool = False,
    ) -> None:
        self._owner = os.getpid()
        self.channel, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        importable = os.pathsep.join(map(os.path.abspath, sys.path))
        # Not a pipe: a process that says more than a pipe holds would wait for a reader.
        self._said = tempfile.TemporaryFile() if heard else None  # noqa: SIM115 (until `close`)
        inherited = theirs.fileno(), lifeline
        try:
            self._process = subprocess.Popen(
                # -P: a file numpy.py in the current folder must not be imported.
                [sys.executable, "-P", "-m", module, *map(str, inherited), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said or subprocess.DEVNULL,
                pass_fds=(*inherited, *files),
                env={**os.environ, **(environment or {}), "PYTHONPATH": importable},
                # Only this process handles Ctrl-C.
                process_group=0,
            )
        except OSError:
            self.channel.close()
            os.close(self._lifeline)
            self._forget_words()
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        self.pid = self._process.pid

    def has_ended(self) -> bool:
        """Return whether the process is gone."""
        return self._process.poll() is not None

    def stop(self, patience_s: float = 0.0) -> str:
        """End the process, after a moment to end by itself; return how it ended. A fork of the owner does nothing."""
        if os.getpid() != self._owner:
            return ""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        if self._process.returncode is None:
            # With what it has started, such as a decoder for an extractor: that would run on for ever.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        code = self._process.wait()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def close(self) -> None:
        """End the process and close the socket."""
        self.stop()
        self.channel.close()
        self._forget_words()

    def last_words(self) -> str:
        """End the process; return the last line that it wrote to standard error."""
        self._process.kill()
        self._process.wait()
        if self._said is None:
            return "it said nothing"
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - _LAST_BYTES))
        said = self._said.read().decode(errors="replace").strip().splitlines()
        return said[-1] if said else "it said nothing"

    def _forget_words(self) -> None:
        if self._said is not None:
            self._said.close()


def serve() -> tuple[socket.socket, list[str]]:
    """Return the socket of requests and the arguments; a module that a `Child` runs calls this first."""
    import fcntl

    channel, lifeline, arguments = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    # The kernel kills this process when its owner is gone, even if a decoder is in an endless loop. PR_SET_PDEATHSIG
    # follows the thread that started the process, and a worker's threads come and go.
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    # The owner may have gone before the kernel was asked to tell.
    if select.select([lifeline], [], [], 0.0)[0]:
        raise SystemExit
    return socket.socket(fileno=channel), arguments
