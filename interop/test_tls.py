"""TLS as seen by openssl, sslscan and by hand-made hellos (RFC 7590, RFC 9325)."""

import os
import re
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import tls
from harness.certs import TestCa
from harness.names import SASL, child, q
from harness.raw import RawStream, login
from harness.waiting import DEADLINE_SECS
from harness.wiretap import Wiretap, decrypted

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


@pytest.fixture(params=tls.PORTS)
def port(request, server):
    """Each kind of port."""
    if server.name == "prosody" and request.param.startswith("s2s"):
        pytest.skip("other servers are not let in")
    return request.param


# covers: sec-06
@pytest.mark.parametrize("weakness", WEAK)
def test_sec_06_weak_suites(server, weakness, port):
    kind, content = tls.answer_to(tls.open_port(server, port), tls.hello_with(WEAK[weakness]))
    assert (kind, content) == (tls.ALERT, bytes([2, tls.HANDSHAKE_FAILURE]))


# covers: sec-06
def test_sec_06_old_versions_and_signatures(server, port):
    good = [0xC02B, 0xC02F]
    for version in (0x0300, 0x0301, 0x0302):
        kind, content = tls.answer_to(tls.open_port(server, port), tls.hello_with(good, version))
        assert kind == tls.ALERT and content[1] in (tls.PROTOCOL_VERSION, tls.HANDSHAKE_FAILURE)
    hello = tls.hello_with(good, sha1_only=True)
    kind, content = tls.answer_to(tls.open_port(server, port), hello)
    assert kind == tls.ALERT, "signed with SHA-1"


# covers: sec-06, sec-40
@pytest.mark.prosody_differs("takes CBC with SHA-1")
def test_sec_06_scanned(server_with):
    made = {certificate: server_with(certificate=certificate) for certificate in ("ecdsa", "rsa")}
    ways = [(certificate, port) for certificate in made for port in tls.PORTS]
    # The scanner spends most of its time waiting.
    with ThreadPoolExecutor(len(ways)) as pool:
        scans = pool.map(lambda way: tls.scanned(made[way[0]], way[1]), ways)
    for (certificate, port), (versions, suites) in zip(ways, scans):
        assert versions == {"TLSv1.2", "TLSv1.3"}, port
        ours = {f"ECDHE-{certificate.upper()}-{suite}" for suite in TLS12}
        assert suites == ours | set(TLS13), port


# covers: sec-06
@pytest.mark.prosody_differs("leaves that to who runs it")
def test_sec_06_weakness_cannot_be_configured(server_with):
    server = server_with(certificate="ecdsa", client_certificates="optional")
    assert server.check_with()[0] == 0
    for weakness, word in (("rsa1024", "1024"), ("sha1", "SHA-1")):
        chain, key = server.test_ca.weak("c.example", weakness)
        code, told = server.check_with(f'[[certificate]]\nchain = "{chain}"\nkey = "{key}"')
        assert code == 1 and word in told, told
    for line in ('ciphers = "ALL"', 'cipher_suites = ["TLS_RSA_WITH_RC4_128_SHA"]'):
        code, told = server.check_with(in_tls=line)
        assert code == 1 and line.split()[0] in told, told
    for version in ("1.0", "1.1", "ssl3"):
        code, told = server.check_with(in_tls=f'version_min = "{version}"')
        assert code == 1 and "version_min" in told, told

    # Nor are such certificates taken from clients.
    alice = server.account("alice")
    good = server.test_ca.client("good", [alice.jid])
    assert "EXTERNAL" in shown_to(server, good)
    for weakness in ("rsa1024", "sha1"):
        shown = shown_to(server, server.test_ca.weak(alice.jid, weakness))
        assert "EXTERNAL" not in shown, shown[-2000:]
        assert "<mechanism>" in shown or "alert" in shown, shown[-2000:]


def shown_to(server, certificate):
    """What openssl prints of a stream with a client's certificate, whatever openssl thinks of it."""
    chain, key = certificate
    options = ["-cert", chain, "-key", key, "-cipher", "DEFAULT@SECLEVEL=0"]
    return tls.s_client(server, *options)


# covers: sec-07
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
        in_tls12 = "X25519:P-256" if (group, certificate) == ("X25519", "ecdsa") else group
        for version, groups in (("-tls1_2", in_tls12), ("-tls1_3", group)):
            shown = tls.s_client(server, version, "-groups", groups)
            key = "X25519" if group == "X25519" else "prime256v1"
            assert f"Server Temp Key: {key}" in shown.replace("ECDH, ", ""), shown[-3000:]


# covers: sec-07
@pytest.mark.prosody_differs("has a library of before that")
def test_sec_07_post_quantum_hybrid(server, port):
    hello = tls.server_hello(tls.open_port(server, port), tls.hello_with_mlkem())
    group, share = tls.key_share(hello)
    # A ciphertext of ML-KEM-768, and a key of X25519.
    assert group == tls.X25519MLKEM768 and len(share) == 1088 + 32


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


