"""Another server written by hand: what ours writes to it is read tag by tag."""

import contextlib
import socket
import ssl
import threading
from collections import deque
from pathlib import Path
from xml.etree.ElementTree import Element, XMLPullParser

from .names import PING, SASL, STREAM, q
from .raw import RawStream, new_id, show
from .server import Server
from .waiting import DEADLINE_SECS, until

SERVER = "jabber:server"
PROVEN = f"<mechanisms xmlns='{SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>"


class Peer:
    """Takes one stream, over TLS from the first byte, from a server that has a certificate.

    `features` are what it offers to who has shown one; `before` and `after` are said around the
    header and features of that stream.
    """

    def __init__(
        self,
        domain: str,
        certificate: tuple[Path, Path],
        authority: Path,
        address: str = "127.0.0.1",
        features: str = "",
        before: str = "",
        after: str = "",
    ):
        self.domain, self.features = domain, features
        self.before, self.after = before, after
        # Whether ours has closed its stream, and then the connection.
        self.is_stream_closed = self.is_over = False
        self.stanzas: deque[Element] = deque()
        # The certificate that ours has shown.
        self.shown: dict = {}
        # The default namespace of the stream.
        self.content: str | None = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate)
        self.context.load_verify_locations(authority)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.listener = listening(address)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def next(self) -> Element:
        until(lambda: self.stanzas, f"a stanza comes to {self.domain}")
        return self.stanzas.popleft()

    def await_end(self) -> None:
        """Waits until ours has ended the stream and closed the connection; no stanza came more."""
        until(lambda: self.is_over, f"the stream to {self.domain} ends")
        assert not self.stanzas, [show(stanza) for stanza in self.stanzas]

    def close(self) -> None:
        self.listener.close()

    def _serve(self) -> None:
        try:
            raw, _ = self.listener.accept()
            with self.context.wrap_socket(raw, server_side=True) as self.sock:
                self.shown = self.sock.getpeercert()
                auth = next(self._stream(PROVEN), None)
                if auth is None:
                    # It went away before it said anything: it looks elsewhere, or believes nothing.
                    return
                assert auth.tag == q(SASL, "auth"), show(auth)
                self.sock.sendall(f"<success xmlns='{SASL}'/>".encode())
                for stanza in self._stream(self.features):
                    self.stanzas.append(stanza)
                self.is_over = self.is_stream_closed
        except OSError:
            # It was closed by either end: who waits for a stanza is told by waiting in vain.
            return

    def _stream(self, features: str):
        """The elements of one stream, which is opened in answer to a header."""
        parser, depth, names, root = XMLPullParser(["start-ns", "start", "end"]), 0, {}, None
        while data := self.sock.recv(65536):
            parser.feed(data)
            for event, what in parser.read_events():
                if event == "start-ns" and depth == 0:
                    names[what[0]] = what[1]
                elif event == "start":
                    depth += 1
                    if depth == 1:
                        root, self.content = what, names.get("")
                        self._open(what, features)
                elif event == "end":
                    depth -= 1
                    if depth == 1:
                        root.remove(what)
                        yield what
                    self.is_stream_closed = depth == 0

    def _open(self, root: Element, features: str) -> None:
        to = root.get("from")
        head = f"from='{self.domain}' to='{to}' id='1' version='1.0'"
        names = f"xmlns='{SERVER}' xmlns:stream='{STREAM}'"
        text = f"<stream:stream {names} {head}><stream:features>{features}</stream:features>"
        if features != PROVEN:
            text = f"{self.before}{text}{self.after}"
        self.sock.sendall(text.encode())


def listening(address: str, port: int = 0, backlog: int | None = None) -> socket.socket:
    """A socket that listens at an address of either family."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=backlog)


@contextlib.contextmanager
def black_hole(address: str = "127.0.0.1", port: int = 0):
    """A port on which connections never come to be: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listening(address, port, 0))
        while True:
            filler = stack.enter_context(socket.socket(listener.family))
            filler.settimeout(0.3)
            try:
                filler.connect(listener.getsockname())
            except TimeoutError:
                break
        yield listener.getsockname()[1]


class Caller(RawStream):
    """A stream that a server written by hand opens to ours, with a certificate of its domain.

    What ours has for that domain comes back on it (XEP-0288).
    """

    def __init__(self, server: Server, domain: str, certificate: tuple[Path, Path]):
        self.server, self.domain = server, domain
        self.sock = socket.create_connection((server.address, server.s2s_tls_port), DEADLINE_SECS)
        self._reset()
        context = server.client_context()
        context.load_cert_chain(*certificate)
        self.wrap_tls(server.domain, context)
        self.open()
        self.features()
        self.write("<bidi xmlns='urn:xmpp:bidi'/>")
        answer = self.auth("EXTERNAL", "=")
        assert answer.tag == q(SASL, "success"), show(answer)
        self.open()
        self.features()

    def open(self, to: str | None = None, text: str | None = None) -> Element:
        addresses = f"from='{self.domain}' to='{to or self.server.domain}'"
        names = f"xmlns='{SERVER}' xmlns:stream='{STREAM}'"
        return super().open(to, text or f"<stream:stream {names} {addresses} version='1.0'>")

    def say(
        self, name: str, sender: str, to: str, inner: str = "", *, kind: str = "", ident: str = ""
    ) -> None:
        """Sends a stanza."""
        more = "".join(f" {key}='{value}'" for key, value in (("type", kind), ("id", ident)) if value)
        self.write(f"<{name} from='{sender}' to='{to}'{more}>{inner}</{name}>")

    def ping(self) -> list[Element]:
        """Pings our server; everything that came before the answer."""
        ident = new_id("ping")
        ping = f"<ping xmlns='{PING}'/>"
        self.say("iq", self.domain, self.server.domain, ping, kind="get", ident=ident)
        seen = self.until(lambda e: e.get("id") == ident)
        assert seen.pop().get("type") == "result"
        return seen
