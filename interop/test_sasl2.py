"""Signing in in one round trip: XEP-0388, XEP-0386, XEP-0484, XEP-0494."""

import itertools
import uuid

import pytest

from clients.lines import Slixmpp, XmppJs
from harness import sasl
from harness.names import (
    BIND,
    FAST,
    IAP,
    MESSAGE,
    SASL,
    SASL2,
    SM,
    STANZAS,
    STREAM,
    bodies,
    body,
    child,
    condition,
    is_presence,
    q,
    stanza_error,
)
from harness.raw import RawStream, header, login, show
from harness.scenes import subscribe
from harness.waiting import until

# What a client shows of its token, and what the server must show.
INITIATOR, RESPONDER = b"Initiator", b"Responder"


class Device:
    """A client that tells its id and comes back with a token."""

    def __init__(self, server, account, tag="Tests"):
        self.server = server
        self.account = account
        self.id = str(uuid.uuid4())
        self.tag = tag
        self.token = None
        self.count = itertools.count(1)

    def flight(self, mechanism, data, *inner, to=None, wishes=""):
        """A header and the request behind it, in one write."""
        bind = f"<bind xmlns='urn:xmpp:bind:0'><tag>{self.tag}</tag>{wishes}</bind>"
        agent = f"<user-agent id='{self.id}'><software>Tests</software></user-agent>"
        request = (
            f"<authenticate xmlns='{SASL2}' mechanism='{mechanism}'>"
            f"<initial-response>{sasl.b64(data)}</initial-response>"
            f"{agent}{bind}{''.join(inner)}</authenticate>"
        )
        return header(to or self.account.domain) + request

    def sign_in(self, password=None, wishes=""):
        """Signs in with the password and asks for a token; the stream."""
        data = sasl.plain(self.account.local, password or self.account.password)
        wish = f"<request-token xmlns='{FAST}' mechanism='HT-SHA-256-NONE'/>"
        stream = RawStream(self.server, "tls")
        stream._reset()
        stream.write(self.flight("PLAIN", data, wish, wishes=wishes))
        self.success = self.succeed(stream)
        return stream

    def come_back(self, token=None, *, count=None, fast="", inner=""):
        """Shows the token; the stream and the server's answer."""
        token = token or self.token
        count = next(self.count) if count is None else count
        data = self.account.local.encode() + b"\0" + sasl.token_mac(token, INITIATOR)
        stream = RawStream(self.server, "tls")
        stream._reset()
        fast = f"<fast xmlns='{FAST}' count='{count}' {fast}/>"
        stream.write(self.flight("HT-SHA-256-NONE", data, fast, inner))
        stream.wait_header()
        stream.features()
        return stream, stream.next()

    def succeed(self, stream):
        stream.wait_header()
        stream.features()
        success = stream.next()
        assert success.tag == q(SASL2, "success"), show(success)
        stream.jid = success.findtext(q(SASL2, "authorization-identifier"))
        stream.account = self.account
        token = child(success, FAST, "token")
        if token is not None:
            self.token = token.get("token")
        assert stream.next().tag == q(STREAM, "features")
        return success


def test_the_offer_stands_beside_the_old_one(server):
    stream = RawStream(server, "tls")
    with stream:
        features = stream.secure()
        old = [e.text for e in child(features, SASL, "mechanisms")]
        authentication = child(features, SASL2, "authentication")
        new = [e.text for e in authentication.findall(q(SASL2, "mechanism"))]
        assert sorted(old) == sorted(new)
        inline = child(authentication, SASL2, "inline")
        tokens = [e.text for e in child(inline, FAST, "fast")]
        assert "HT-SHA-256-NONE" in tokens and "HT-SHA-256-ENDP" in tokens
        assert child(inline, "urn:xmpp:bind:0", "bind") is not None
        assert child(features, IAP, "config-version").get("value")


def test_nothing_is_offered_in_clear(server):
    stream = RawStream(server)
    with stream:
        stream.open()
        features = stream.features()
        assert child(features, SASL2, "authentication") is None


def test_a_returning_client_needs_one_flight(server):
    device = Device(server, server.account("phone"))
    with device.sign_in() as first:
        jid = first.jid
        assert jid.startswith(f"{device.account.jid}/Tests")
        assert device.id not in jid
        assert first.ping() == []
    stream, success = device.come_back()
    with stream:
        assert success.tag == q(SASL2, "success"), show(success)
        # The server has the token too.
        data = success.findtext(q(SASL2, "additional-data"))
        assert sasl.unb64(data) == sasl.token_mac(device.token, RESPONDER)
        assert success.findtext(q(SASL2, "authorization-identifier")) == jid
        assert child(success, "urn:xmpp:bind:0", "bound") is not None
        features = stream.next()
        assert child(features, BIND, "bind") is None
        assert stream.ping() == []


