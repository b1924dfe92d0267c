"""Which servers are spoken to: every kind of connection, certificate, direction and policy.

    interop/federation-matrix              all neighbours
    interop/federation-matrix prosody      one of them

Each cell is a message between two domains that never spoke before, and what our log says of the
stream that carried it, or why there was none. Servers of ours with three policies take part:
`default`, `certificates` (which believes nothing but valid certificates), and `unproven`, whose own
certificate is self-signed.
"""

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from harness.bad_certs import KINDS
from harness.names import MESSAGE, stanza_error
from harness.neighbours import Domain, Ejabberd, Prosody, Region, Stentor
from harness.raw import RawStream, login, new_id
from harness.scenes import chat
from harness.waiting import Silence, until

PEERS = {"prosody": Prosody, "ejabberd": Ejabberd, "stentor": Stentor}
TRANSPORTS = ("starttls", "direct")
DIRECTIONS = ("we", "they")
POLICIES = ("default", "certificates", "unproven")


@dataclass(frozen=True)
class Cell:
    """One combination. `direction` tells who connects."""

    peer: str
    transport: str
    certificate: str
    direction: str
    policy: str

    @property
    def ours(self) -> str:
        return f"{self.direction}-{self.transport}.{self.policy}.example"

    @property
    def theirs(self) -> str:
        return f"{self.certificate}-{self.transport}.{self.peer}.example"


@dataclass(frozen=True)
class Outcome:
    """What came of it: whether the message arrived, and what our log says."""

    is_connected: bool
    reason: str

    def __str__(self) -> str:
        return f"{'connected' if self.is_connected else 'refused'}: {self.reason}"


class Matrix:
    """The servers. Two of ours, one for each policy, and one of each neighbour."""

    def __init__(self, folder: Path, peers=tuple(PEERS)):
        self.region = Region(folder)
        self.servers = {}
        for policy in POLICIES:
            kind = "self-signed" if policy == "unproven" else "valid"
            domains = [
                _reached(f"{direction}-{transport}.{policy}.example", transport, kind)
                for direction, transport in product(DIRECTIONS, TRANSPORTS)
            ]
            options = {"dialback": False} if policy == "certificates" else {}
            self.servers[policy] = Stentor(self.region, *domains, **options)
        for peer in peers:
            domains = [
                _reached(f"{kind}-{transport}.{peer}.example", transport, kind)
                for kind, transport in product(KINDS, TRANSPORTS)
            ]
            self.servers[peer] = PEERS[peer](self.region, *domains)
        self.peers = peers
        self.users = {}

    def start(self) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda server: server.start(), self.servers.values()))
            places = [(s, d.name) for s in self.servers.values() for d in s.domains]
            made = pool.map(lambda place: place[0].account("user", place[1]), places)
            self.users = {account.domain: account for account in made}

    def dispose(self) -> None:
        for server in self.servers.values():
            server.dispose()
        self.region.dns.close()

    def cells(self) -> list[Cell]:
        return [Cell(*it) for it in product(self.peers, TRANSPORTS, KINDS, DIRECTIONS, POLICIES)]

    def run(self) -> dict[Cell, Outcome]:
        cells = self.cells()
        with ThreadPoolExecutor(6) as pool:
            return dict(zip(cells, pool.map(self.try_cell, cells), strict=True))

    def try_cell(self, cell: Cell) -> Outcome:
        ours, theirs = self._user(cell.policy, cell.ours), self._user(cell.peer, cell.theirs)
        with ours, theirs:
            sender, receiver = (ours, theirs) if cell.direction == "we" else (theirs, ours)
            ident = chat(sender, receiver.jid, new_id("cell"))
            try:
                arrived = until(lambda: _fate(ident, sender, receiver), str(cell), 45)
                is_connected = arrived == "arrived"
            except Silence:
                is_connected = False
        return Outcome(is_connected, self._reason(cell, is_connected))

    def _user(self, server: str, domain: str) -> RawStream:
        return login(self.servers[server], self.users[domain], mode="starttls")

    def _reason(self, cell: Cell, is_connected: bool) -> str:
        server = self.servers[cell.policy]
        out = cell.direction == "we"
        good, bad = ("s2s_out", "s2s_failed") if out else ("s2s_in", "s2s_in_refused")

        def entry():
            entries = server.events(good if is_connected else bad)
            pair = [e for e in entries if e.get("remote") == cell.theirs]
            return next((e for e in pair if e.get("local", cell.ours) == cell.ours), None)

        try:
            found = until(entry, f"{cell} in the log")
        except Silence:
            return "nothing in our log"
        if not is_connected:
            return _without_times(found.get("certificate") or found["reason"])
        words = [found["how"], f"{found['certificate']} certificate"]
        return ", ".join(words + ["both ways"] * bool(found.get("bidi")))


def table(outcomes: dict[Cell, Outcome]) -> str:
    """The outcomes as a table in Markdown."""
    columns = list(product(DIRECTIONS, POLICIES))
    heads = [f"{who} connect, {policy}" for who, policy in columns]
    lines = ["| Peer | TLS | Its certificate | " + " | ".join(heads) + " |"]
    lines += ["|---" * (3 + len(columns)) + "|"]
    rows = dict.fromkeys((c.peer, c.transport, c.certificate) for c in outcomes)
    for row in rows:
        cells = [str(outcomes[Cell(*row, *column)]) for column in columns]
        lines.append("| " + " | ".join([*row, *cells]) + " |")
    return "\n".join(lines)


def _without_times(reason: str) -> str:
    reason = reason.partition(": verification time")[0]
    for prefix in ("its certificate is not believed: ", "invalid peer certificate: "):
        reason = reason.removeprefix(prefix)
    return reason


def _reached(name: str, transport: str, kind: str = "valid") -> Domain:
    return Domain(name, kind, transport == "starttls", transport == "direct")


def _fate(ident: str, sender: RawStream, receiver: RawStream) -> str | None:
    for stream, fate in ((receiver, "arrived"), (sender, "returned")):
        stream.peek()
        for element in stream.elements:
            is_it = element.tag == MESSAGE and element.get("id") == ident
            if is_it and (stanza_error(element) is not None) == (fate == "returned"):
                return fate
    return None


def main() -> None:
    peers = tuple(sys.argv[1:]) or tuple(PEERS)
    with tempfile.TemporaryDirectory(prefix="interop-federation-") as folder:
        matrix = Matrix(Path(folder), peers)
        try:
            matrix.start()
            print(table(matrix.run()))
        finally:
            matrix.dispose()


if __name__ == "__main__":
    main()
