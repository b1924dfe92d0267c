"""The server under test, whichever it is."""

import itertools
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .settings import Settings, Unsupported
from .waiting import DEADLINE_SECS, until

PASSWORD = "secret"


@dataclass(frozen=True)
class Account:
    """An account of the server under test."""

    local: str
    domain: str
    password: str = PASSWORD

    @property
    def jid(self) -> str:
        return f"{self.local}@{self.domain}"


class Server(ABC):
    """A process with a data folder and ports of its own on loopback."""

    name: str
    has_websocket = False

    def __init__(self, settings: Settings = Settings()):
        self.settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix=f"interop-{self.name}-"))
        self.domain = settings.hosts[0]
        self.address = settings.address
        self.port, self.tls_port, self.web_port = free_ports(3)
        self.process: subprocess.Popen | None = None
        self.log = self.folder / "server.log"
        self._count = 0
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Writes the configuration and certificates."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command that runs the server in the foreground."""

    @property
    @abstractmethod
    def ca(self) -> Path:
        """The CA that clients must trust."""

    def client_context(self) -> ssl.SSLContext:
        """How clients do TLS."""
        return ssl.create_default_context(cafile=str(self.ca))

    def client_socket(self) -> socket.socket:
        """A socket from which its clients reach it."""
        return socket.socket()

    @abstractmethod
    def create_account(self, account: Account) -> None:
        """Creates an account by the server's command line; returns when that exited 0."""

    @abstractmethod
    def delete_account(self, account: Account) -> None:
        """Deletes an account by the command line."""

    @abstractmethod
    def suspend_account(self, account: Account, is_suspended: bool) -> None:
        """Suspends an account, or lifts that."""

    def blocked_addresses(self) -> str:
        """What the command line lists as blocked addresses."""
        raise Unsupported(f"{self.name} lists no blocked addresses")

    def unblock(self, address: str) -> None:
        """Lifts the block of an address by the command line."""
        raise Unsupported(f"{self.name} unblocks no addresses")

    def unlock(self, account: Account) -> None:
        """Lifts the lock of an account by the command line."""
        raise Unsupported(f"{self.name} unlocks no accounts")

    def records_put_aside(self) -> int:
        """How many damaged records the store keeps apart."""
        raise Unsupported(f"{self.name} puts no records aside")

    def slow_store(self, secs: float):
        """Within it every commit of the store takes so long."""
        raise Unsupported(f"{self.name} has no store that can be slowed down")

    def downgrade(self, version: int) -> list[str]:
        """Makes the store what an older release left; the stamps of its stored messages."""
        raise Unsupported(f"{self.name} knows no older versions of ours")

    def waiting_messages(self, account: Account) -> int:
        """How many stored messages the command line says wait for an account."""
        raise Unsupported(f"{self.name} counts no stored messages")

    def default_of(self, key: str) -> str:
        """What the server's own reference says a setting is where none is given."""
        raise Unsupported(f"{self.name} prints no reference")

    def damage_offline_record(self, marker: bytes) -> None:
        """Damages the stored message that holds the marker, while the server is down."""
        raise Unsupported(f"{self.name} has no records to damage")

    def back_up(self, name: str) -> None:
        """Copies the database, while it is in use, to a file of its folder."""
        raise Unsupported(f"{self.name} has no command that copies its database")

    def restore(self, name: str) -> None:
        """Goes on with such a copy."""
        raise Unsupported(f"{self.name} has no command that copies its database")

    def start(self) -> "Server":
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder
            )
        until(self._is_listening, f"{self.name} listens on {self.port}; see {self.log}")
        return self

    def stop(self) -> None:
        """Orderly end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """An end without warning: SIGKILL."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def dispose(self) -> None:
        """Ends the server and removes what it left."""
        if self.process is not None:
            self._end(signal.SIGKILL)
        if not os.environ.get("INTEROP_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def account(self, local: str, domain: str | None = None, password: str = PASSWORD) -> Account:
        """A new account whose name starts with `local` and was never used on this server."""
        self._count += 1
        account = Account(f"{local}{self._count}", domain or self.domain, password)
        self.create_account(account)
        return account

    def accounts(self, *locals_: str) -> list[Account]:
        with ThreadPoolExecutor(4) as pool:
            made = []
            for local in locals_:
                self._count += 1
                made.append(Account(f"{local}{self._count}", self.domain))
            list(pool.map(self.create_account, made))
        return made

    @contextmanager
    def memory_bounded(self, kib: int) -> Iterator[None]:
        """The resident memory never grows by more than this while what is inside runs."""
        process = Path(f"/proc/{self.process.pid}")
        # Makes the peak begin anew: proc(5).
        (process / "clear_refs").write_text("5")
        before = _memory_kib(process, "VmRSS")
        yield
        grown = _memory_kib(process, "VmHWM") - before
        assert grown <= kib, f"grew by {grown} KiB"

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def _is_listening(self) -> bool:
        code = self.process.poll()
        assert code is None, f"{self.name} ended with {code}:\n{self.log_text()[-2000:]}"
        is_there = all(accepts(address, port) for address, port in self._needed())
        return is_there and self._takes_commands()

    def _takes_commands(self) -> bool:
        """Whether its command line reaches it."""
        return True

    def _needed(self) -> list[tuple[str, int]]:
        """Where it must listen before it is there."""
        return [(self.address, port) for port in self._ports_needed()]

    def _ports_needed(self) -> list[int]:
        return [self.port, self.tls_port]

    def _end(self, sign: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(sign)
        process.wait(timeout=DEADLINE_SECS)


@contextmanager
def frozen(process: subprocess.Popen) -> Iterator[None]:
    """Within it the process does nothing; its connections stay."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def _own_ports() -> Iterator[int]:
    """All ports of this test process, in turn: below the range that outgoing connections use.

    Processes of one run share none, and a port comes again only after all others: a port that is
    given has no listener until its server starts, so that asking the kernel is not enough.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = range(10_000 + number, 30_000, workers)
    # Another run on this machine should not begin at the same one.
    begin = int.from_bytes(os.urandom(2)) % len(share)
    return itertools.cycle([*share[begin:], *share[:begin]])


_ports = _own_ports()


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, and that nobody else here was given lately."""
    found = []
    while len(found) < count:
        port = next(_ports)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


def run_tool(*words: object, given: str | None = None) -> str:
    """Runs a command of a server; its output. Fails when the command fails."""
    command = [str(word) for word in words]
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=DEADLINE_SECS
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def _memory_kib(process: Path, name: str) -> int:
    return int((process / "status").read_text().split(f"{name}:")[1].split()[0])


def takes_commands(data: Path) -> bool:
    """Whether the server of ours that has this data folder listens on its socket there."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(data / "stentor.sock")) == 0


def accepts(address: str, port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        return probe.connect_ex((address, port)) == 0
