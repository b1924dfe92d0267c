"""A recorder between a client and a port, and what tshark reads in its recordings."""

import socket
import struct
import subprocess
import threading
from pathlib import Path

from .waiting import DEADLINE_SECS


class Wiretap:
    """Passes one connection on and records it as a capture file, as if from the network."""

    def __init__(self, address: str, port: int, file: Path):
        self.file = file
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._goal = (address, port)
        self._sent = [1, 1]
        self._lock = threading.Lock()
        self._packets: list[bytes] = []
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Wiretap":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(DEADLINE_SECS)
        self.listener.close()
        # Little-endian, with raw IPv4 packets.
        head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
        rows = [struct.pack("<IIII", n, 0, len(p), len(p)) + p for n, p in enumerate(self._packets)]
        self.file.write_bytes(head + b"".join(rows))

    def _pass_on(self) -> None:
        client, _ = self.listener.accept()
        with client, socket.create_connection(self._goal) as server:
            self._record(0, 0x02, b"", -1)
            self._record(1, 0x12, b"", -1)
            self._record(0, 0x10, b"")
            ways = [(0, client, server), (1, server, client)]
            threads = [threading.Thread(target=self._copy, args=way) for way in ways]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _copy(self, side: int, source: socket.socket, goal: socket.socket) -> None:
        try:
            while data := source.recv(1400):
                self._record(side, 0x18, data)
                goal.sendall(data)
            goal.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _record(self, side: int, flags: int, data: bytes, shift: int = 0) -> None:
        """A TCP segment of the client (0) or the server (1)."""
        with self._lock:
            ports = (40_000, self._goal[1])[:: -1 if side else 1]
            numbers = self._sent[side] + shift, self._sent[1 - side]
            tcp = struct.pack("!HHIIBBHHH", *ports, *numbers, 0x50, flags, 65535, 0, 0)
            hosts = [b"\x0a\0\0\x01", b"\x0a\0\0\x02"][:: -1 if side else 1]
            size = 20 + len(tcp) + len(data)
            ip = struct.pack("!BBHHHBBH", 0x45, 0, size, 0, 0, 64, 6, 0) + b"".join(hosts)
            self._packets.append(ip + tcp + data)
            self._sent[side] += len(data)


def decrypted(capture: Path, port: int, key: Path) -> bytes:
    """What tshark reads of a recorded TLS session when it is given the server's private key."""
    command = ["tshark", "-r", capture, "-d", f"tcp.port=={port},tls", "-q"]
    command += ["-o", f'uat:rsa_keys:"{key}",""', "-z", "follow,tls,raw,0"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Follow: tls" in done.stdout, done.stdout + done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    return b"".join(bytes.fromhex(line) for line in lines if is_hex(line))


def is_hex(line: str) -> bool:
    return bool(line) and not set(line) - set("0123456789abcdef")
