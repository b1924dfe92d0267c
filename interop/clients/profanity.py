"""Profanity in a terminal: keys go in by tmux, the screen is read from it."""

import os
import re
import shlex
import subprocess

from harness.server import run_tool
from harness.waiting import DEADLINE_SECS, until

from .base import Client


class Profanity(Client):
    kind = "profanity"
    modes = ("starttls", "tls")

    def _start(self) -> None:
        self.socket = self.folder / "tmux"
        certificates = self.folder / "certificates"
        config, data = self.folder / "config/profanity", self.folder / "data/profanity"
        for folder in (certificates, config, data):
            folder.mkdir(parents=True)
        (certificates / "ca.pem").write_bytes(self.ca.read_bytes())
        run_tool("openssl", "rehash", certificates)
        (config / "profrc").write_text(
            f"[connection]\ntls.certpath={certificates}\n[ui]\nroster=true\nsplash=false\n"
            "[logging]\nmaxsize=104857600\nrotate=false\n"
        )
        policy = "legacy" if self.mode == "tls" else "force"
        (data / "accounts").write_text(
            f"[{self.account.jid}]\nenabled=true\njid={self.account.jid}\n"
            f"password={self.account.password}\nserver={self.server.address}\nport={self.port}\n"
            f"tls.policy={policy}\nresource=profanity\npresence.last=online\npresence.login=online\n"
        )
        self.log = self.folder / "profanity.log"
        environment = {
            "XDG_CONFIG_HOME": self.folder / "config",
            "XDG_DATA_HOME": self.folder / "data",
            "HOME": self.folder,
            "LC_ALL": "C.UTF-8",
            "TERM": "screen",
        }
        words = ["env", *(f"{name}={value}" for name, value in environment.items())]
        words += ["profanity", "-l", "DEBUG", "-f", str(self.log), "-a", self.account.jid]
        # A wide screen, so that no line of interest is wrapped.
        self._tmux("new-session", "-d", "-x", "200", "-y", "60", shlex.join(map(str, words)))

    def _tmux(self, *words: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "TMUX"}
        command = ["tmux", "-S", str(self.socket), "-f", "/dev/null", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=DEADLINE_SECS
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def type(self, line: str) -> None:
        self._tmux("send-keys", "-l", line)
        self._tmux("send-keys", "Enter")

    def _wait_screen(self, pattern: str, what: str) -> None:
        try:
            until(lambda: re.search(pattern, self.screen()), f"profanity shows {what}")
        except AssertionError as silence:
            raise AssertionError(f"{silence}\n{self.screen()}") from None

    def _log_text(self) -> str:
        logs = self.folder.glob("**/profanity*.log")
        return "".join(path.read_text(errors="replace") for path in logs)

    def sign_in(self) -> None:
        self._start()
        self._wait_screen(r"logged in successfully", "that it is logged in")
        self.mechanism = re.search(r"""<auth [^>]*mechanism=["']([^"']*)""", self._log_text())[1]

    def is_refused(self) -> bool:
        self._start()
        self._wait_screen(r"(?i)certificate|Login failed|failed|logged in", "the outcome")
        shown = self.screen()
        return "logged in successfully" not in shown and "certificate" in shown.lower()

    def chat(self, to: str, text: str) -> None:
        self.type(f"/msg {to} {text}")
        self.type("/win 1")

    def wait_chat(self, sender: str, text: str) -> None:
        self.type(f"/msg {sender}")
        self._wait_screen(rf"(?m){re.escape(sender.partition('@')[0])}.*{re.escape(text)}", text)
        self.type("/win 1")

    def take_copies(self) -> None:
        self.type("/carbons on")
        until(lambda: "Message carbons enabled" in self._log_text(), "profanity has copies")

    def copies(self) -> int:
        received = [line for line in self._log_text().splitlines() if "RECV: <message" in line]
        return len([line for line in received if "urn:xmpp:carbons:2" in line])

    def conversation(self, contact: str) -> list[tuple[str, str]]:
        self.type(f"/msg {contact}")
        lines = until(lambda: self._lines(contact), f"profanity shows its window with {contact}")
        self.type("/win 1")
        return [("me" if who == "me" else "them", text) for who, text in lines]

    def _lines(self, contact: str) -> list[tuple[str, str]]:
        """Who said what in the window with a contact, if that is shown, and wholly."""
        screen = self.screen()
        if contact not in screen.partition("\n")[0] or self.screen() != screen:
            return []
        return re.findall(r"(?m)^\d\d:\d\d:\d\d - (\S+): (.*?)\s*$", screen)

    def wait_presence(self, sender: str, kind: str) -> None:
        wanted = {
            "available": "",
            "subscribe": "subscribe",
            "subscribed": "subscribed",
            "unavailable": "unavailable",
        }[kind]

        def has_come():
            for line in self._log_text().splitlines():
                if "RECV" not in line or f'from="{sender}' not in line.replace("'", '"'):
                    continue
                found = re.search(r"<presence[^>]*>", line.replace("'", '"'))
                if found and (re.search(r' type="(\w+)"', found[0]) or [None, ""])[1] == wanted:
                    return True
            return False

        until(has_come, f"profanity receives presence {kind} from {sender}")

    def subscribe(self, to: str) -> None:
        self.type(f"/sub request {to}")

    def approve(self, who: str) -> None:
        self.type(f"/sub allow {who}")

    def roster(self) -> dict[str, str]:
        self.type("/clear")
        self.type("/roster")
        self._wait_screen(r"Roster: jid|No contacts", "the roster")
        return dict(re.findall(r"(?m)^\S+ -\s+(\S+@\S+) - (\w+)", self.screen()))

    def leave(self) -> None:
        """Closes the stream in order; a cut session would wait to be resumed (XEP-0198)."""
        self.type("/disconnect")
        self._wait_screen(r"(?i)disconnected|logged out", "that it has left")

    def close(self) -> None:
        if hasattr(self, "socket"):
            subprocess.run(["tmux", "-S", str(self.socket), "kill-server"], capture_output=True)
