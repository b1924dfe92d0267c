"""SASL over real connections (RFC 6120 §6)."""

import os
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import sasl
from harness.certs import TestCa
from harness.names import MESSAGE, SASL, SASL2, bodies, body, child, condition, q, stanza_error
from harness.raw import RawStream, SaslFailure, header, login
from harness.scenes import chat, has_id
from harness.server import Account
from harness.waiting import DEADLINE_SECS, Deadline, until
from test_sasl2 import Device

HASHES = ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"]


def mechanisms(features):
    found = child(features, SASL, "mechanisms")
    return [] if found is None else [e.text for e in found]


def fresh(server, **options):
    """A secured stream that waits for <auth/>, and its features."""
    stream = RawStream(server, "tls", **options)
    return stream, stream.secure()


def failure(server, mechanism, first, **options):
    """The SASL condition that a first message leads to."""
    stream, _ = fresh(server, **options)
    with stream:
        answer = stream.auth(mechanism, first)
        assert answer.tag == q(SASL, "failure"), answer.tag
        return condition(answer, SASL)


def tries(server, account, password, **options):
    """Signs in with a password of one's choice; 'ok' or the SASL condition."""
    stream, _ = fresh(server, **options)
    with stream:
        try:
            stream.sign_in(Account(account.local, account.domain, password))
        except SaslFailure as refused:
            return str(refused)
        return "ok"


def test_scram_mechanisms(server):
    account = server.account("alice")
    stream, features = fresh(server)
    offered = mechanisms(features)
    stream.cut()
    assert "SCRAM-SHA-1" in offered
    for mechanism in HASHES:
        if mechanism in offered:
            login(server, account, mechanism=mechanism).close()
    if server.name != "prosody":
        assert set(HASHES) <= set(offered)
    for mechanism in set(HASHES) & set(offered):
        wrong = Account(account.local, account.domain, "wrong")
        with pytest.raises(SaslFailure, match="not-authorized"):
            login(server, wrong, mechanism=mechanism)


def test_sec_11_plain(server, prosody_differs):
    # An ideographic space and a no-break space count as a space, a + ring as one letter.
    spelled = "pass\u00a0w\u00f6rd \u00e5\u3000\u4e2d"
    account = server.account("alice", password="pass w\u00f6rd \u00e5 \u4e2d")
    for password in (account.password, spelled, "pass wo\u0308rd a\u030a \u4e2d"):
        same = Account(account.local, account.domain, password)
        with login(server, same, mechanism="PLAIN", mode="starttls") as stream:
            assert stream.ping() == []
    account = server.account("alice", password="two  words \u00e4")
    login(server, account, mechanism="PLAIN", mode="starttls").close()
    with RawStream(server) as stream:
        stream.open()
        assert "PLAIN" not in mechanisms(stream.features())
        answer = stream.auth("PLAIN", sasl.plain(account.local, account.password))
        assert condition(answer, SASL) == "encryption-required"
    right = sasl.plain(account.local, account.password, account.jid)
    stream, _ = fresh(server)
    with stream:
        assert stream.auth("PLAIN", right).tag == q(SASL, "success")
    other = server.account("bob")
    with prosody_differs("ignores authorization identities"):
        for authzid in (other.jid, f"{account.local}@other.example", "@"):
            message = sasl.plain(account.local, account.password, authzid)
            assert failure(server, "PLAIN", message) == "invalid-authzid", authzid
    for broken in (account.local.encode(), b"\0" + account.local.encode(), b""):
        assert failure(server, "PLAIN", broken) == "malformed-request", broken
    wrong = sasl.plain(account.local, "wrong")
    unknown = sasl.plain("nobody", "wrong")
    assert failure(server, "PLAIN", wrong) == "not-authorized"
    assert failure(server, "PLAIN", unknown) == "not-authorized"
    assert failure(server, "PLAIN", "***") == "incorrect-encoding"


