"""Debian's jabberd2: a server of long ago, which knows TLS and dialback and little else."""

import shlex
import signal
import sqlite3
from pathlib import Path
from xml.etree import ElementTree

from .neighbours import Neighbour
from .server import Account, free_ports

SETTINGS = Path("/etc/jabberd2")
# Its resolver asks port 53 only.
RESOLVER = "127.0.0.153"


class Jabberd2(Neighbour):
    """Four programs, one of which routes between the others."""

    name = "jabberd2"

    def prepare(self) -> None:
        (self.router_port,) = free_ports(1)
        (domain,) = self.domains
        self.region.dns.listen(RESOLVER, 53)
        self.region.dns.add("localhost", "A", "127.0.0.1")
        chain, key = self.chain(domain)
        pem = self.folder / "server.pem"
        pem.write_bytes(chain.read_bytes() + key.read_bytes())
        files = self.folder / "fs"
        files.mkdir()
        address, pem = self.address, str(pem)
        of_router = {"router/port": self.router_port}
        self._write("router", {"local/ip": address, "local/port": self.router_port})
        stored = {"storage/driver": "fs", "storage/fs/path": files, "user/auto-create": ""}
        self._write("sm", {**of_router, "local/id": domain.name, **stored})
        clients = {"local/ip": address, "local/port": self.port}
        self.accounts_db = self.folder / "accounts.db"
        clients |= {"authreg/module": "sqlite", "authreg/sqlite/dbname": self.accounts_db}
        with sqlite3.connect(self.accounts_db) as db:
            db.execute("CREATE TABLE authreg (username TEXT, realm TEXT, password TEXT)")
        self._write("c2s", {**of_router, **clients, "local/id": domain.name}, pem)
        servers = {"local/ip": address, "local/port": self.s2s_port, "local/pemfile": pem}
        self._write("s2s", {**of_router, **servers})

    def _write(self, program: str, values: dict, pem: str = "") -> None:
        """Debian's configuration of a program with other values."""
        tree = ElementTree.parse(SETTINGS / f"{program}.xml")
        root = tree.getroot()
        root.find("log").set("type", "stdout")
        values = {**values, "pidfile": self.folder / f"{program}.pid"}
        for path, value in values.items():
            element = root
            for step in path.split("/"):
                found = element.find(step)
                element = ElementTree.SubElement(element, step) if found is None else found
            element.text = str(value)
        if pem:
            root.find("local/id").set("pemfile", pem)
        tree.write(self.folder / f"{program}.xml")

    def command(self) -> list[str]:
        folder = shlex.quote(str(self.folder))
        start = "".join(
            f"jabberd2-{program} -c {folder}/{program}.xml & pids=\"$pids $!\"; sleep 0.5\n"
            for program in ("router", "sm", "s2s", "c2s")
        )
        script = f"trap 'kill $pids' TERM\nexport NAMESERVERS={RESOLVER}\n{start}wait\nwait\n"
        return ["sh", "-c", script]

    def _needed(self) -> list[tuple[str, int]]:
        return [(self.address, self.port), (self.address, self.s2s_port)]

    def create_account(self, account: Account) -> None:
        row = (account.local, account.domain, account.password)
        with sqlite3.connect(self.accounts_db) as db:
            db.execute("INSERT INTO authreg VALUES (?, ?, ?)", row)

    def _end(self, sign: signal.Signals) -> None:
        # Nobody else would end what the shell has started.
        super()._end(signal.SIGTERM)
