"""A network of its own for clients, whose packets can be dropped unnoticed; needs root and `ip`."""

import ctypes
import os
import socket
import subprocess
import threading
from itertools import count

CLONE_NEWNET = 0x40000000

_numbers = count()


class Far:
    """Clients behind a cable. The server listens at `address`, at its near end."""

    def __init__(self):
        self._name = f"far{os.getpid()}-{next(_numbers)}"
        near, far = (f"{end}{os.getpid() % 100_000}x{self._name[-1]}" for end in ("n", "f"))
        net = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self.address, self._near, self._far = f"{net}.1", near, far
        _ip("netns", "add", self._name)
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", self._name)
        _ip("addr", "add", f"{net}.1/30", "dev", near)
        _ip("link", "set", near, "up")
        self._there("addr", "add", f"{net}.2/30", "dev", far)
        self._there("link", "set", far, "up")

    def socket(self) -> socket.socket:
        """A socket that is there, wherever it is used."""
        made = []

        def make():
            library = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{self._name}") as there:
                if library.setns(there.fileno(), CLONE_NEWNET) == 0:
                    made.append(socket.socket())

        # A thread of its own goes there and does not come back.
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def cut(self) -> None:
        """From now on nothing arrives in either direction, and nobody is told."""
        self._there("link", "set", self._far, "down")

    def mend(self) -> None:
        """What was lost is sent again by TCP."""
        self._there("link", "set", self._far, "up")

    def dispose(self) -> None:
        _ip("netns", "del", self._name)

    def _there(self, *words: str) -> None:
        _ip("-n", self._name, *words)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