# covers: sec-40
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sec_40_the_private_key_opens_no_recording(server_with, tmp_path, version):
    server = server_with(certificate="rsa")
    _, key = server.certificate_of(server.domain)
    with Wiretap(server.address, server.tls_port, tmp_path / "ours.pcap") as tap:
        assert "<stream:features" in tls.s_client(server, version, port=tap.port)
    assert decrypted(tap.file, server.tls_port, key) == b""

    # The same would open a session without forward secrecy.
    chain, _ = server.certificate_of(server.domain)
    with tls.s_server(chain, key, "AES128-GCM-SHA256@SECLEVEL=0") as port:
        with Wiretap("127.0.0.1", port, tmp_path / "weak.pcap") as tap:
            options = ["-tls1_2", "-cipher", "AES128-GCM-SHA256@SECLEVEL=0"]
            tls.s_client(server, *options, port=tap.port, given="GET / HTTP/1.0\r\n\r\n")
    assert b"GET / HTTP/1.0" in decrypted(tap.file, port, key)


# covers: sec-40
def test_sec_40_keys_of_100_handshakes_differ(server, port):
    for new_key in (
        lambda: tls.ephemeral_key(tls.open_port(server, port)),
        lambda: tls.key_share(
            tls.server_hello(
                tls.open_port(server, port),
                tls.hello_with_groups([tls.X25519], {tls.X25519: os.urandom(32)}),
            )
        )[1],
    ):
        keys = [new_key() for _ in range(100)]
        assert len(set(keys)) == 100 and all(len(key) == 32 for key in keys)


# covers: sec-40
@pytest.mark.prosody_differs("resumes no session")
def test_sec_40_keys_of_tickets_rotate_and_are_on_no_disk(server_with, tmp_path):
    server = server_with(certificate="ecdsa", has_own_clock=True)
    session = tmp_path / "session"

    def resumes():
        return "Reused, TLSv1" in tls.s_client(server, "-tls1_2", "-sess_in", session)

    keys = []
    for hours in (0, 13, 26):
        server.clock.put_forward(hours)
        shown = tls.s_client(server, "-tls1_2", "-sess_out", session)
        assert resumes()
        # A ticket begins with the name of its key.
        keys.append(re.search(r"0000 - ((?:[0-9a-f]{2}[ -]){8})", shown).group(1))
    assert len(set(keys)) == 3
    server.clock.put_forward(26 + 11)
    assert resumes()
    server.clock.put_forward(26 + 25)
    assert not resumes(), "the key of a day ago is gone"
    tls.s_client(server, "-tls1_2", "-sess_out", session)
    assert resumes()
    server.restart()
    assert not resumes(), "the keys of before were in memory only"


@pytest.mark.prosody_differs("knows no client certificates of users")
@pytest.mark.parametrize("direct", [True, False], ids=["tls", "starttls"])
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_certificate_required(server_with, tmp_path, version, direct):
    server = server_with(client_certificates="required", certificate="ecdsa")
    alice = server.account("alice")
    stranger_ca = TestCa(tmp_path / "stranger", "Stranger CA")

    def shown_with(certificate):
        options = ["-cert", certificate[0], "-key", certificate[1]] if certificate else []
        return tls.s_client(server, version, *options, direct=direct)

    shown = shown_with(None)
    if version == "-tls1_3":
        assert "alert certificate required" in shown and "<stream:features" not in shown
    else:
        # Before TLS 1.3 there was no such alert.
        assert "SSL alert number" in shown and "<mechanism>" not in shown, shown[-2000:]
    shown = shown_with(stranger_ca.client("alice", [alice.jid]))
    assert "alert unknown ca" in shown or "alert bad certificate" in shown, shown[-2000:]
    assert "<mechanism>" not in shown
    shown = shown_with(server.test_ca.client("alice", [alice.jid]))
    assert "<mechanism>EXTERNAL</mechanism>" in shown
    assert "<mechanism>SCRAM-SHA-256</mechanism>" in shown


@pytest.mark.prosody_differs("knows no client certificates of users")
@pytest.mark.parametrize("mechanisms", [["EXTERNAL"], None], ids=["external", "password"])
def test_sign_in_behind_a_certificate(server_with, mechanisms):
    server = server_with(client_certificates="required", certificate="ecdsa", mechanisms=mechanisms)
    alice = server.account("alice")
    context = ssl.create_default_context(cafile=str(server.ca))
    context.load_cert_chain(*server.test_ca.client("alice", [alice.jid]))
    for by_password in (False, True):
        with RawStream(server, "plain") as stream:
            stream.sock.close()
            stream.sock = socket.create_connection((server.address, server.tls_port), DEADLINE_SECS)
            stream.wrap_tls(context=context)
            stream.open()
            offered = {e.text for e in child(stream.features(), SASL, "mechanisms")}
            assert "EXTERNAL" in offered
            if by_password and mechanisms:
                assert offered == {"EXTERNAL"}
                continue
            if by_password:
                stream.sign_in(alice)
            else:
                assert stream.auth("EXTERNAL", b"").tag == q(SASL, "success")
                stream.open()
                stream.features()
            assert stream.bind().partition("/")[0] == alice.jid


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