def test_sasl_errors_of_the_exchange(server):
    account = server.account("alice")
    assert failure(server, "X-NONE", b"x") == "invalid-mechanism"
    stream, _ = fresh(server)
    with stream:
        stream.auth("SCRAM-SHA-1", sasl.Scram("SCRAM-SHA-1", account.local, "x").first())
        stream.write(f"<abort xmlns='{SASL}'/>")
        assert condition(stream.next(), SASL) == "aborted"
        stream.sign_in(account)
        stream.bind()
        assert stream.ping() == []
    stream, _ = fresh(server)
    with stream:
        stream.auth("SCRAM-SHA-1", sasl.Scram("SCRAM-SHA-1", account.local, "x").first())
        assert condition(stream.respond(b"nonsense"), SASL) == "malformed-request"


@pytest.mark.prosody_differs("knows no client certificates of users")
def test_sec_14_external(server_with, tmp_path):
    server = server_with(client_certificates="optional", certificate="ecdsa")
    alice, bob = server.account("alice"), server.account("bob")
    stranger_ca = TestCa(tmp_path / "stranger", "Stranger CA")

    def secured(certificate):
        context = ssl.create_default_context(cafile=str(server.ca))
        if certificate:
            context.load_cert_chain(*certificate)
        stream = RawStream(server)
        stream.open()
        stream.features()
        stream.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        stream.next()
        stream.wrap_tls(context=context)
        stream.open()
        return stream, mechanisms(stream.features())

    def outcome(certificate, authzid):
        stream, offered = secured(certificate)
        assert "EXTERNAL" in offered
        with stream:
            answer = stream.auth("EXTERNAL", authzid.encode())
            if answer.tag == q(SASL, "failure"):
                return condition(answer, SASL)
            stream.open()
            stream.features()
            return stream.bind().partition("/")[0]

    one = server.test_ca.client("alice", [alice.jid])
    both = server.test_ca.client("both", [alice.jid, bob.jid])
    assert outcome(one, "") == alice.jid
    assert outcome(one, alice.jid) == alice.jid
    assert outcome(one, bob.jid) == "invalid-authzid"
    assert outcome(both, bob.jid) == bob.jid and outcome(both, alice.jid) == alice.jid
    for certificate in (None, stranger_ca.client("alice", [alice.jid])):
        stream, offered = secured(certificate)
        assert "EXTERNAL" not in offered
        with stream:
            assert condition(stream.auth("EXTERNAL", b""), SASL) == "invalid-mechanism"


def test_sec_15_anonymous(server_with, server, prosody_differs):
    stream, features = fresh(server)
    with stream:
        assert "ANONYMOUS" not in mechanisms(features), "off by default"
        assert condition(stream.auth("ANONYMOUS", b""), SASL) == "invalid-mechanism"
    own = server_with(hosts=("localhost",), anonymous_hosts=("anon.example",), certificate="ecdsa")
    host = "anon.example"

    def guest(trace=b""):
        stream = RawStream(own, "plain")
        stream.secure(host)
        answer = stream.auth("ANONYMOUS", trace)
        assert answer.tag == q(SASL, "success"), condition(answer, SASL)
        stream.open(host)
        stream.features()
        stream.bind()
        stream.available()
        return stream

    one, two = guest(), guest(b"trace@example")
    assert one.jid != two.jid and one.jid.partition("@")[2].startswith(host)
    with prosody_differs("talks to guests of its own host only"):
        account = own.account("bob")
        with login(own, account) as bob:
            chat(one, bob.jid, "hello")
            assert bodies(one.barrier(bob)[0]) == ["hello"]
        one.write("<message to='x@remote.example' id='r'><body>x</body></message>")
        assert stanza_error(one.wait(has_id("r"))) == ("cancel", "not-allowed")
        item = f"<query xmlns='jabber:iq:roster'><item jid='{account.jid}'/></query>"
        assert stanza_error(one.request(item, "set")) == ("cancel", "not-allowed")
        chat(one, account.jid, "stored?")
        assert stanza_error(one.wait(lambda e: e.get("type") == "error"))[1] == "not-allowed"
    stream = RawStream(own, "plain")
    stream.secure(host)
    with stream, prosody_differs("does not look at trace data"):
        answer = stream.auth("ANONYMOUS", b"x" * 256)
        assert condition(answer, SASL) == "malformed-request"
    gone = one.jid
    one.close()
    chat(two, gone, "gone")
    assert stanza_error(two.wait(lambda e: e.get("type") == "error"))[1] == "service-unavailable"
    two.close()


