"""TLS from below: openssl s_client, and hellos that no library would still send."""

import os
import socket
import ssl
import struct
import subprocess

from .raw import RawStream, header
from .server import Server

ALERT, HANDSHAKE = 21, 22
HANDSHAKE_FAILURE, PROTOCOL_VERSION, INSUFFICIENT_SECURITY = 40, 70, 71


def s_client(server: Server, *options: object, direct: bool = True, host: str = "") -> str:
    """Runs one stream from header to end inside openssl s_client; all that it printed."""
    host = host or server.domain
    port = server.tls_port if direct else server.port
    command = ["openssl", "s_client", "-connect", f"{server.address}:{port}", "-ign_eof"]
    command += ["-CAfile", str(server.ca), *map(str, options)]
    if not direct:
        command += ["-starttls", "xmpp", "-xmpphost", host]
    if "-noservername" not in options and "-servername" not in options:
        command += ["-servername", host]
    given = header(host) + "</stream:stream>"
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr


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
    body = struct.pack("!H", version) + os.urandom(32) + b"\0"
    body += struct.pack(f"!H{len(suites)}H", 2 * len(suites), *suites) + b"\x01\x00"
    body += struct.pack("!H", len(extensions)) + extensions
    message = b"\x01" + struct.pack("!I", len(body))[1:] + body
    return struct.pack("!BHH", HANDSHAKE, 0x0301, len(message)) + message


def answer_to(sock: socket.socket, hello: bytes) -> tuple[int, bytes]:
    """Sends a hello; type and content of the record that answers it, then closes."""
    with sock:
        sock.settimeout(20)
        sock.sendall(hello)
        data = b""
        while chunk := sock.recv(4096):
            data += chunk
        if len(data) < 5:
            return 0, data
        size = struct.unpack("!H", data[3:5])[0]
        assert len(data) == 5 + size, f"more than one record came: {data[:80]}"
        return data[0], data[5:]


def names_of(server: Server, sni: str | None, direct: bool, to: str = "") -> list[str]:
    """DNS names of the certificate that the server shows."""

    context = ssl.create_default_context(cafile=str(server.ca))
    context.check_hostname = False
    with RawStream(server, "plain") as stream:
        if direct:
            stream.sock.close()
            stream.sock = socket.create_connection((server.address, server.tls_port), 20)
        else:
            stream.open(to)
            stream.features()
            stream.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            stream.next()
        stream.sock = context.wrap_socket(stream.sock, server_hostname=sni)
        certificate = stream.sock.getpeercert()
        return [name for kind, name in certificate["subjectAltName"] if kind == "DNS"]
