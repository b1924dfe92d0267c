"""A way to a port that takes its time, and that can be torn; needs no rights."""

import asyncio
import socket
import struct
import threading
import time

PIECE_BYTES_MAX = 16 * 1024
# What one connection may have on the way in one direction, in pieces: no network keeps everything.
PIECES_MAX = 64
# Closing it then is a reset: socket(7).
ABRUPTLY = struct.pack("ii", 1, 0)


class Line:
    """Carries connections to a port of this machine, each piece so many seconds late."""

    def __init__(self, goal: int, delay_secs: float = 0.0):
        self.delay_secs = delay_secs
        # When connections were made.
        self.called: list[float] = []
        self._goal = goal
        self._ends: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE_BYTES_MAX)
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._connect, sock=listener))

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def reset(self) -> int:
        """Tears every connection: both ends are told by a reset. How many there were."""
        return self._do(self._tear())

    def called_within(self, secs: float) -> int:
        """The most connections that were made within so many seconds."""
        at = list(self.called)
        return max((sum(x <= y < x + secs for y in at) for x in at), default=0)

    def _do(self, what):
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(20)

    async def _close(self) -> None:
        self._server.close()
        await self._tear()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tear(self) -> int:
        torn = len(self._ends)
        for end in self._ends:
            _set_abrupt(end)
            end.transport.abort()
        self._ends.clear()
        return torn // 2

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.called.append(time.monotonic())
        ends = {writer}
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._goal)
            ends.add(far_writer)
            self._ends |= ends
            ways = (reader, far_writer), (far_reader, writer)
            await asyncio.gather(*(self._carry(*way) for way in ways))
        except OSError:
            # One end is reset, and so is the other.
            for end in ends:
                _set_abrupt(end)
        except asyncio.CancelledError:
            # At the end; the streams of asyncio would log it.
            pass
        finally:
            self._ends -= ends
            for end in ends:
                end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(PIECES_MAX)

        async def put() -> None:
            while data := await reader.read(PIECE_BYTES_MAX):
                await pieces.put((self._loop.time() + self.delay_secs, data))
            await pieces.put((self._loop.time() + self.delay_secs, b""))

        async def take() -> None:
            while True:
                due, data = await pieces.get()
                await asyncio.sleep(due - self._loop.time())
                if not data:
                    return writer.write_eof()
                writer.write(data)
                await writer.drain()

        await asyncio.gather(put(), take())


def _set_abrupt(end: asyncio.StreamWriter) -> None:
    sock = end.get_extra_info("socket")
    if sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABRUPTLY)
