"""The three stanzas and what becomes of them (RFC 6120 §8, RFC 6121)."""

from harness.names import (
    IQ,
    MESSAGE,
    PING,
    PRESENCE,
    bodies,
    body,
    is_presence,
    presences,
    push_item,
    stanza_error,
)
from harness.raw import RawStream
from harness.scenes import befriend, chat, delivered, has_id, is_push, subscribe, undisturbed

DISCO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
ERROR = (
    "<error type='cancel'>"
    "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
)


def test_xml_25_first_level_elements(server, enter, prosody_differs):
    alice, bob = enter("alice"), enter("bob")
    subscribe(bob, alice)
    chat(alice, bob.jid, "hello")
    alice.write("<presence><status>here</status></presence>")
    assert [e.tag for e in delivered(alice, bob)] == [MESSAGE, PRESENCE]
    assert alice.request(f"<ping xmlns='{PING}'/>").get("type") == "result"
    for stanza in (
        f"<message to='{bob.jid}'><body>early</body></message>",
        f"<presence to='{bob.jid}'/>",
        f"<iq type='get' id='early' to='{bob.jid}'><ping xmlns='{PING}'/></iq>",
    ):
        with RawStream(server, "tls") as stream:
            stream.secure()
            stream.write(stanza)
            with prosody_differs("answers with an error stanza"):
                stream.expect_stream_error("not-authorized")
    assert delivered(alice, bob) == [] and bob.ping() == []


def test_xml_27_error_stanzas(server, enter):
    alice, bob = enter("alice"), enter("bob")
    alice.write(f"<message type='error' to='{bob.jid}' id='e1'>{ERROR}</message>")
    assert stanza_error(bob.wait(has_id("e1"))) == ("cancel", "service-unavailable")
    alice.write(f"<message type='error' to='{bob.account.jid}' id='e2'>{ERROR}</message>")
    assert delivered(alice, bob) == []
    bob.close()
    for n in range(100):
        for to in (bob.account.jid, bob.jid, server.domain, f"nobody@{server.domain}"):
            alice.write(f"<message type='error' to='{to}' id='loop{n}'>{ERROR}</message>")
            alice.write(f"<iq type='error' to='{to}' id='loop{n}'>{ERROR}</iq>")
            alice.write(f"<presence type='error' to='{to}' id='loop{n}'>{ERROR}</presence>")
    assert alice.ping() == [], "an error was answered"
    bob = enter(bob.account)
    assert [e for e in delivered(alice, bob) if e.tag == MESSAGE] == []


def test_xml_28_iq_gets_one_answer(server, enter):
    # covers: xml-28
    alice, bob = enter("alice"), enter("bob")
    alice.write(f"<iq type='get' id='d1' to='{server.domain}'>{DISCO}</iq>")
    answer = alice.wait(has_id("d1"))
    assert answer.get("type") == "result" and answer.get("from") == server.domain
    assert not [e for e in alice.ping() if e.get("id") == "d1"]
    bad = [
        f"<iq type='get' id='b' to='{server.domain}'/>",
        f"<iq type='set' id='b' to='{server.domain}'/>",
        f"<iq type='get' id='b' to='{server.domain}'>{DISCO}<ping xmlns='{PING}'/></iq>",
        f"<iq id='b' to='{server.domain}'>{DISCO}</iq>",
        f"<iq type='fetch' id='b' to='{server.domain}'>{DISCO}</iq>",
        f"<iq type='' id='b' to='{server.domain}'>{DISCO}</iq>",
        f"<iq type='get' id='b' to='{bob.jid}'/>",
        f"<iq type='fetch' id='b' to='{bob.account.jid}'>{DISCO}</iq>",
        "<iq type='get' id='b'/>",
    ]
    for text in bad:
        alice.write(text)
        assert stanza_error(alice.wait(has_id("b"))) == ("modify", "bad-request"), text
    alice.write(f"<iq type='get' to='{server.domain}'>{DISCO}</iq>")
    missing = alice.wait(lambda e: e.tag == IQ)
    assert stanza_error(missing) == ("modify", "bad-request") and not missing.get("id")

    alice.write(f"<iq type='get' id='u' to='{bob.account.jid}'><vCard xmlns='vcard-temp'/></iq>")
    answer = alice.wait(has_id("u"))
    assert answer.get("from") == bob.account.jid, "the server answers for the user"
    alice.write(f"<iq type='get' id='u2' to='{bob.account.jid}'><x xmlns='urn:example:x'/></iq>")
    assert stanza_error(alice.wait(has_id("u2"))) == ("cancel", "service-unavailable")
    assert bob.ping() == [], "nothing of it reaches the user's clients"
    for to in (f"{bob.account.jid}/gone", f"nobody@{server.domain}/x"):
        alice.write(f"<iq type='get' id='off' to='{to}'><ping xmlns='{PING}'/></iq>")
        assert stanza_error(alice.wait(has_id("off"))) == ("cancel", "service-unavailable"), to
    for to in (server.domain, alice.account.jid, bob.account.jid, f"nobody@{server.domain}/x"):
        alice.write(f"<iq type='result' id='stray' to='{to}'/>")
        alice.write(f"<iq type='error' id='stray' to='{to}'>{ERROR}</iq>")
    alice.write("<iq type='result' id='stray'/>")
    assert alice.ping() == []
    assert bob.ping() == []


