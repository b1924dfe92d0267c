"""go-sendxmpp: one process that listens, and one for each message sent."""

import os
import re
import subprocess
import threading

from harness.waiting import DEADLINE_SECS, until

from .base import Client


class GoSendXmpp(Client):
    kind = "go-sendxmpp"
    modes = ("starttls", "tls")
    has_roster = False
    # It knows no SCRAM.
    best_mechanism = "PLAIN"
    listener: subprocess.Popen | None = None

    def _command(self, *more: str) -> list[str]:
        direct = ["--tls"] if self.mode == "tls" else []
        where = f"{self.account.domain}:{self.port}"
        who = ["-u", self.account.jid, "-p", self.account.password]
        return ["go-sendxmpp", *who, "-j", where, *direct, "--debug", *more]

    def _environment(self) -> dict[str, str]:
        return os.environ | {"SSL_CERT_FILE": str(self.ca), "HOME": str(self.folder)}

    def sign_in(self) -> None:
        self.listen()
        text = self._text()
        assert self.listener.poll() is None, text
        # It prints only what it receives: PLAIN is the mechanism without a challenge.
        self.mechanism = "other" if "<challenge" in text else "PLAIN"

    def listen(self) -> None:
        """Signs in where stored messages wait.

        Debian's release answers a ping (XEP-0199) and then dies of it, as of every request whose
        element is not called `query`.
        """
        self.output = bytearray()
        self.listener = subprocess.Popen(
            self._command("--listen"),
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        until(
            lambda: self.listener.poll() is not None or b"<presence" in self.output,
            "go-sendxmpp sends its presence",
        )

    def _read(self) -> None:
        while data := self.listener.stdout.read1():
            self.output += data

    def _text(self) -> str:
        return bytes(self.output).decode(errors="replace")

    def is_refused(self) -> bool:
        done = self._send(self.account.jid, "must not get in")
        return done.returncode != 0 and "certificate" in done.stdout + done.stderr

    def _send(self, to: str, text: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self._command(to),
            env=self._environment(),
            input=text,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECS,
        )

    def chat(self, to: str, text: str) -> None:
        done = self._send(to, text)
        assert done.returncode == 0, done.stdout + done.stderr

    def wait_chat(self, sender: str, text: str) -> None:
        printed = f"Z {sender}: {text}\n"
        until(lambda: printed in self._text(), f"go-sendxmpp prints {text!r} from {sender}")

    def conversation(self, contact: str) -> list[tuple[str, str]]:
        # By the dump of what it receives, which is complete whatever becomes of it afterwards.
        said = rf"<message [^>]*from='{re.escape(contact)}/[^>]*><body>(.*?)</body>"
        return [("them", text) for text in re.findall(said, self._text())]

    def received(self, text: str) -> int:
        """How often a text stands in what it has received."""
        return self._text().count(text)

    def wait_given(self, contact: str, text: str) -> None:
        """Waits until it has received a text from a bare address."""
        given = ("them", text)
        until(lambda: given in self.conversation(contact), f"go-sendxmpp receives {text!r}")

    def wait_presence(self, sender: str, kind: str) -> None:
        raise NotImplementedError("go-sendxmpp shows no presence")

    subscribe = approve = roster = wait_presence

    def close(self) -> None:
        if self.listener is not None:
            self.listener.terminate()
            self.listener.wait()
            self.reader.join()
            self.listener.stdout.close()
