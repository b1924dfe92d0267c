"""TLS from below: openssl s_client, and hellos that no library would still send."""

import os
import secrets
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from .raw import RawStream, header
from .server import Server, accepts, free_ports
from .waiting import DEADLINE_SECS, until

ALERT, HANDSHAKE = 21, 22
HANDSHAKE_FAILURE, PROTOCOL_VERSION, INSUFFICIENT_SECURITY = 40, 70, 71


# Ports by what a connection to one is. Servers on which others are not judged have the first two.
PORTS = ["c2s-tls", "c2s", "s2s-tls", "s2s"]
# Key exchanges by number (RFC 8446 §4.2.7, draft-ietf-tls-ecdhe-mlkem).
X25519MLKEM768, X25519 = 0x11EC, 0x001D


def port_of(server: Server, kind: str) -> int:
    """The port of a kind."""
    return {
        "c2s": lambda: server.port,
        "c2s-tls": lambda: server.tls_port,
        "s2s": lambda: server.s2s_port,
        "s2s-tls": lambda: server.s2s_tls_port,
    }[kind]()


def open_port(server: Server, kind: str) -> socket.socket:
    """A connection to a port on which the next byte belongs to TLS."""
    sock = socket.create_connection((server.address, port_of(server, kind)), DEADLINE_SECS)
    if kind.endswith("-tls"):
        return sock
    content = "jabber:client" if kind == "c2s" else "jabber:server"
    text = header(server.domain).replace("jabber:client", content)
    if kind == "s2s":
        text = text.replace(" to=", " from='other.example' to=")
    for said, awaited in (
        (text, b"</stream:features>"),
        ("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", b"<proceed"),
    ):
        sock.sendall(said.encode())
        came = b""
        while awaited not in came:
            came += sock.recv(4096) or pytest.fail(f"closed after {came}")
        assert came.endswith(b">"), came
    return sock


def s_client(
    server: Server,
    *options: object,
    direct: bool = True,
    host: str = "",
    port: int = 0,
    given: str = "",
) -> str:
    """Runs one stream from header to end inside openssl s_client; all that it printed."""
    host = host or server.domain
    port = port or (server.tls_port if direct else server.port)
    command = ["openssl", "s_client", "-connect", f"{server.address}:{port}", "-ign_eof"]
    command += ["-CAfile", str(server.ca), *map(str, options)]
    if not direct:
        command += ["-starttls", "xmpp", "-xmpphost", host]
    if "-noservername" not in options and "-servername" not in options:
        command += ["-servername", host]
    given = given or header(host) + "</stream:stream>"
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=DEADLINE_SECS
    )
    return done.stdout + done.stderr


@contextmanager
def s_server(chain: Path, key: Path, suites: str) -> Iterator[int]:
    """A web server of openssl's with such suites of TLS 1.2; its port."""
    (port,) = free_ports(1)
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-tls1_2", "-cipher", suites]
    command += ["-cert", chain, "-key", key, "-www", "-quiet"]
    server = subprocess.Popen(
        [*map(str, command)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: accepts("127.0.0.1", port), "openssl listens")
    yield port
    server.kill()
    server.wait()
    server.stdin.close()


def scanned(server: Server, kind: str) -> tuple[set[str], set[str]]:
    """Runs sslscan on a port; the versions it can speak, and the suites of all of them."""
    # It takes the name of the host for that of the domain.
    at = f"{server.domain}:{port_of(server, kind)}"
    way = {"c2s": ["--starttls-xmpp"], "s2s": ["--starttls-xmpp", "--xmpp-server"]}.get(kind, [])
    leave_out = [f"--no-{what}" for what in ("fallback", "renegotiation", "heartbleed", "groups")]
    command = ["sslscan", "--xml=-", "--ipv4", *leave_out, *way, at]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECS)
    test = fromstring(done.stdout).find("ssltest")
    enabled = [e for e in test.findall("protocol") if e.get("enabled") == "1"]
    versions = {
        f"{e.get('type').upper().replace('TLS', 'TLSv')}{e.get('version')}" for e in enabled
    }
    return versions, {e.get("cipher") for e in test.findall("cipher")}


def hello_with(suites: list[int], version: int = 0x0303, sha1_only: bool = False) -> bytes:
    """A ClientHello up to TLS 1.2 that offers just these cipher suites."""
    name = b"localhost"
    schemes = [0x0201, 0x0203] if sha1_only else [0x0403, 0x0804, 0x0401, 0x0201, 0x0203]
    extensions = b"".join(
        struct.pack("!HH", kind, len(data)) + data
        for kind, data in (
            (0, struct.pack("!HBH", len(name) + 3, 0, len(name)) + name),
            (10, struct.pack("!HHH", 4, 29, 23)),
            (11, b"\x01\x00"),
            (13, struct.pack("!H", 2 * len(schemes)) + struct.pack(f"!{len(schemes)}H", *schemes)),
        )
    )
    return _hello(version, suites, extensions)


