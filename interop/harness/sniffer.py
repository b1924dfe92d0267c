"""What goes over the loopback interface by some ports, as a capture shows it; needs root."""

import re
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .waiting import DEADLINE_SECS, until


class Sniffer:
    """Records all segments of the ports, of every connection and in both directions.

    Its file is written all the while by `dumpcap`, which comes with `tshark`; on a busy machine 64 MiB
    may wait for it.
    """

    def __init__(self, file: Path, ports: Iterable[int]):
        self.file, self.ports = file, set(ports)
        self._notes = file.with_suffix(".txt")

    def __enter__(self) -> "Sniffer":
        filtered = " or ".join(f"tcp port {port}" for port in sorted(self.ports))
        with self._notes.open("wb") as notes:
            self._process = subprocess.Popen(
                ["dumpcap", "-q", "-B", "64", "-i", "lo", "-f", filtered, "-w", self.file],
                stdout=notes,
                stderr=notes,
            )
        until(lambda: "File: " in self._notes.read_text(), "the recorder has begun")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=DEADLINE_SECS)

    def stop(self, address: str, port: int) -> dict[int, bytes]:
        """Stops when it has recorded what went before; that, by port.

        Knocks at one of the ports to know.
        """
        marker = secrets.token_hex(16).encode()
        with socket.create_connection((address, port), DEADLINE_SECS) as knocking:
            knocking.sendall(marker)
            until(lambda: marker in self.file.read_bytes(), "the recorder hears the knock")
        self.__exit__()
        notes = self._notes.read_text()
        assert re.search(r"received/dropped .*: \d+/0 \(", notes), f"not all was recorded: {notes}"
        command = ["tshark", "-r", self.file, "-Y", "tcp.len > 0", "-T", "fields"]
        command += ["-e", "tcp.srcport", "-e", "tcp.dstport", "-e", "tcp.payload"]
        shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        # By connection and direction, since what is searched for may be cut by a segment's end.
        flows: dict[tuple[int, int], bytes] = {}
        for line in shown.stdout.splitlines():
            source, goal, payload = line.split("\t")
            flow = int(source), int(goal)
            flows[flow] = flows.get(flow, b"") + bytes.fromhex(payload)
        heard = dict.fromkeys(self.ports, b"")
        for flow, data in flows.items():
            for port in self.ports & set(flow):
                heard[port] += data + b"\0"
        return heard