def test_sec_18_replay_of_a_login(server):
    account = server.account("alice")

    def refused(answer):
        wanted = "malformed-request" if server.name == "prosody" else "not-authorized"
        assert condition(answer, SASL) == wanted

    for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
        stream, features = fresh(server)
        if mechanism not in mechanisms(features):
            stream.cut()
            continue
        scram = sasl.Scram(mechanism, account.local, account.password)
        challenge = sasl.unb64(stream.auth(mechanism, scram.first()).text)
        final = scram.final(challenge)
        assert stream.respond(final).tag == q(SASL, "success")
        stream.cut()
        stream, _ = fresh(server)
        with stream:
            again = sasl.unb64(stream.auth(mechanism, scram.first()).text)
            assert again != challenge, "a new server nonce each time"
            refused(stream.respond(final))
        stream, _ = fresh(server)
        with stream:
            challenge = sasl.unb64(stream.auth(mechanism, scram.first()).text)
            changed = scram.final(challenge, nonce=scram.nonce + "changed")
            refused(stream.respond(changed))

    # What was written on one TLS connection means nothing on another.
    recorded = bytearray()
    one, other = login(server, account), login(server, account)
    outgoing, incoming = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(server.ca))
    tap = context.wrap_bio(incoming, outgoing, server_hostname=server.domain)
    with socket.create_connection((server.address, server.tls_port), DEADLINE_SECS) as wire:
        pump(tap, incoming, outgoing, wire)
        tap.write(header(server.domain).encode())
        recorded += outgoing.read()
        wire.sendall(recorded)
        os.write(other.sock.fileno(), recorded)
        other.drain()
    one.ping()
    one.close()


def pump(tap, incoming, outgoing, wire):
    """A TLS handshake by hand."""
    while True:
        try:
            tap.do_handshake()
        except ssl.SSLWantReadError:
            wire.sendall(outgoing.read())
            incoming.write(wire.recv(65536))
        else:
            wire.sendall(outgoing.read())
            return


@pytest.mark.prosody_differs("blocks no addresses")
def test_sec_38_brute_force(server_with):
    server = server_with(address_failures_max=5, address_block_secs=15)
    accounts = [server.account(f"user{n}") for n in range(5)]
    attacker, other = "127.0.0.2", "127.0.0.3"
    for account in accounts:
        assert tries(server, account, "wrong", source=attacker) == "not-authorized"

    def is_refused():
        try:
            tries(server, accounts[0], accounts[0].password, source=attacker)
        except (AssertionError, OSError):
            return True
        return False

    assert is_refused()
    assert tries(server, accounts[0], accounts[0].password, source=other) == "ok"
    assert attacker in server.log_text()
    assert attacker in server.blocked_addresses()
    server.unblock(attacker)
    assert not is_refused()
    for account in accounts:
        tries(server, account, "wrong", source=attacker)
    assert is_refused()
    until(lambda: not is_refused(), "the block ends by itself")


# covers: sec-39
@pytest.mark.prosody_differs("limits no logins")
@pytest.mark.parametrize("by", ["address", "user"])
def test_sec_39_late_answers(server_with, by):
    server = server_with(login_delay_after=3)
    accounts = [server.account(f"user{n}") for n in range(9)]
    free = server.account("free")

    def attempt(n, soon_secs, password="wrong"):
        """The n-th of what has one thing in common, and all else not: what came, after how long,
        and whether within so many seconds."""
        account = accounts[n] if by == "address" else accounts[0]
        source = "127.0.0.2" if by == "address" else f"127.0.0.{n + 2}"
        begun, soon = time.monotonic(), Deadline(soon_secs)
        outcome = tries(server, account, password, source=source)
        return outcome, time.monotonic() - begun, not soon.is_over()

    for n, wait_secs in enumerate([0, 0, 1, 2, 4, 8, 16]):
        outcome, took_secs, is_soon = attempt(n, wait_secs + 1)
        assert outcome == "not-authorized"
        assert wait_secs <= took_secs and is_soon, (n, took_secs)
    pause = Deadline(65)
    outcome, _, is_soon = attempt(7, 1, accounts[7 if by == "address" else 0].password)
    assert (outcome, is_soon) == ("temporary-auth-failure", True), "not even checked"
    assert tries(server, free, free.password, source="127.0.0.99") == "ok", "others are not held up"
    while (outcome := attempt(8, 1, accounts[8 if by == "address" else 0].password)[0]) != "ok":
        assert outcome == "temporary-auth-failure" and not pause.is_over()
        time.sleep(1)


