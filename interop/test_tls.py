"""TLS as seen by openssl and by hand-made hellos (RFC 7590, RFC 9325)."""

import socket

import pytest

from harness import tls
from harness.raw import RawStream, login

# Names for what each group of cipher suite numbers is weak in.
WEAK = {
    "RC4": [0x0004, 0x0005, 0xC007, 0xC011],
    "3DES": [0x000A, 0x0016, 0xC008, 0xC012],
    "NULL": [0x0001, 0x0002, 0x003B, 0xC006, 0xC010],
    "EXPORT": [0x0003, 0x0006, 0x0008, 0x0014],
    "anonymous": [0x0018, 0x0034, 0x006C, 0x00A6, 0xC018, 0xC019],
    "static RSA": [0x002F, 0x0035, 0x003C, 0x009C, 0x009D],
    "CBC with SHA-1": [0xC009, 0xC00A, 0xC013, 0xC014, 0x0033, 0x0039],
}
TLS13 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
TLS12 = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"]


def open_port(server, direct):
    """A socket on which the next byte belongs to TLS."""
    if direct:
        return socket.create_connection((server.address, server.tls_port), 20)
    stream = RawStream(server)
    stream.open()
    stream.features()
    stream.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    stream.next()
    return stream.sock


@pytest.mark.parametrize("direct", [True, False], ids=["tls", "starttls"])
@pytest.mark.parametrize("weakness", WEAK)
def test_sec_06_weak_suites(server, weakness, direct):
    kind, content = tls.answer_to(open_port(server, direct), tls.hello_with(WEAK[weakness]))
    assert (kind, content) == (tls.ALERT, bytes([2, tls.HANDSHAKE_FAILURE]))


@pytest.mark.parametrize("direct", [True, False], ids=["tls", "starttls"])
def test_sec_06_old_versions_and_signatures(server, direct):
    good = [0xC02B, 0xC02F]
    for version in (0x0300, 0x0301, 0x0302):
        kind, content = tls.answer_to(open_port(server, direct), tls.hello_with(good, version))
        assert kind == tls.ALERT and content[1] in (tls.PROTOCOL_VERSION, tls.HANDSHAKE_FAILURE)
    hello = tls.hello_with(good, sha1_only=True)
    kind, content = tls.answer_to(open_port(server, direct), hello)
    assert kind == tls.ALERT, "signed with SHA-1"


@pytest.mark.parametrize("certificate", ["ecdsa", "rsa"])
def test_sec_07_strong_suites(server_with, certificate):
    server = server_with(certificate=certificate)
    for direct in (True, False):
        for suite in TLS13:
            shown = tls.s_client(server, "-tls1_3", "-ciphersuites", suite, direct=direct)
            assert f"Cipher is {suite}" in shown and "Verify return code: 0 (ok)" in shown
        for suite in TLS12:
            suite = f"ECDHE-{certificate.upper()}-{suite}"
            shown = tls.s_client(server, "-tls1_2", "-cipher", suite, direct=direct)
            assert f"Cipher is {suite}" in shown and "Verify return code: 0 (ok)" in shown
    for group in ("X25519", "P-256"):
        # In TLS 1.2 the groups also say which curve the key of the certificate may have.
        for version in ("-tls1_3",) if certificate == "ecdsa" else ("-tls1_2", "-tls1_3"):
            shown = tls.s_client(server, version, "-groups", group)
            key = "X25519" if group == "X25519" else "prime256v1"
            assert f"Server Temp Key: {key}" in shown.replace("ECDH, ", ""), shown[-3000:]


@pytest.mark.prosody_differs("resumes no session")
def test_sec_10_session_resumption(server_with, tmp_path):
    server = server_with(hosts=("localhost", "c.example"), certificate="ecdsa")
    for version in ("-tls1_3", "-tls1_2"):
        session = tmp_path / f"session{version}"
        shown = tls.s_client(server, version, "-sess_out", session)
        assert "New, TLSv1" in shown and session.exists()
        shown = tls.s_client(server, version, "-sess_in", session)
        assert "Reused, TLSv1" in shown
        assert "<mechanism>" in shown, "SASL is still asked for"
        shown = tls.s_client(server, version, "-sess_in", session, host="c.example")
        assert "New, TLSv1" in shown, "a ticket for another virtual host"
    early = tmp_path / "early"
    early.write_text("<?xml version='1.0'?>")
    session = tmp_path / "session-tls1_3"
    shown = tls.s_client(server, "-tls1_3", "-sess_in", session, "-early_data", early)
    assert "Early data was accepted" not in shown and "<stream:features" in shown


ONE_FOR_ALL = pytest.mark.prosody_differs("shows one certificate to all on direct TLS")


@pytest.mark.parametrize(
    "direct", [pytest.param(True, marks=ONE_FOR_ALL), False], ids=["tls", "starttls"]
)
def test_sec_46_sni(server_with, direct):
    server = server_with(hosts=("localhost", "c.example"), certificate="ecdsa")
    for host in ("localhost", "c.example"):
        assert tls.names_of(server, host, direct, to=host) == [host]
    if not direct:
        assert tls.names_of(server, None, direct, to="c.example") == ["c.example"]
    try:
        assert tls.names_of(server, "unknown.example", direct, to="localhost") == ["localhost"]
    except OSError as alert:
        assert "UNRECOGNIZED_NAME" in str(alert).upper()
    for host in ("localhost", "c.example"):
        account = server.account("alice", domain=host)
        with login(server, account, mode="tls" if direct else "starttls") as stream:
            assert stream.jid.partition("/")[0] == account.jid


def test_sec_49_no_compression(server):
    for direct in (True, False):
        for version in ("-tls1_2", "-tls1_3"):
            shown = tls.s_client(server, version, "-comp", direct=direct)
            assert "Compression: NONE" in shown
            assert "<stream:features" in shown and "<compression" not in shown
    account = server.account("alice")
    with RawStream(server, "tls") as stream:
        stream.secure()
        stream.sign_in(account)
        assert b"<compression" not in stream.received
        stream.write(
            "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>"
        )
        answer = stream.next()
        assert not answer.tag.endswith("}compressed"), answer.tag
