"""Clients that run in a program of ours around a third-party library.

The program reads commands and writes events, one JSON object a line.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from harness.waiting import Deadline, Silence

from .base import INSTALLED, Client

HERE = Path(__file__).resolve().parent


class LineClient(Client):
    """A library driven over pipes."""

    modes = ("starttls", "tls", "websocket")
    program: list[str]

    def _start(self) -> None:
        settings = {
            "jid": self.account.jid,
            "local": self.account.local,
            "domain": self.account.domain,
            "password": self.account.password,
            "mode": self.mode,
            "port": self.port,
            "address": self.server.address,
            "ca": str(self.ca),
        }
        environment = os.environ | {
            "NODE_EXTRA_CA_CERTS": str(self.ca),
            "INTEROP_INSTALLED": str(INSTALLED),
        }
        self.errors = self.folder / "stderr"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*self.program, json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
            )
        self.events: list[dict] = []
        self.news = threading.Condition()
        self.ended = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            with self.news:
                self.events.append(json.loads(line))
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    def wait(self, match, what: str, after: int = 0) -> dict:
        """The first event that matches, among those already come too."""
        end = Deadline()
        with self.news:
            while True:
                for event in self.events[after:]:
                    if match(event):
                        return event
                left = end.left()
                if left <= 0 or self.ended:
                    errors = self.errors.read_text(errors="replace")[-1500:]
                    shown = f"{self.events[-5:]}; stderr: {errors}"
                    raise Silence(f"{self.kind} saw no {what}; last events: {shown}")
                self.news.wait(left)

    def tell(self, do: str, **fields: str) -> None:
        self.process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
        self.process.stdin.flush()

    def sign_in(self) -> None:
        self._start()
        event = self.wait(lambda e: e["event"] in ("online", "failed"), "session")
        assert event["event"] == "online", event
        self.mechanism = event["mechanism"]

    def is_refused(self) -> bool:
        self._start()
        event = self.wait(lambda e: e["event"] in ("online", "failed"), "outcome")
        return event["event"] == "failed" and "certificate" in event["reason"].lower()

    def chat(self, to: str, text: str) -> None:
        self.tell("chat", to=to, body=text)

    def wait_chat(self, sender: str, text: str) -> None:
        self.wait(
            lambda e: e["event"] == "message" and e["body"] == text and bare(e["from"]) == sender,
            f"message {text!r} from {sender}",
        )

    def wait_presence(self, sender: str, kind: str) -> None:
        self.wait(
            lambda e: e["event"] == "presence" and e["type"] == kind and bare(e["from"]) == sender,
            f"presence {kind} from {sender}",
        )

    def cut(self) -> None:
        """Breaks the connection without closing the stream."""
        seen = len(self.events)
        self.tell("cut")
        self.wait(lambda e: e["event"] == "cut", "end of the connection", seen)

    def mend(self) -> None:
        """Connects again and goes on with the session; fails where it cannot."""
        seen = len(self.events)
        self.tell("mend")
        self.wait(lambda e: e["event"] == "resumed", "resumption", seen)

    def chats(self, sender: str) -> list[str]:
        """All texts that came from a bare address."""
        with self.news:
            messages = [e for e in self.events if e["event"] == "message"]
        return [e["body"] for e in messages if bare(e["from"]) == sender]

    def take_copies(self) -> None:
        seen = len(self.events)
        self.tell("copies")
        self.wait(lambda e: e["event"] == "copies", "answer about copies", seen)

    def copies(self) -> int:
        with self.news:
            return len([e for e in self.events if e["event"] == "copy"])

    def conversation(self, contact: str) -> list[tuple[str, str]]:
        said = []
        with self.news:
            shown = [e for e in self.events if e["event"] in ("message", "copy")]
        for event in shown:
            is_mine = event.get("which") == "sent"
            if bare(event["to" if is_mine else "from"]) == contact:
                said.append(("me" if is_mine else "them", event["body"]))
        return said

    def subscribe(self, to: str) -> None:
        self.tell("subscribe", to=to)

    def approve(self, who: str) -> None:
        self.tell("approve", to=who)

    def roster(self) -> dict[str, str]:
        seen = len(self.events)
        self.tell("roster")
        return self.wait(lambda e: e["event"] == "roster", "roster", seen)["items"]

    def history(self, contact: str) -> list[dict[str, str]]:
        seen = len(self.events)
        self.tell("history", contact=contact)
        return self.wait(lambda e: e["event"] == "history", "history", seen)["items"]

    def close(self) -> None:
        process = getattr(self, "process", None)
        if process is None or process.stdin.closed:
            return
        try:
            self.tell("close")
            process.wait(timeout=5)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
        self.reader.join()
        # What a program that had ended was told is still to be written.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()


class Slixmpp(LineClient):
    kind = "slixmpp"
    has_history = True
    modes = ("starttls", "tls")
    program = [sys.executable, str(HERE / "slixmpp_lines.py")]


class XmppJs(LineClient):
    kind = "xmpp.js"
    has_history = True
    program = ["node", str(HERE / "xmppjs_lines.mjs")]


class Stanza(LineClient):
    kind = "stanza"
    has_history = True
    program = ["node", str(HERE / "stanza_lines.mjs")]


def bare(jid: str) -> str:
    return jid.partition("/")[0]
