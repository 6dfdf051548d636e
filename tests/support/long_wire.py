"""A long and bad wire to a server, as a process.

``python -m tests.support.long_wire HOST:PORT TO_HOST:PORT DELAY_S SEED [--cuts]`` listens at the first address and
connects with the second one. Every piece of a connection comes later by the delay, in both directions. One in fifty is
lost: TCP sends it again, so it comes ten times as late. With ``--cuts``, one in two hundred is the last of its
connection. A side that does not answer for two seconds is given up, as routers do it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sys

_LOST, _CUT = 1 / 50, 1 / 200
_SILENT_S = 2
_PIECE_BYTES = 1 << 16


class Wire:
    """Relays connections."""

    def __init__(self, target: str, delay_s: float, seed: int, cut: float) -> None:
        self._host, _, port = target.partition(":")
        self._port, self._delay_s, self._cut = int(port), delay_s, cut
        self._chance = random.Random(seed)

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect one client with the server until one of them, or the wire, ends it."""
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
            for one in (writer, far_writer):
                _give_up_silent(one.get_extra_info("socket"))
            ways = {asyncio.create_task(self._way(*way)) for way in ((reader, far_writer), (far_reader, writer))}
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            far_writer.close()
        writer.close()

    async def _way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE_BYTES):
                await asyncio.sleep(self._delay_s * (10 if self._chance.random() < _LOST else 1))
                if self._chance.random() < self._cut:
                    writer.transport.abort()
                    return
                writer.write(piece)
                await writer.drain()


def _give_up_silent(one: socket.socket) -> None:
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
        one.setsockopt(socket.IPPROTO_TCP, option, 1)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT_S * 1000)


async def main(listens: str, target: str, delay_s: str, seed: str, *more: str) -> None:
    wire = Wire(target, float(delay_s), int(seed), _CUT if "--cuts" in more else 0.0)
    host, _, port = listens.partition(":")
    server = await asyncio.start_server(wire.relay, host, int(port))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