# covers: sec-39
@pytest.mark.prosody_differs("limits no connections of one address")
def test_sec_39_new_connections_and_accounts(server_with):
    server = server_with(connections_per_minute=60, open_registration=True)

    def connects(source):
        try:
            fresh(server, source=source)[0].cut()
        except (AssertionError, OSError):
            return False
        return True

    begun = time.monotonic()
    outcomes = [connects("127.0.0.2") for _ in range(180)]
    # A minute's worth at once, then one each second.
    assert all(outcomes[:60]) and sum(outcomes) <= 60 + time.monotonic() - begun + 1 < 180
    assert connects("127.0.0.3"), "another address"
    made = []
    for n in range(5):
        stream, _ = fresh(server, source="127.0.0.4")
        with stream:
            fields = f"<username>new{n}</username><password>{'x' * 20}</password>"
            query = f"<query xmlns='jabber:iq:register'>{fields}</query>"
            stream.write(f"<iq type='set' id='r' to='localhost'>{query}</iq>")
            answer = stream.next()
            made.append(answer.get("type"))
    assert made == ["result"] * 3 + ["error"] * 2
    assert stanza_error(answer) == ("wait", "not-acceptable")


# covers: sec-39
def test_sec_39_everyone_comes_back_at_once(server_with):
    server = server_with()
    accounts = [server.account(f"user{n}") for n in range(20)]
    soon = Deadline(60)
    with ThreadPoolExecutor(50) as threads:
        logins = [threads.submit(login, server, accounts[n % 20]) for n in range(500)]
        streams = [one.result() for one in logins]
    assert not soon.is_over()
    for stream in streams:
        stream.cut()


@pytest.mark.prosody_differs("limits no logins")
def test_sec_39_login_rate(server_with):
    server = server_with(login_delay_after=3)
    account = server.account("alice")
    outcomes = [tries(server, account, "wrong") for _ in range(3)]
    assert outcomes == ["not-authorized"] * 3
    seen = []
    while "temporary-auth-failure" not in seen:
        seen.append(tries(server, account, "wrong"))
        assert len(seen) < 12, seen
    assert tries(server, account, account.password) == "temporary-auth-failure", "not even checked"
    until(lambda: tries(server, account, account.password) == "ok", "it ends by itself", 90)


def is_notice(element):
    return element.tag == MESSAGE and element.get("from") == "localhost"


# covers: sec-43
@pytest.mark.prosody_differs("locks no accounts")
def test_sec_43_account_lockout(server_with, enter):
    server = server_with(account_failures_max=5, account_lock_secs=15, administrators=("root1",))
    root = enter("root", at=server)
    assert root.account.local == "root1"
    account, other = server.account("alice"), server.account("bob")
    running = enter(account, at=server)
    device = Device(server, account)
    device.sign_in().close()
    for n in range(5):
        assert not [e for e in running.ping() + root.ping() if is_notice(e)]
        assert tries(server, account, "wrong", source=f"127.0.0.{n + 2}") == "not-authorized"
    assert "sign-ins" in body(running.wait(is_notice))
    assert account.jid in body(root.wait(is_notice))
    stream, answer = device.come_back()
    assert answer.tag == q(SASL2, "success"), "a device that is known"
    stream.cut()
    assert tries(server, account, account.password) == "account-disabled"
    assert tries(server, account, "wrong") == "not-authorized", "no hint to an attacker"
    assert not bodies(running.ping()) and tries(server, other, other.password) == "ok"
    server.unlock(account)
    assert tries(server, account, account.password) == "ok"
    for _ in range(5):
        tries(server, account, "wrong")
    until(lambda: tries(server, account, account.password) == "ok", "the lock ends by itself")
    running.close()
