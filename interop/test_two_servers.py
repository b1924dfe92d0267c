"""What two servers owe each other: namespaces, and certificates of both."""

import socket
import tempfile
from pathlib import Path

import pytest

from harness import tls
from harness.certs import TestCa
from harness.names import MESSAGE, SASL, body, q, stanza_error
from harness.neighbours import Domain, Prosody, Region, Stentor
from harness.peer import SERVER, Peer
from harness.raw import RawStream, login
from harness.scenes import chat, has_id, is_chat
from harness.waiting import DEADLINE_SECS

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


class Guarded(Stentor):
    """Ours, where clients show certificates as well."""

    def __init__(self, region, name):
        keys = f'client_certificates = "required"\nclient_authority = "{region.ca.pem}"'
        options = {"dialback": False, "hold_secs": 0, "extra": f"[tls]\n{keys}\n"}
        super().__init__(region, Domain(name), **options)

    def client_context(self, address=""):
        context = super().client_context()
        address = address or f"somebody@{self.domain}"
        context.load_cert_chain(*self.region.ca.client(address, [address]))
        return context


# covers: sec-26
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sec_26_all_show_certificates(region, theirs, tmp_path, version):
    server = Guarded(region, f"guarded{version[-1]}.example").start()
    try:
        _clients_show_certificates(server, tmp_path, version)
        _servers_show_certificates(server, theirs)
    finally:
        server.dispose()
    _ours_without_a_good_one_is_refused(region, theirs)


def _clients_show_certificates(server, tmp_path, version):
    alice = server.account("alice")
    stranger = TestCa(tmp_path / "stranger", "Stranger CA").client("alice", [alice.jid])

    def shown_with(certificate):
        options = ["-cert", certificate[0], "-key", certificate[1]] if certificate else []
        return tls.s_client(server, version, *options)

    # Before TLS 1.3 there was no alert of that name.
    alert = "alert certificate required" if version == "-tls1_3" else "SSL alert number"
    for certificate, alerts in ((None, [alert]), (stranger, ["unknown ca", "bad certificate"])):
        shown = shown_with(certificate)
        assert any(alert in shown for alert in alerts), shown[-2000:]
        assert "<mechanism>" not in shown
    shown = shown_with(server.region.ca.client("alice", [alice.jid]))
    for mechanism in ("EXTERNAL", "SCRAM-SHA-256"):
        assert f"<mechanism>{mechanism}</mechanism>" in shown
    with RawStream(server, "plain") as stream:
        stream.sock.close()
        stream.sock = socket.create_connection((server.address, server.tls_port), DEADLINE_SECS)
        stream.wrap_tls(context=server.client_context(alice.jid))
        stream.open()
        stream.features()
        assert stream.auth("EXTERNAL", b"").tag == q(SASL, "success")
        stream.open()
        stream.features()
        assert stream.bind().partition("/")[0] == alice.jid
    login(server, alice).cut()


def _servers_show_certificates(ours, theirs):
    """They check each other's, and nobody calls back."""
    with login(ours, ours.account("anna")) as anna, login(theirs, theirs.account("dave")) as dave:
        before = len(theirs.log_text())
        for sender, receiver in ((anna, dave), (dave, anna)):
            chat(sender, receiver.jid, "hello")
            assert receiver.wait(is_chat("hello")).get("from") == sender.jid
        assert "dialback" not in theirs.log_text()[before:].lower().replace("s2s_dialback", "")

        # Theirs has a certificate that ours does not believe, and ours none that they would miss.
        emil = theirs.account("emil", domain="unproven.example")
        ident = chat(anna, emil.jid, "to nobody proven")
        kind, condition = stanza_error(anna.wait(has_id(ident)))
        assert condition.startswith("remote-server-"), (kind, condition)
        with login(theirs, emil) as stream:
            ident = chat(stream, anna.jid, "from nobody proven")
            assert stream.wait(has_id(ident)).get("type") == "error"
        assert not [e for e in anna.ping() if e.tag == MESSAGE and body(e)]


def _ours_without_a_good_one_is_refused(region, theirs):
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
