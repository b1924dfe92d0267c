"""What no stream may have (RFC 6120 §11.1), on every kind of stream and from either end of it."""

import hashlib
import socket
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from harness.names import STREAM, STREAMS_ERRORS, condition, q
from harness.neighbours import Domain, Region, Stentor
from harness.peer import SERVER, Caller, Peer
from harness.raw import RawStream, header, login, new_id
from harness.scenes import chat, delivered
from harness.server import PASSWORD, free_ports
from harness.tls import port_of
from harness.waiting import DEADLINE_SECS

COMPONENT = "jabber:component:accept"
PARROTS = "parrots.example"

# What must not be there, and what is said to it. A declaration is one at the beginning only.
FORBIDDEN = [
    ("<?php secret?>", "restricted-xml"),
    ("<?xml-stylesheet href='secret'?>", "restricted-xml"),
    ("<!-- secret -->", "restricted-xml"),
    ("<?xml version='1.0'?>", "not-well-formed"),
]
# Where, beside the place before the header.
PLACES = [
    "{forbidden}",
    "<message {addresses}>{forbidden}<body>secret</body></message>",
    "<message {addresses}><body>secret{forbidden}</body></message>",
    "<message {addresses}><body>secret</body>{forbidden}</message>",
]


class Ours(Stentor):
    """Ours, with a component."""

    def __init__(self, region: Region):
        (self.component_port,) = free_ports(1)
        listen = f'[[listen]]\nkind = "component"\naddress = "127.0.0.1:{self.component_port}"\n'
        component = f'[[component]]\ndomain = "{PARROTS}"\nsecret = "{PASSWORD}"\n'
        super().__init__(region, Domain("ours.example"), extra=listen + component)


@pytest.fixture(scope="module")
def ours():
    with tempfile.TemporaryDirectory(prefix="interop-forbidden-") as folder:
        region = Region(Path(folder))
        server = Ours(region).start()
        yield server
        server.dispose()
        region.dns.close()


@pytest.fixture
def bob(ours):
    """Whom nothing of it reaches."""
    with login(ours, ours.account("bob")) as stream:
        yield stream
        with login(ours, ours.account("witness")) as witness:
            assert delivered(witness, stream) == []
        assert "secret" not in stream.received.decode()
        assert "secret" not in ours.log_text()


class Fresh(RawStream):
    """A connection to a port of this kind, on which nothing was said yet, and a header for it."""

    def __init__(self, server: Ours, kind: str):
        self.server = server
        port = server.component_port if kind == "component" else port_of(server, kind)
        self.sock = socket.create_connection((server.address, port), DEADLINE_SECS)
        self._reset()
        if kind.endswith("-tls"):
            self.wrap_tls()
        to = PARROTS if kind == "component" else server.domain
        text = header(to).partition("?>")[2]
        content = {"c2s": "jabber:client", "s2s": SERVER, "component": COMPONENT}
        self.header = text.replace("jabber:client", content[kind.partition("-")[0]])


# covers: xml-20
@pytest.mark.parametrize("kind", ["c2s", "c2s-tls", "s2s", "s2s-tls", "component"])
def test_xml_20_before_and_after_the_header(ours, kind):
    for forbidden, error in FORBIDDEN:
        with Fresh(ours, kind) as stream:
            stream.write(early(forbidden) + stream.header)
            stream.expect_stream_error(error)
            assert stream.root.tag == q(STREAM, "stream")
        with Fresh(ours, kind) as stream:
            stream.write(stream.header + forbidden)
            stream.expect_stream_error(error)


# covers: xml-20
@pytest.mark.parametrize("mode", ["starttls", "tls"])
@pytest.mark.parametrize("place", PLACES)
def test_xml_20_from_clients(ours, bob, mode, place):
    account = ours.account("alice")
    for forbidden, error in FORBIDDEN:
        with login(ours, account, mode=mode) as alice:
            alice.write(place.format(forbidden=forbidden, addresses=f"to='{bob.jid}'"))
            alice.expect_stream_error(error)


# covers: xml-20
@pytest.mark.parametrize("place", PLACES)
def test_xml_20_from_servers(ours, bob, place):
    other = "caller.example"
    for forbidden, error in FORBIDDEN:
        with Caller(ours, other, ours.region.ca.server(other)) as stream:
            addresses = f"from='x@{other}' to='{bob.jid}'"
            stream.write(place.format(forbidden=forbidden, addresses=addresses))
            stream.expect_stream_error(error)


# covers: xml-20
@pytest.mark.parametrize("place", PLACES)
def test_xml_20_from_components(ours, bob, place):
    for forbidden, error in FORBIDDEN:
        with Fresh(ours, "component") as stream:
            ident = stream.open(text=stream.header).get("id")
            proof = hashlib.sha1((ident + PASSWORD).encode()).hexdigest()
            stream.write(f"<handshake>{proof}</handshake>")
            assert stream.next().tag == q(COMPONENT, "handshake")
            addresses = f"from='x@{PARROTS}' to='{bob.jid}'"
            stream.write(place.format(forbidden=forbidden, addresses=addresses))
            stream.expect_stream_error(error)


# covers: xml-20
@pytest.mark.parametrize("place", ["before", *PLACES])
def test_xml_20_from_servers_that_ours_has_called(ours, bob, place):
    region = ours.region
    with login(ours, ours.account("alice")) as alice:
        for forbidden, error in FORBIDDEN:
            domain = f"{new_id('peer')}.example"
            addresses = f"from='x@{domain}' to='{bob.jid}'"
            if place == "before":
                said = {"before": early(forbidden)}
            else:
                said = {"after": place.format(forbidden=forbidden, addresses=addresses)}
            with closing(Peer(domain, region.ca.server(domain), region.ca.pem, **said)) as peer:
                region.dns.server_of(domain, None, peer.port)
                chat(alice, f"x@{domain}", "hello")
                while (answer := peer.next()).tag == q(SERVER, "message"):
                    continue
                assert answer.tag == q(STREAM, "error")
                assert condition(answer, STREAMS_ERRORS) == error
                peer.await_end()


def early(forbidden: str) -> str:
    """What is forbidden before a header: a declaration only where another one was before it."""
    return forbidden * 2 if forbidden.startswith("<?xml ") else forbidden
