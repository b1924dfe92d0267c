"""What a message over a link between two servers costs, beside one between two clients of one.

    interop/federation-throughput [messages]

One sender, one receiver, 100 bytes of text, TLS throughout. Processor seconds of
each server for a million messages, and messages a second. Wants a release build: $STENTOR_BIN.
"""

import os
import sys
import threading
import time

from harness.neighbours import Prosody, Stentor, neighbourhood
from harness.people import Person, friends

BATCH = 50


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with neighbourhood(Stentor, Prosody, Second) as (ours, prosody, second):
        ways = {
            "one server of ours, two clients": (ours, ours),
            "ours to ours": (ours, second),
            "Prosody to ours": (prosody, ours),
            "ours to Prosody": (ours, prosody),
        }
        for name, (here, there) in ways.items():
            print(f"{name:32} {measure(*friends(here, there), count)}", flush=True)


class Second(Stentor):
    """Another server of ours."""

    name = "second"


def measure(sender: Person, receiver: Person, count: int) -> str:
    one = f"<message to='{receiver.full}' type='chat'><body>{'x' * 100}</body></message>".encode()
    servers = list(dict.fromkeys((sender.server, receiver.server)))
    exchange(sender, receiver, one, 200)
    before, began = [cpu(server) for server in servers], time.monotonic()
    exchange(sender, receiver, one, count)
    took = time.monotonic() - began
    costs = [
        f"{server.name} {(cpu(server) - start) / count * 1e6:.0f} CPU s per million"
        for server, start in zip(servers, before, strict=True)
    ]
    return ", ".join([*costs, f"{count / took:.0f} a second"])


def exchange(sender: Person, receiver: Person, one: bytes, count: int) -> None:
    """Sends and waits for all; no more than a window is under way."""
    arrived, moved = [0], threading.Condition()

    def listen() -> None:
        rest = b""
        while arrived[0] < count:
            data = rest + receiver.stream.sock.recv(1 << 16)
            with moved:
                arrived[0] += data.count(b"</body>")
                moved.notify()
            rest = data[-6:] if not data.endswith(b"</body>") else b""

    receiver.stream.sock.settimeout(30)
    listener = threading.Thread(target=listen)
    listener.start()
    for sent in range(0, count, BATCH):
        with moved:
            moved.wait_for(lambda s=sent: s - arrived[0] < 20 * BATCH, 30)
        sender.stream.write(one * BATCH)
    listener.join(60)
    assert arrived[0] == count, f"{arrived[0]} of {count} arrived"


def cpu(server) -> float:
    with open(f"/proc/{server.process.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