def _hello(version: int, suites: list[int], extensions: bytes) -> bytes:
    body = struct.pack("!H", version) + os.urandom(32) + b"\0"
    body += struct.pack(f"!H{len(suites)}H", 2 * len(suites), *suites) + b"\x01\x00"
    body += struct.pack("!H", len(extensions)) + extensions
    message = b"\x01" + struct.pack("!I", len(body))[1:] + body
    return struct.pack("!BHH", HANDSHAKE, 0x0301, len(message)) + message


def hello_with_groups(groups: list[int], shares: dict[int, bytes]) -> bytes:
    """A ClientHello of TLS 1.3 with these key exchanges and key shares."""
    name = b"localhost"
    keys = b"".join(struct.pack("!HH", g, len(key)) + key for g, key in shares.items())
    schemes = [0x0403, 0x0804]
    extensions = b"".join(
        struct.pack("!HH", kind, len(data)) + data
        for kind, data in (
            (0, struct.pack("!HBH", len(name) + 3, 0, len(name)) + name),
            (10, struct.pack(f"!H{len(groups)}H", 2 * len(groups), *groups)),
            (13, struct.pack("!H2H", 4, *schemes)),
            (43, b"\x02\x03\x04"),
            (51, struct.pack("!H", len(keys)) + keys),
        )
    )
    return _hello(0x0303, [0x1301], extensions)


def hello_with_mlkem() -> bytes:
    """A ClientHello that offers the hybrid key exchange, with a share for it."""
    # Each coefficient below 3329 is one of an ML-KEM key; two of them are three bytes (FIPS 203).
    pairs = ((secrets.randbelow(3329), secrets.randbelow(3329)) for _ in range(384))
    packed = b"".join((a | b << 12).to_bytes(3, "little") for a, b in pairs)
    share = packed + os.urandom(32) + os.urandom(32)
    return hello_with_groups([X25519MLKEM768, X25519], {X25519MLKEM768: share})


def key_share(server_hello: bytes) -> tuple[int, bytes]:
    """Group and key of the server's key share, in a ServerHello of TLS 1.3."""
    at = 4 + 2 + 32
    at += 1 + server_hello[at] + 2 + 1 + 2
    while at < len(server_hello):
        kind, size = struct.unpack("!HH", server_hello[at : at + 4])
        if kind == 51:
            group, length = struct.unpack("!HH", server_hello[at + 4 : at + 8])
            return group, server_hello[at + 8 : at + 8 + length]
        at += 4 + size
    raise AssertionError("no key share")


def ephemeral_key(sock: socket.socket) -> bytes:
    """The server's key of a key exchange in TLS 1.2 by X25519, then closes."""
    with sock:
        sock.settimeout(DEADLINE_SECS)
        sock.sendall(hello_with([0xC02B, 0xC02C]))
        messages = b""
        while True:
            head = sock.recv(5, socket.MSG_WAITALL)
            assert head[0] == HANDSHAKE, head
            messages += sock.recv(struct.unpack("!H", head[3:5])[0], socket.MSG_WAITALL)
            at = 0
            while at + 4 <= len(messages):
                kind, size = messages[at], int.from_bytes(messages[at + 1 : at + 4])
                if kind == 12 and at + 4 + size <= len(messages):
                    curve, length = struct.unpack("!xHB", messages[at + 4 : at + 8])
                    assert (curve, length) == (X25519, 32)
                    return messages[at + 8 : at + 8 + length]
                at += 4 + size


def answer_to(sock: socket.socket, hello: bytes) -> tuple[int, bytes]:
    """Sends a hello; type and content of the record that answers it, then closes."""
    with sock:
        sock.settimeout(DEADLINE_SECS)
        sock.sendall(hello)
        data = b""
        while chunk := sock.recv(4096):
            data += chunk
        if len(data) < 5:
            return 0, data
        size = struct.unpack("!H", data[3:5])[0]
        assert len(data) == 5 + size, f"more than one record came: {data[:80]}"
        return data[0], data[5:]


def server_hello(sock: socket.socket, hello: bytes) -> bytes:
    """Sends a hello; the ServerHello that answers it, then closes."""
    with sock:
        sock.settimeout(DEADLINE_SECS)
        sock.sendall(hello)
        head = sock.recv(5, socket.MSG_WAITALL)
        assert head[0] == HANDSHAKE, head
        return sock.recv(struct.unpack("!H", head[3:5])[0], socket.MSG_WAITALL)


def names_of(server: Server, sni: str | None, direct: bool, to: str = "") -> list[str]:
    """DNS names of the certificate that the server shows."""

    context = ssl.create_default_context(cafile=str(server.ca))
    context.check_hostname = False
    with RawStream(server, "plain") as stream:
        if direct:
            stream.sock.close()
            stream.sock = socket.create_connection((server.address, server.tls_port), DEADLINE_SECS)
        else:
            stream.open(to)
            stream.features()
            stream.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            stream.next()
        stream.sock = context.wrap_socket(stream.sock, server_hostname=sni)
        certificate = stream.sock.getpeercert()
        return [name for kind, name in certificate["subjectAltName"] if kind == "DNS"]