def test_every_scram_signs_in_with_its_signature(server):
    account = server.account("scram")
    for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        with RawStream(server, "tls") as stream:
            stream.secure()
            scram = sasl.Scram(mechanism, account.local, account.password)
            stream.write(
                f"<authenticate xmlns='{SASL2}' mechanism='{mechanism}'>"
                f"<initial-response>{sasl.b64(scram.first())}</initial-response></authenticate>"
            )
            challenge = stream.next()
            assert challenge.tag == q(SASL2, "challenge"), show(challenge)
            final = scram.final(sasl.unb64(challenge.text))
            stream.write(f"<response xmlns='{SASL2}'>{sasl.b64(final)}</response>")
            success = stream.next()
            scram.check_success(sasl.unb64(success.findtext(q(SASL2, "additional-data"))))
            stream.features()
            # Without Bind 2 a resource is bound by the old way, on the same stream.
            assert stream.bind("balcony") == f"{account.jid}/balcony"


def test_a_used_count_a_revoked_token_and_a_stranger_are_refused(server):
    device = Device(server, server.account("replayed"))
    device.sign_in().close()

    def refusal(**options):
        stream, answer = device.come_back(**options)
        with stream:
            assert answer.tag == q(SASL2, "failure"), show(answer)
            return condition(answer, SASL)

    stream, success = device.come_back(count=3)
    assert success.tag == q(SASL2, "success")
    stream.close()
    assert refusal(count=3) == "not-authorized"
    assert refusal(token="made up", count=9) == "not-authorized"
    stream, success = device.come_back(count=4, fast="invalidate='true'")
    assert success.tag == q(SASL2, "success")
    stream.close()
    assert refusal(count=5) == "credentials-expired"


def test_another_configuration_is_refused_without_prejudice(server):
    account = server.account("pipelined")
    device = Device(server, account)
    stale = f"<config-version xmlns='{IAP}' scheme='opaque' value='of-yesterday'/>"
    data = sasl.plain(account.local, account.password)
    with RawStream(server, "tls") as stream:
        stream._reset()
        stream.write(device.flight("PLAIN", data, stale))
        stream.wait_header()
        version = child(stream.features(), IAP, "config-version").get("value")
        failure = stream.next()
        assert condition(failure, SASL) == "aborted"
        assert child(failure, IAP, "config-version-mismatch") is not None
        right = device.flight("PLAIN", data, stale.replace("of-yesterday", version))
        stream.write(right.partition("http://etherx.jabber.org/streams' version='1.0'>")[2])
        assert stream.next().tag == q(SASL2, "success")


def test_a_client_that_comes_again_ends_its_earlier_session_only(server):
    device = Device(server, server.account("twice"))
    other = Device(server, device.account)
    with device.sign_in() as first, other.sign_in() as third:
        stream, success = device.come_back()
        with stream:
            assert success.findtext(q(SASL2, "authorization-identifier")) == first.jid
            first.expect_stream_error("conflict")
            assert third.ping() == []


def test_a_session_goes_on_in_one_flight(server, enter):
    friend = enter("friend")
    device = Device(server, server.account("commuter"))
    stream = device.sign_in(wishes=f"<enable xmlns='{SM}' resume='true'/>")
    bound = child(device.success, "urn:xmpp:bind:0", "bound")
    enabled = child(bound, SM, "enabled")
    assert enabled.get("resume") == "true"
    stream.available()
    subscribe(friend, stream)
    stream.write(f"<r xmlns='{SM}'/>")
    handled = stream.until(lambda e: e.tag == q(SM, "a"))[-1].get("h")
    stream.write(f"<a xmlns='{SM}' h='0'/>")
    stream.cut()
    for number in range(3):
        friend.write(f"<message to='{stream.jid}'><body>{number}</body></message>")
    friend.ping()

    # A count that was never reached: everything comes again, in order.
    resume = f"<resume xmlns='{SM}' previd='{enabled.get('id')}' h='0'/>"
    again, success = device.come_back(inner=resume)
    with again:
        assert child(success, "urn:xmpp:bind:0", "bound") is None
        resumed = child(success, SM, "resumed")
        assert resumed.get("h") == handled and resumed.get("previd") == enabled.get("id")
        assert success.findtext(q(SASL2, "authorization-identifier")) == stream.jid
        came = again.until(lambda e: body(e) == "2")
        assert not [e for e in came if e.tag == q(STREAM, "features")]
        assert bodies(came) == ["0", "1", "2"]
        again.jid = stream.jid
        assert not [e for e in friend.ping() if is_presence(e, stream.jid, "unavailable")]

    # What is gone is told, and a new session comes in the same answer.
    gone = resume.replace(enabled.get("id"), "unknown")
    other, success = device.come_back(inner=gone)
    with other:
        failed = child(success, SM, "failed")
        assert condition(failed, STANZAS) == "item-not-found"
        assert child(success, "urn:xmpp:bind:0", "bound") is not None
        other.features()
        # What the former session had not acknowledged is where Bind 2 has the client look for it
        # (XEP-0386 §3.2), once.
        other.write("<iq type='set' id='page'><query xmlns='urn:xmpp:mam:2'/></iq>")
        seen = other.until(lambda e: e.get("id") == "page")
        kept = [e for m in seen if m.tag == MESSAGE for e in m.iter(q("jabber:client", "body"))]
        assert [e.text for e in kept] == ["0", "1", "2"]
        other.jid = success.findtext(q(SASL2, "authorization-identifier"))
        other.available()
        assert bodies(other.ping()) == []


