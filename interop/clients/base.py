"""What every client can be asked, whatever program it is."""

import os
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path

from harness.server import Account, Server

# Where the run put what it installed: node_modules.
INSTALLED = Path(
    os.environ.get("INTEROP_INSTALLED", Path(__file__).resolve().parents[2] / "target/interop")
)


class Client(ABC):
    """One third-party program, signed in as one account."""

    kind: str
    modes: tuple[str, ...]
    # Whether it manages subscriptions and rosters, or only sends and receives messages.
    has_roster = True
    # Whether it can be asked for all of an archive.
    has_history = False
    # How the name of the strongest mechanism begins that it knows.
    best_mechanism = "SCRAM-SHA-"

    def __init__(self, server: Server, account: Account, mode: str, ca: Path | None = None):
        self.server = server
        self.account = account
        self.mode = mode
        self.ca = ca or server.ca
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.kind}-", dir=server.folder))
        self.mechanism = ""
        self.port = {
            "starttls": server.port,
            "tls": server.tls_port,
            "websocket": server.web_port,
        }[mode]

    @abstractmethod
    def sign_in(self) -> None:
        """Starts the program; returns when it is online and available."""

    @abstractmethod
    def is_refused(self) -> bool:
        """Starts the program where it must not get in; whether it said so."""

    @abstractmethod
    def chat(self, to: str, text: str) -> None:
        """Sends a chat message."""

    @abstractmethod
    def wait_chat(self, sender: str, text: str) -> None:
        """Waits for a message with this text from a bare address."""

    @abstractmethod
    def wait_presence(self, sender: str, kind: str) -> None:
        """Waits for presence of a type ('available' too) from a bare address."""

    @abstractmethod
    def subscribe(self, to: str) -> None: ...

    @abstractmethod
    def approve(self, who: str) -> None: ...

    @abstractmethod
    def roster(self) -> dict[str, str]:
        """Fetches the roster: bare address to subscription."""

    def history(self, contact: str) -> list[dict[str, str]]:
        """Fetches the archive's messages with a bare address: id, from and body of each."""
        raise NotImplementedError(f"{self.kind} does not tell what is in the archive")

    def take_copies(self) -> None:
        """Asks for copies of what other devices of the account say and hear (XEP-0280)."""
        raise NotImplementedError(f"{self.kind} takes no copies")

    def copies(self) -> int:
        """How many copies came."""
        raise NotImplementedError(f"{self.kind} takes no copies")

    def conversation(self, contact: str) -> list[tuple[str, str]]:
        """All it shows of the talk with a bare address: "me" or "them", and the text."""
        raise NotImplementedError(f"{self.kind} shows no conversations")

    def leave(self) -> None:
        """Closes the stream in order."""
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Ends the program."""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
