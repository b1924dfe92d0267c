"""Streams from opening to end (RFC 6120 §4, §5, §7)."""

import ssl
import time

import pytest

from harness import sasl
from harness.names import (
    BIND,
    PING,
    SASL,
    STREAM,
    TLS,
    bodies,
    child,
    condition,
    is_presence,
    q,
    stanza_error,
)
from harness.raw import RawStream, header, lang, login
from harness.scenes import chat, subscribe


# covers: xml-31
def test_xml_31_stream_start(server, prosody_differs):
    ids = set()
    for _ in range(20):
        with RawStream(server, "tls") as stream:
            root = stream.open()
            assert root.get("from") == server.domain and root.get("version") == "1.0"
            assert lang(root), "xml:lang is missing"
            ids.add(root.get("id"))
            assert stream.next().tag == q(STREAM, "features")
    assert len(ids) == 20 and all(len(ident) >= 16 for ident in ids)
    # What counts or tells the time begins alike, or differs in a few places.
    columns = zip(*(ident[:20] for ident in ids))
    assert sum(len(set(column)) > 1 for column in columns) > 12, ids
    with RawStream(server, "tls") as stream:
        stream.write(header("nosuch.example"))
        stream.expect_stream_error("host-unknown")
        assert stream.root is not None
    with RawStream(server, "tls") as stream:
        root = stream.open(text=header(server.domain, "version='2.0'"))
        assert root.get("version") == "1.0" and stream.features() is not None
    for extra in ("", "version='0.9'"):
        with RawStream(server, "tls") as stream, prosody_differs("speaks to clients of 1999"):
            stream.write(header(server.domain, extra))
            stream.expect_stream_error("unsupported-version")


def test_a_header_that_is_an_empty_element_opens_and_closes(server):
    """RFC 6120 §4.4."""
    for mode in ("starttls", "tls"):
        with RawStream(server, mode) as stream:
            stream.write(header(server.domain).replace("'>", "'/>"))
            [features] = stream.expect_end()
            assert features.tag == q(STREAM, "features")


# covers: xml-31
@pytest.mark.prosody_differs("has no hosts that are gone")
def test_xml_31_host_gone(server_with):
    server = server_with(gone_hosts=("old.example",))
    with RawStream(server, "tls") as stream:
        stream.write(header("old.example"))
        stream.expect_stream_error("host-gone")


# covers: xml-31
@pytest.mark.parametrize("mode", ["plain", "tls"])
def test_xml_31_silence_is_closed(server_with, mode):
    server = server_with(negotiation_secs=2)
    assert server.name == "prosody" or server.default_of("header_wait_secs") == "30"
    start = time.monotonic()
    with RawStream(server, mode) as silent, RawStream(server, mode) as slow:
        slow.open()
        slow.features()
        silent.drain(secs=15)
        assert time.monotonic() - start > 1.5, "closed before its time"
        slow.drain(secs=15)


def test_xml_32_stream_end(server, enter):
    alice, bob = enter("alice"), enter("bob")
    subscribe(bob, alice)
    for n in range(50):
        chat(bob, alice.jid, str(n))
    bob.ping()
    alice.write(f"<iq type='get' id='last'><ping xmlns='{PING}'/></iq></stream:stream>")
    seen = alice.expect_end(secs=2)
    assert bodies(seen) == [str(n) for n in range(50)], "what is owed comes before the end"
    assert [e.get("type") for e in seen if e.get("id") == "last"] == ["result"]
    assert alice.has_close_notify
    bob.wait(lambda e: is_presence(e, alice.jid, "unavailable"))


def test_xml_33_starttls(server, prosody_differs):
    # covers: xml-33
    alice = server.account("alice")
    with RawStream(server) as stream:
        first_id = stream.open().get("id")
        features = stream.features()
        starttls = child(features, TLS, "starttls")
        assert child(starttls, TLS, "required") is not None
        assert child(features, SASL, "mechanisms") is None
        stream.start_tls()
        assert stream.sock.version() in ("TLSv1.2", "TLSv1.3")
        second_id = stream.open().get("id")
        assert second_id and second_id != first_id
        features = stream.features()
        assert child(features, TLS, "starttls") is None
        assert child(features, SASL, "mechanisms") is not None
        stream.sign_in(alice)
        stream.bind()
    with RawStream(server) as stream:
        stream.open()
        stream.features()
        stream.write(f"<iq type='get' id='p'><ping xmlns='{PING}'/></iq>")
        with prosody_differs("answers with an error stanza"):
            stream.expect_stream_error("not-authorized")
    with RawStream(server) as stream:
        stream.open()
        stream.features()
        answer = stream.auth("PLAIN", sasl.plain(alice.local, alice.password))
        assert condition(answer, SASL) == "encryption-required"
    # Clear text that follows <starttls/> in the same segment must not count as sent inside TLS.
    with RawStream(server) as stream, prosody_differs("answers the clear text"):
        stream.open()
        stream.features()
        injected = header(server.domain) + f"<starttls xmlns='{TLS}'/>"
        stream.write(f"<starttls xmlns='{TLS}'/>" + injected)
        assert stream.next().tag == q(TLS, "proceed")
        try:
            stream.wrap_tls()
        except OSError:
            return
        stream.open()
        assert child(stream.features(), SASL, "mechanisms") is not None
        stream.sign_in(alice)
        stream.bind()
        assert stream.ping() == []


def test_xml_33_tls_versions(server):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=str(server.ca))
        context.minimum_version = context.maximum_version = version
        with RawStream(server) as stream:
            stream.open()
            stream.features()
            stream.write(f"<starttls xmlns='{TLS}'/>")
            assert stream.next().tag == q(TLS, "proceed")
            stream.wrap_tls(context=context)
            stream.open()
            stream.features()


def test_xml_35_resource_binding(server, enter, prosody_differs):
    alice = enter("alice", "balcony")
    assert alice.jid == f"{alice.account.jid}/balcony"
    made = enter(alice.account)
    assert made.jid.startswith(f"{alice.account.jid}/") and made.jid != alice.jid
    with prosody_differs("ends the older session"):
        rival = enter(alice.account, "balcony")
        assert rival.jid != alice.jid
        for session in (alice, rival, made):
            session.ping()

    def unbound():
        stream = RawStream(server, "tls")
        stream.secure()
        stream.sign_in(alice.account)
        return stream

    # Too long; private use and a control character, which RFC 7622 §3.4 does not allow.
    for forbidden in ("x" * 1024, "\ue000", "&#x85;"):
        with unbound() as stream, prosody_differs("makes up a resource instead"):
            answer = stream.request(
                f"<bind xmlns='{BIND}'><resource>{forbidden}</resource></bind>", "set"
            )
            assert stanza_error(answer) == ("modify", "bad-request"), forbidden[:10]
    with unbound() as stream:
        stream.write("<message to='x@example'><body>early</body></message>")
        with prosody_differs("answers with an error stanza"):
            stream.expect_stream_error("not-authorized")


@pytest.mark.prosody_differs("has no limit of sessions")
def test_xml_35_session_limit(server_with):
    server = server_with(sessions_per_account_max=3)
    account = server.account("alice")
    streams = [login(server, account) for _ in range(3)]
    stream = RawStream(server, "tls")
    stream.secure()
    stream.sign_in(account)
    answer = stream.request(f"<bind xmlns='{BIND}'/>", "set")
    assert stanza_error(answer)[1] == "resource-constraint"
    streams[0].close()
    stream.bind()
    for other in streams[1:]:
        other.ping()