@pytest.mark.parametrize(
    "element",
    [
        "<presence/>",
        "<iq type='get' id='x'><ping xmlns='urn:xmpp:ping'/></iq>",
        f"<authenticate xmlns='{SASL2}' mechanism='PLAIN'/>",
        f"<auth xmlns='{SASL}' mechanism='PLAIN'/>",
    ],
)
def test_nothing_else_may_come_during_an_exchange(server, element):
    with RawStream(server, "tls") as stream:
        stream.secure()
        stream.write(f"<authenticate xmlns='{SASL2}' mechanism='PLAIN'/>")
        assert stream.next().tag == q(SASL2, "challenge")
        stream.write(element)
        stream.expect_stream_error("unsupported-stanza-type")


@pytest.mark.parametrize("mode", XmppJs.modes[:2])
def test_xmppjs_comes_back_with_its_token(server, mode):
    with XmppJs(server, server.account("xmppjs"), mode) as client:
        client.sign_in()
        assert client.mechanism.startswith("SCRAM-SHA-"), client.mechanism
        jid = client.wait(lambda e: e["event"] == "online", "session")["jid"]
        seen = len(client.events)
        client.tell("again")
        back = client.wait(lambda e: e["event"] == "online", "session", seen)
        assert back["mechanism"] == "HT-SHA-256-NONE"
        assert back["jid"] == jid, "its resource stays the same"
        with login(server, server.account("friend")) as friend:
            friend.write(f"<message to='{client.account.jid}'><body>still there?</body></message>")
            client.wait_chat(friend.account.jid, "still there?")


def test_slixmpp_sees_and_sends_away_another_client(server):
    account = server.account("owner")
    device = Device(server, account)
    with Slixmpp(server, account, "tls") as owner, device.sign_in() as lost:
        owner.sign_in()
        owner.tell("clients")
        listed = owner.wait(lambda e: e["event"] == "clients", "list")["clients"]
        mine = [c for c in listed if c["software"] == "Tests"]
        assert len(mine) == 1 and len(listed) == 2, listed
        assert mine[0]["connected"] and "fast" in mine[0]["auth"], mine
        owner.tell("revoke", id=mine[0]["id"])
        # The device knows the password, so the owner is told to change that.
        outcome = owner.wait(lambda e: e["event"] == "revoked", "outcome")
        assert outcome["error"] == "service-unavailable"
        lost.expect_stream_error("reset")
    stream, answer = device.come_back()
    with stream:
        assert condition(answer, SASL) == "credentials-expired"
    device.sign_in().close()


def test_a_new_password_ends_the_other_sessions(server):
    device = Device(server, server.account("changed"))
    with device.sign_in() as other, login(server, device.account) as owner:
        query = (
            "<query xmlns='jabber:iq:register'>"
            f"<username>{device.account.local}</username><password>n3w</password></query>"
        )
        answer = owner.request(query, "set")
        assert answer.get("type") == "result", show(answer)
        other.expect_stream_error("reset")
        assert owner.ping() == []
    stream, answer = device.come_back()
    with stream:
        assert condition(answer, SASL) == "credentials-expired"
    device.sign_in("n3w").close()


# covers: xml-35
def test_both_ways_of_binding_give_the_same(server_with):
    server = server_with(sessions_per_account_max=3)
    account = server.account("alice")

    def unbound():
        stream = RawStream(server, "tls")
        stream.secure()
        stream.sign_in(account)
        return stream

    def wish(stream, resource):
        inner = f"<resource>{resource}</resource>" if resource else ""
        return stream.request(f"<bind xmlns='{BIND}'>{inner}</bind>", "set")

    with unbound() as one, unbound() as two:
        for forbidden in ("x" * 1024, "\ue000"):
            assert stanza_error(wish(one, forbidden)) == ("modify", "bad-request")
        assert one.bind("balcony") == f"{account.jid}/balcony"
        other = two.bind("balcony")
        assert other.startswith(f"{account.jid}/") and other != one.jid
        # In one round trip, with a part of the server's making.
        device = Device(server, account)
        with device.sign_in() as three, unbound() as four:
            assert three.jid.startswith(f"{account.jid}/Tests/")
            assert len({one.jid, two.jid, three.jid}) == 3
            assert stanza_error(wish(four, None))[1] == "resource-constraint"
            crowded = Device(server, account)
            with RawStream(server, "tls") as five:
                five._reset()
                data = sasl.plain(account.local, account.password)
                five.write(crowded.flight("PLAIN", data))
                success = crowded.succeed(five)
                assert child(success, "urn:xmpp:bind:0", "bound") is None
                assert five.jid == account.jid
                assert stanza_error(wish(five, None))[1] == "resource-constraint"
                two.close()
                # The session ends behind its stream.
                until(lambda: wish(five, None).get("type") == "result", "room for another")
            assert one.ping() == [] and three.ping() == []
            four.write("<message to='x@example'><body>early</body></message>")
            four.expect_stream_error("not-authorized")