def test_xml_29_message_is_delivered(server, enter):
    # covers: xml-29
    alice, bob = enter("alice"), enter("bob", "one")
    ident = chat(alice, bob.account.jid, "hello")
    got = delivered(alice, bob)
    assert len(got) == 1 and got[0].get("type") == "chat"
    assert (got[0].get("from"), got[0].get("to")) == (alice.jid, bob.account.jid)
    assert (got[0].get("id"), body(got[0])) == (ident, "hello")
    second = enter(bob.account, "two")
    delivered(alice, bob)
    chat(alice, bob.account.jid, "both or one")
    alice.barrier(bob, second)
    ident = chat(alice, bob.account.jid, "untyped", kind=None)
    each = [bodies(seen) for seen in alice.barrier(bob, second)]
    assert all(len(got) <= 1 for got in each) and ["untyped"] in each
    ident = chat(alice, bob.jid, "untyped", kind=None)
    got = delivered(alice, bob)
    assert [e.get("type", "normal") for e in got] == ["normal"]
    ident = chat(alice, f"nobody@{server.domain}", "hello")
    assert stanza_error(alice.wait(has_id(ident))) == ("cancel", "service-unavailable")


def test_xml_30_presence_updates_availability(server, enter):
    # covers: xml-30
    alice, own = enter("alice", "one"), None
    friend, follower, stranger = enter("friend"), enter("follower"), enter("stranger")
    befriend(alice, friend)
    subscribe(follower, alice)
    alice.close()
    for watcher in (friend, follower):
        watcher.wait(lambda e: is_presence(e, alice.jid, "unavailable"))
    own = enter(alice.account, "two")
    alice = enter(alice.account, "one", is_available=False)
    for watcher in (friend, follower, own):
        alice.barrier(watcher)
    alice.available()
    for watcher in (own, friend, follower):
        assert presences(delivered(alice, watcher)) == [(alice.jid, None)]
    alice.write("<presence><show>away</show></presence>")
    for watcher in (own, friend, follower):
        got = delivered(alice, watcher)
        assert presences(got) == [(alice.jid, None)]
        assert got[0].findtext("{jabber:client}show") == "away"
    assert delivered(alice, stranger) == []
    late = enter(friend.account)
    shown = [e for e in late.until(lambda e: is_presence(e, alice.jid)) if e.tag == PRESENCE]
    assert shown[-1].findtext("{jabber:client}show") == "away", "the new state replaces the old"


def test_xml_38_subscription_handshake(server, enter):
    # covers: xml-38
    alice, bob = enter("alice"), enter("bob")
    alice.roster(), bob.roster()
    alice.write(f"<presence type='subscribe' to='{bob.jid}'/>")
    bob.wait(lambda e: is_presence(e, alice.account.jid, "subscribe"))
    alice.wait(is_push(bob.account.jid, "none", ask="subscribe"))
    with undisturbed(bob):
        seen = alice.barrier(bob)[0]
    assert not [e for e in seen if e.tag == IQ], "no item at Bob before he decides"
    kinds = {kind for _, kind in presences(alice.ping())}
    assert kinds <= {"unavailable"}, "approved without Bob"

    bob.write(f"<presence type='subscribed' to='{alice.account.jid}'/>")
    seen = alice.until(lambda e: is_presence(e, bob.jid))
    kinds = [
        "subscribed"
        if is_presence(e, bob.account.jid, "subscribed")
        else "push"
        if is_push(bob.account.jid, "to", ask=None)(e)
        else "presence"
        if is_presence(e, bob.jid)
        else "other"
        for e in seen
    ]
    if server.name != "prosody":
        assert kinds == ["subscribed", "push", "presence"]
    assert sorted(kinds) == ["presence", "push", "subscribed"]
    bob.wait(is_push(alice.account.jid, "from"))
    assert alice.roster()[bob.account.jid].get("subscription") == "to"
    assert bob.roster()[alice.account.jid].get("subscription") == "from"

    # Bob approved beforehand (§3.4): only then the server approves by itself.
    carol = enter("carol")
    carol.roster()
    carol.write(f"<presence type='subscribed' to='{alice.account.jid}'/>")
    push = push_item(carol.wait(is_push(alice.account.jid, "none")))
    assert push.get("approved") == "true" or server.name == "prosody"
    alice.write(f"<presence type='subscribe' to='{carol.account.jid}'/>")
    alice.wait(lambda e: is_presence(e, carol.jid))
    assert carol.roster()[alice.account.jid].get("subscription") == "from"
