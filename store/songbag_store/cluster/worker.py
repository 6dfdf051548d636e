"""The program of a worker on this machine, which `songbag_store.cluster.cluster` starts."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import Any

from songbag_store.child import serve


def main() -> None:
    """Work for a scheduler until the process that started this one is gone."""
    channel, (address, folder) = serve()
    with channel.makefile("rb") as messages:
        given = json.loads(messages.readline())
    import dask

    dask.config.set(given["settings"])
    asyncio.run(_work(channel, address, folder, given["security"]))


async def _work(channel: socket.socket, address: str, folder: str, security: dict[str, Any]) -> None:
    from distributed import Security, Worker

    keys = Security(**security)
    # Without a limit of memory, because a worker needs little, and what it reads songs with has its own.
    options: dict[str, Any] = {"local_directory": folder, "memory_limit": 0, "dashboard_address": "127.0.0.1:0"}
    async with Worker(address, nthreads=1, host="127.0.0.1", security=keys, **options) as worker:
        channel.sendall(b"+")
        # Errors of the start are read by the owner; nothing that comes later may break into its progress bar.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        await worker.finished()


if __name__ == "__main__":
    main()
