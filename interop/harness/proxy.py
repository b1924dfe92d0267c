"""A relay in front of a port, whose connections can be reset."""

import contextlib
import socket
import struct
import threading
import time


class Proxy:
    """Passes connections on to a port of this machine; `dialled` is when each was made."""

    def __init__(self, port: int):
        self._goal = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.dialled: list[float] = []
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def reset(self) -> int:
        """Ends all connections by a reset, on both sides; how many there were."""
        pairs, self._pairs = self._pairs, []
        for end in (end for pair in pairs for end in pair):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Whoever is reading lets go of it, and it is closed.
                end.shutdown(socket.SHUT_RD)
            end.close()
        return len(pairs)

    def dialled_within(self, secs: float) -> int:
        """The most connections that were made within so many seconds."""
        at = self.dialled
        return max((sum(x <= y < x + secs for y in at) for x in at), default=0)

    def close(self) -> None:
        self._listener.close()
        self.reset()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                self.dialled.append(time.monotonic())
                far = socket.create_connection(("127.0.0.1", self._goal))
            except OSError:
                return
            self._pairs.append((near, far))
            for source, goal in ((near, far), (far, near)):
                threading.Thread(target=_copy, args=(source, goal), daemon=True).start()


def _copy(source: socket.socket, goal: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            goal.sendall(data)
        goal.shutdown(socket.SHUT_WR)
