"""A link between servers on this machine that is slow, loses packets or is cut; needs root."""

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from itertools import count

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000

_numbers = count()


class Wire:
    """Whoever listens at `near` is reached at `far`, over this link.

    The kernel hands every packet for `far` to us, and takes it back with both addresses exchanged:
    as if it came from `far`, for `near`. That leaves checksums as they are.
    """

    def __init__(self):
        number = next(_numbers)
        self.name = f"w{os.getpid()}-{number}"
        net = f"10.{100 + number % 50}.{os.getpid() % 250}"
        self.near, self.far = f"{net}.1", f"{net}.2"
        # Seconds that a packet takes each way, how many of a hundred are lost, and whether all are.
        self.delay_secs, self.loss_percent, self.is_cut = 0.0, 0, False
        self._chance = random.Random(41)
        self._tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(
            self._tun, TUNSETIFF, struct.pack("16sH", self.name.encode(), IFF_TUN | IFF_NO_PI)
        )
        for words in (("addr", "add", f"{self.near}/30"), ("link", "set", "up")):
            subprocess.run(["ip", *words, "dev", self.name], check=True, capture_output=True)
        self._waker, self._wake = os.pipe()
        threading.Thread(target=self._carry, daemon=True).start()

    def dispose(self) -> None:
        os.close(self._wake)

    def _carry(self) -> None:
        under_way: list[tuple[float, int, bytes]] = []
        order = count()
        while True:
            due = under_way[0][0] - time.monotonic() if under_way else None
            wait = None if due is None else max(due, 0)
            ready, _, _ = select.select([self._tun, self._waker], [], [], wait)
            if self._waker in ready:
                os.close(self._tun)
                os.close(self._waker)
                return
            if self._tun in ready:
                packet = os.read(self._tun, 65536)
                if self._is_carried(packet):
                    at = time.monotonic() + self.delay_secs
                    heapq.heappush(under_way, (at, next(order), _returned(packet)))
            while under_way and under_way[0][0] <= time.monotonic():
                os.write(self._tun, heapq.heappop(under_way)[2])

    def _is_carried(self, packet: bytes) -> bool:
        is_lost = self._chance.randrange(100) < self.loss_percent
        # Only IPv4 is spoken here.
        return packet[0] >> 4 == 4 and not self.is_cut and not is_lost


def _returned(packet: bytes) -> bytes:
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
