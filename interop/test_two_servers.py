"""What two servers owe each other: namespaces, and certificates of both."""

import tempfile
from pathlib import Path

import pytest

from harness.names import MESSAGE, body, q, stanza_error
from harness.neighbours import Domain, Prosody, Region, Stentor
from harness.peer import SERVER, Peer
from harness.raw import login
from harness.scenes import chat, has_id, is_chat

EXTENSIONS = {
    "prefix": "<q:foo xmlns:q='urn:example:a'/>",
    "default": "<foo xmlns='urn:example:a'/>",
    "redeclared": "<q:foo xmlns:q='urn:example:a' xmlns='urn:example:b'/>",
}


class WithoutDialback(Prosody):
    """It believes certificates and nothing else."""

    MODULES = [name for name in Prosody.MODULES if name != "dialback"]


@pytest.fixture(scope="module")
def region():
    with tempfile.TemporaryDirectory(prefix="interop-two-") as folder:
        region = Region(Path(folder))
        yield region
        region.dns.close()


@pytest.fixture(scope="module")
def ours(region):
    server = Stentor(region, Domain("a.example"), dialback=False, hold_secs=0).start()
    yield server
    server.dispose()


@pytest.fixture(scope="module")
def theirs(region):
    secure = ("s2s_secure_auth = true",)
    domains = (Domain("b.example"), Domain("unproven.example", "self-signed"))
    server = WithoutDialback(region, *domains, extra=secure).start()
    yield server
    server.dispose()


@pytest.fixture
def alice(ours):
    with login(ours, ours.account("alice")) as stream:
        yield stream


@pytest.fixture
def dora(theirs):
    with login(theirs, theirs.account("dora")) as stream:
        yield stream


# covers: xml-04
def test_xml_04_namespaces_between_servers(region, alice, dora):
    for name, written in EXTENSIONS.items():
        for sender, receiver in ((alice, dora), (dora, alice)):
            sender.write(f"<message to='{receiver.jid}' id='{name}'>{written}</message>")
            got = receiver.wait(has_id(name))
            assert (got.tag, got.get("from")) == (MESSAGE, sender.jid)
            assert got.find("{urn:example:a}foo") is not None

    # On the wire.
    certificate = region.ca.server("raw.example")
    peer = Peer("raw.example", certificate, region.ca.pem)
    region.dns.server_of("raw.example", None, peer.port)
    for name, written in EXTENSIONS.items():
        alice.write(f"<message to='x@raw.example' id='{name}'><body>b</body>{written}</message>")
        got = peer.next()
        assert peer.content == SERVER
        assert (got.tag, got.get("id")) == (q(SERVER, "message"), name)
        inner = [e.tag for e in got if not e.tag.startswith("{urn:xmpp:")]
        assert inner == [q(SERVER, "body"), "{urn:example:a}foo"]
    peer.close()


# covers: sec-26
def test_sec_26_servers_check_each_other_without_dialback(ours, theirs, alice, dora):
    for sender, receiver in ((alice, dora), (dora, alice)):
        chat(sender, receiver.jid, "hello")
        assert receiver.wait(is_chat("hello")).get("from") == sender.jid
    assert "dialback" not in theirs.log_text().lower().replace("s2s_dialback", "")

    # Theirs has a certificate that ours does not believe, and ours none that they would miss.
    emil = theirs.account("emil", domain="unproven.example")
    ident = chat(alice, emil.jid, "to nobody proven")
    kind, condition = stanza_error(alice.wait(has_id(ident)))
    assert condition.startswith("remote-server-"), (kind, condition)
    with login(theirs, emil) as stream:
        ident = chat(stream, alice.jid, "from nobody proven")
        refused = stream.wait(has_id(ident))
        assert refused.get("type") == "error"
    assert not [e for e in alice.ping() if e.tag == MESSAGE and body(e)]


# covers: sec-26
def test_sec_26_ours_without_a_good_certificate_is_refused(region, theirs):
    server = Stentor(
        region, Domain("c.example", "self-signed"), dialback=False, hold_secs=0
    ).start()
    try:
        with login(server, server.account("carol")) as carol:
            ident = chat(carol, f"x@{theirs.domain}", "hello")
            _, condition = stanza_error(carol.wait(has_id(ident)))
            assert condition.startswith("remote-server-"), condition
    finally:
        server.dispose()
