"""A network of its own for clients and servers, whose packets can be dropped unnoticed; needs root and `ip`."""

import contextlib
import ctypes
import fcntl
import os
import random
import select
import socket
import struct
import subprocess
import threading
from itertools import count

CLONE_NEWNET = 0x40000000
# linux/if_tun.h
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
PACKET_BYTES_MAX = 65536

_numbers = count()


class Far:
    """Clients and servers behind a cable. It is `address` at its near end, `far_address` there."""

    def __init__(self):
        self._name = f"far{os.getpid()}-{next(_numbers)}"
        near, far = (f"{end}{os.getpid() % 100_000}x{self._name[-1]}" for end in ("n", "f"))
        net = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self.address, self.far_address = f"{net}.1", f"{net}.2"
        # Of all packets, which part is lost; how many went into the cable, and how many were lost.
        self.loss, self.sent, self.lost = 0.0, 0, 0
        self._chance = random.Random(self._name[-1])
        self._ends = [_tun(near), _tun(far)]
        _ip("netns", "add", self._name)
        _ip("link", "set", far, "netns", self._name)
        _ip("addr", "add", f"{net}.1/30", "dev", near)
        _ip("link", "set", near, "up")
        self._there("addr", "add", f"{net}.2/30", "dev", far)
        self._there("link", "set", far, "up")
        self._there("link", "set", "lo", "up")
        self._stop, self._stopped = os.pipe()
        self._cable = threading.Thread(target=self._carry)
        self._cable.start()

    def socket(self, *kind: int) -> socket.socket:
        """A socket that is there, wherever it is used; of TCP unless told otherwise."""
        made = []

        def make():
            library = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{self._name}") as there:
                if library.setns(there.fileno(), CLONE_NEWNET) == 0:
                    made.append(socket.socket(*kind))

        # A thread of its own goes there and does not come back.
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def command(self, *words: str) -> list[str]:
        """A command that runs there."""
        return ["ip", "netns", "exec", self._name, *words]

    def cut(self) -> None:
        """From now on nothing arrives in either direction, and nobody is told."""
        self.loss = 1.0

    def mend(self) -> None:
        """What was lost is sent again by TCP."""
        self.loss = 0.0

    def dispose(self) -> None:
        os.close(self._stopped)
        self._cable.join()
        for end in (*self._ends, self._stop):
            os.close(end)
        _ip("netns", "del", self._name)

    def _carry(self) -> None:
        near, far = self._ends
        others = {near: far, far: near}
        while True:
            ready, _, _ = select.select([*self._ends, self._stop], [], [])
            if self._stop in ready:
                return
            for end in ready:
                # An end that is not up yet takes nothing.
                with contextlib.suppress(OSError):
                    packet = os.read(end, PACKET_BYTES_MAX)
                    self.sent += 1
                    if self._chance.random() < self.loss:
                        self.lost += 1
                    else:
                        os.write(others[end], packet)

    def _there(self, *words: str) -> None:
        _ip("-n", self._name, *words)


def _tun(name: str) -> int:
    """One end of the cable: what the system sends there is read, and the other way round."""
    end = os.open("/dev/net/tun", os.O_RDWR)
    wish = struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI)
    fcntl.ioctl(end, TUNSETIFF, wish)
    return end


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
