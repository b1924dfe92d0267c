"""A client that writes and reads XMPP streams by hand, parsing with expat."""

import itertools
import socket
import ssl
import struct
from collections import deque
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, XMLPullParser, tostring

from . import sasl
from .names import BIND, CLIENT, PING, SASL, STREAM, STREAMS_ERRORS, TLS, XML, child, condition, q
from .server import Account, Server
from .waiting import DEADLINE_SECS, Deadline, Silence

_ids = itertools.count(1)


class StreamEnded(AssertionError):
    """The server ended the stream or the connection."""


class SaslFailure(Exception):
    """<failure/> of SASL; its argument is the condition."""


def new_id(prefix: str = "t") -> str:
    return f"{prefix}-{next(_ids)}"


def header(to: str, extra: str = "version='1.0'") -> str:
    return (
        f"<?xml version='1.0'?><stream:stream to='{to}' xmlns='{CLIENT}' "
        f"xmlns:stream='{STREAM}' {extra}>"
    )


class RawStream:
    """One connection and the stream on it. Elements are read one at a time, in order."""

    def __init__(
        self,
        server: Server,
        mode: str = "starttls",
        source: str | None = None,
        receive_bytes: int | None = None,
        sock: socket.socket | None = None,
    ):
        self.server = server
        port = server.tls_port if mode == "tls" else server.port
        self.sock = sock or server.client_socket()
        if receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        if source:
            self.sock.bind((source, 0))
        self.sock.settimeout(DEADLINE_SECS)
        self.sock.connect((server.address, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.account: Account | None = None
        self.jid = ""
        self.has_close_notify = False
        self._reset()
        if mode == "tls":
            self.wrap_tls()

    def _reset(self) -> None:
        """A new stream begins on the connection."""
        self.parser = XMLPullParser(["start", "end"])
        self.depth = 0
        self.root: Element | None = None
        self.elements: deque[Element] = deque()
        self.received = bytearray()
        self.is_stream_closed = False
        self.is_closed = False

    def write(self, data: str | bytes) -> None:
        self.sock.settimeout(DEADLINE_SECS)
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def write_carelessly(self, data: str | bytes) -> None:
        """Writes where the server may have closed already."""
        try:
            self.write(data)
        except OSError:
            pass

    # Reading.

    def next(self, secs: float | None = None) -> Element:
        """The next first-level element."""
        end = Deadline(secs)
        while not self.elements:
            self._read(end, "an element")
        return self.elements.popleft()

    def wait(self, match, secs: float | None = None) -> Element:
        """The first element that matches; those before it are dropped."""
        return self.until(match, secs)[-1]

    def until(self, match, secs: float | None = None) -> list[Element]:
        """All elements up to and with the first that matches."""
        end, seen = Deadline(secs), []
        while True:
            while not self.elements:
                try:
                    self._read(end, "the element that matches")
                except (Silence, StreamEnded) as failure:
                    shown = [show(element) for element in seen[-5:]]
                    raise type(failure)(f"{failure}; came instead: {shown}") from None
            seen.append(self.elements.popleft())
            if match(seen[-1]):
                return seen

    def request(self, payload: str, kind: str = "get", to: str = "") -> Element:
        """Sends an iq and returns its answer; what came before it is dropped."""
        ident = new_id("iq")
        to = f" to='{to}'" if to else ""
        self.write(f"<iq type='{kind}' id='{ident}'{to}>{payload}</iq>")
        return self.wait(lambda e: e.tag == q(CLIENT, "iq") and e.get("id") == ident)

    def ping(self) -> list[Element]:
        """Pings the server; everything that came before the answer."""
        ident = new_id("ping")
        self.write(f"<iq type='get' id='{ident}'><ping xmlns='{PING}'/></iq>")
        seen = self.until(lambda e: e.tag == q(CLIENT, "iq") and e.get("id") == ident)
        answer = seen.pop()
        assert answer.get("type") == "result", show(answer)
        return seen

    def barrier(self, *receivers: "RawStream") -> list[list[Element]]:
        """Sends a marker to each receiver's full address; what each got before it.

        Stanzas between two addresses keep their order (RFC 6120 §10.1), so what this stream
        caused before has come by then.
        """
        marker = new_id("marker")
        for receiver in receivers:
            self.write(f"<message type='headline' to='{receiver.jid}' id='{marker}'/>")
        return [r.until(lambda e: e.get("id") == marker)[:-1] for r in receivers]

    def expect_stream_error(
        self, *conditions: str, secs: float | None = None, prosody: str = ""
    ) -> list[Element]:
        """Waits for one of the stream errors, the end of the stream and of the connection.

        Returns the elements that came before the error. `prosody` names what Prosody says
        instead, where it differs.
        """
        if prosody and self.server.name == "prosody":
            conditions = (prosody,)
        seen = self.until(lambda e: e.tag == q(STREAM, "error"), secs)
        error = seen.pop()
        got = condition(error, STREAMS_ERRORS)
        assert got in conditions, (
            f"stream error {got}, not {' or '.join(conditions)}: {show(error)}"
        )
        more = self.expect_end(secs)
        assert not more, f"after the stream error: {[show(e) for e in more]}"
        return seen

    def expect_end(self, secs: float | None = None) -> list[Element]:
        """Waits for </stream:stream> and the end of the connection; what came before."""
        seen = self.drain(secs)
        assert self.is_stream_closed, (
            f"closed without </stream:stream>: {bytes(self.received[-300:])}"
        )
        return seen

    def drain(self, secs: float | None = None) -> list[Element]:
        """Waits for the end of the connection; what came before it."""
        end = Deadline(secs)
        while not self.is_closed:
            try:
                self._read(end, "the end of the connection")
            except StreamEnded:
                break
        seen = list(self.elements)
        self.elements.clear()
        return seen

    def peek(self) -> None:
        """Takes in what has already come, without waiting."""
        try:
            self._read(Deadline(0.001), "anything")
        except (Silence, StreamEnded):
            pass

    def unsent(self) -> int:
        """Bytes that wait in the server's socket of this connection."""
        row = self._at_server()
        assert row, "there is no such connection"
        return int(row[4].partition(":")[0], 16)

    def is_established(self) -> bool:
        """Whether the server's socket of this connection is neither closed nor being closed."""
        row = self._at_server()
        return row is not None and row[3] == "01"

    def _at_server(self) -> list[str] | None:
        """The server's socket in Linux's table, proc(5)."""
        ours, theirs = (_in_table(at) for at in (self.sock.getsockname(), self.sock.getpeername()))
        rows = map(str.split, Path("/proc/net/tcp").read_text().splitlines())
        return next((row for row in rows if row[1:3] == [theirs, ours]), None)

    def _read(self, end: Deadline, what: str) -> None:
        if self.is_closed:
            raise StreamEnded(f"closed while waiting for {what}: {bytes(self.received[-300:])}")
        left = end.left()
        if left <= 0:
            raise Silence(f"waited in vain for {what}")
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(65536)
            self.has_close_notify = not data and isinstance(self.sock, ssl.SSLSocket)
        except TimeoutError:
            if end.is_over():
                raise Silence(f"waited in vain for {what}") from None
            return
        except OSError:
            # A reset, or TCP closed without close_notify: `has_close_notify` stays false.
            data = b""
        if not data:
            self.is_closed = True
            return
        self.received += data
        try:
            self.parser.feed(data)
            self._collect()
        except ParseError as error:
            tail = bytes(self.received[-300:])
            raise AssertionError(
                f"the server sent XML that expat refuses: {error}: {tail}"
            ) from None

    def _collect(self) -> None:
        for event, element in self.parser.read_events():
            if event == "start":
                self.depth += 1
                if self.depth == 1:
                    self.root = element
                continue
            self.depth -= 1
            if self.depth == 1:
                self.elements.append(element)
                self.root.remove(element)
            elif self.depth == 0:
                self.is_stream_closed = True

    # Negotiating.

    def open(self, to: str | None = None, text: str | None = None) -> Element:
        """Sends a stream header and waits for the server's; the server's root element."""
        self._reset()
        self.write(text or header(to or self.server.domain))
        return self.wait_header()

    def wait_header(self, secs: float | None = None) -> Element:
        end = Deadline(secs)
        while self.root is None:
            self._read(end, "the server's stream header")
        return self.root

    def features(self) -> Element:
        features = self.next()
        assert features.tag == q(STREAM, "features"), show(features)
        return features

    def start_tls(self, to: str | None = None) -> None:
        """STARTTLS on a stream whose features were read."""
        self.write(f"<starttls xmlns='{TLS}'/>")
        answer = self.next()
        assert answer.tag == q(TLS, "proceed"), show(answer)
        self.wrap_tls(to)

    def wrap_tls(self, sni: str | None = None, context: ssl.SSLContext | None = None) -> None:
        context = context or self.server.client_context()
        self.sock.settimeout(DEADLINE_SECS)
        self.sock = context.wrap_socket(
            self.sock, server_hostname=sni or self.server.domain, suppress_ragged_eofs=False
        )

    def secure(self, to: str | None = None) -> Element:
        """From a fresh connection to the features after TLS."""
        self.open(to)
        features = self.features()
        if not isinstance(self.sock, ssl.SSLSocket):
            self.start_tls(to)
            self.open(to)
            features = self.features()
        return features

    def auth(self, mechanism: str, first: bytes | str | None) -> Element:
        """Sends <auth/>; `first` bytes are encoded, text goes as it is. The server's answer."""
        text = sasl.b64(first) or "=" if isinstance(first, bytes) else first or ""
        self.write(f"<auth xmlns='{SASL}' mechanism='{mechanism}'>{text}</auth>")
        return self.next()

    def respond(self, data: bytes) -> Element:
        self.write(f"<response xmlns='{SASL}'>{sasl.b64(data)}</response>")
        return self.next()

    def sign_in(self, account: Account, mechanism: str = "SCRAM-SHA-1") -> None:
        """SASL, from features to the features of the stream after it."""
        if mechanism == "PLAIN":
            answer = self.auth(mechanism, sasl.plain(account.local, account.password))
        else:
            scram = sasl.Scram(mechanism, account.local, account.password)
            answer = self.auth(mechanism, scram.first())
            if answer.tag == q(SASL, "challenge"):
                answer = self.respond(scram.final(sasl.unb64(answer.text)))
        if answer.tag == q(SASL, "failure"):
            raise SaslFailure(condition(answer, SASL))
        assert answer.tag == q(SASL, "success"), show(answer)
        if mechanism != "PLAIN":
            scram.check_success(sasl.unb64(answer.text))
        self.account = account
        self.open(account.domain)
        self.features()

    def bind(self, resource: str | None = None) -> str:
        """Binds; the full address."""
        wanted = f"<resource>{resource}</resource>" if resource else ""
        answer = self.request(f"<bind xmlns='{BIND}'>{wanted}</bind>", "set")
        assert answer.get("type") == "result", show(answer)
        self.jid = answer.findtext(f"{q(BIND, 'bind')}/{q(BIND, 'jid')}")
        return self.jid

    # Being a client.

    def available(self, priority: int | None = None, inner: str = "") -> list[Element]:
        """Sends presence and waits for its echo; what came before the echo."""
        ident = new_id("pres")
        if priority is not None:
            inner += f"<priority>{priority}</priority>"
        self.write(f"<presence id='{ident}'>{inner}</presence>")
        return self.until(
            lambda e: (
                e.tag == q(CLIENT, "presence")
                and e.get("from") == self.jid
                and e.get("type") is None
                and e.get("id") == ident
            )
        )[:-1]

    def roster(self) -> dict[str, Element]:
        """Fetches the roster: address to item."""
        answer = self.request("<query xmlns='jabber:iq:roster'/>")
        query = child(answer, "jabber:iq:roster", "query")
        return {item.get("jid"): item for item in query}

    def close(self) -> list[Element]:
        """Ends the stream and waits for the server's end; what came before."""
        self.write_carelessly("</stream:stream>")
        seen = self.drain()
        self.sock.close()
        return seen

    def cut(self) -> None:
        """Drops the connection without a word."""
        self.sock.close()

    def __enter__(self) -> "RawStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def __del__(self) -> None:
        # Who drops a stream drops its connection, as a client does that dies.
        if hasattr(self, "sock"):
            self.sock.close()


def login(
    server: Server,
    account: Account,
    resource: str | None = None,
    priority: int | None = None,
    *,
    mode: str = "tls",
    mechanism: str = "SCRAM-SHA-1",
    is_available: bool = True,
    source: str | None = None,
    receive_bytes: int | None = None,
    sock: socket.socket | None = None,
) -> RawStream:
    """A bound stream, available unless told otherwise."""
    stream = RawStream(server, mode, source, receive_bytes, sock)
    stream.secure(account.domain)
    stream.sign_in(account, mechanism)
    stream.bind(resource)
    if is_available:
        stream.available(priority)
    return stream


def _in_table(at: tuple[str, int]) -> str:
    """An address as the system's table of connections writes it."""
    (number,) = struct.unpack("=I", socket.inet_aton(at[0]))
    return f"{number:08X}:{at[1]:04X}"


def show(element: Element) -> str:
    try:
        return tostring(element, "unicode")[:500]
    except RecursionError:
        return f"a very deep {element.tag}"


def lang(element: Element) -> str | None:
    return element.get(q(XML, "lang"))
