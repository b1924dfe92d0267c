"""Who learns of whose presence (RFC 6121 §4)."""

from xml.etree.ElementTree import tostring

from harness.names import (
    CLIENT,
    DELAY,
    IQ,
    PRESENCE,
    bodies,
    child,
    is_presence,
    presences,
    q,
    stanza_error,
)
from harness.raw import login
from harness.scenes import befriend, chat, delivered, has_id, is_chat, subscribe

STATUS, SHOW = q(CLIENT, "status"), q(CLIENT, "show")


def test_presence_04_unavailable(server, enter):
    # covers: presence-04
    alice = enter("alice", "one")
    own = enter(alice.account, "two")
    follower, directed, stranger = enter("follower"), enter("directed"), enter("stranger")
    subscribe(follower, alice)
    delivered(alice, own)
    alice.write(f"<presence to='{directed.jid}'/>")
    delivered(alice, directed)
    alice.write(
        "<presence type='unavailable' id='bye'><status>bye</status>"
        "<x xmlns='urn:example:x' a='1'/></presence>"
    )
    for watcher in (follower, directed, own):
        got = delivered(alice, watcher)
        assert presences(got) == [(alice.jid, "unavailable")], watcher.jid
        assert got[0].findtext(STATUS) == "bye"
        assert got[0].find("{urn:example:x}x").get("a") == "1"
    assert delivered(alice, stranger) == []
    own.close()
    follower.wait(lambda e: is_presence(e, own.jid, "unavailable"))

    ident = chat(follower, alice.account.jid, "for later")
    assert not [e for e in follower.ping() if e.get("id") == ident], "stored without an error"
    assert bodies(alice.ping()) == []
    follower.write("<presence><status>still here</status></presence>")
    follower.ping()
    alice.available()
    got = alice.wait(is_chat("for later"))
    assert child(got, DELAY, "delay") is not None
    assert presences(delivered(alice, follower)) == [(alice.jid, None)]
    subscribe(alice, follower)
    alice.write("<presence type='unavailable'/><presence/>")
    seen = alice.until(lambda e: is_presence(e, follower.jid))
    assert seen[-1].findtext(STATUS) == "still here", "probed anew"


def test_presence_06_broadcast_to_all_contacts(server, enter):
    alice = enter("alice")
    streams = [enter(account) for account in server.accounts(*["contact"] * 200)]
    roles = ["from"] * 120 + ["both"] * 60 + ["to"] * 10 + ["none"] * 5 + ["asked"] * 5
    for role, contact in zip(roles, streams):
        if role in ("from", "both"):
            subscribe(contact, alice)
        if role in ("to", "both"):
            subscribe(alice, contact)
        if role == "asked":
            contact.write(f"<presence type='subscribe' to='{alice.account.jid}'/>")
        if role == "none":
            alice.request(
                f"<query xmlns='jabber:iq:roster'><item jid='{contact.account.jid}'/></query>",
                "set",
            )
    second = enter(streams[0].account)
    watchers = list(zip(roles, streams)) + [("from", second)]
    alice.barrier(*(watcher for _, watcher in watchers))
    # One contact does not read: much is on the way to it before the broadcast.
    slow = streams[1]
    for _ in range(30):
        chat(alice, slow.jid, "x" * 60_000)
    for show in ("away", "xa"):
        alice.write(f"<presence><show>{show}</show></presence>")
    reading = [(role, watcher) for role, watcher in watchers if watcher is not slow]
    for (role, watcher), seen in zip(reading, alice.barrier(*(w for _, w in reading))):
        got = [e.findtext(SHOW) for e in seen if is_presence(e, alice.jid)]
        assert got == (["away", "xa"] if role in ("from", "both") else []), (role, watcher.jid)
    got = [e.findtext(SHOW) for e in delivered(alice, slow) if e.tag == PRESENCE]
    assert got == ["away", "xa"]


def test_presence_06_blocked_contacts_get_nothing(server, enter):
    alice, bob, carol = enter("alice"), enter("bob"), enter("carol")
    subscribe(bob, alice)
    subscribe(carol, alice)
    block = f"<block xmlns='urn:xmpp:blocking'><item jid='{bob.account.jid}'/></block>"
    assert alice.request(block, "set").get("type") == "result"
    bob.wait(lambda e: is_presence(e, alice.jid, "unavailable"))
    alice.write("<presence><status>secret</status></presence>")
    assert presences(delivered(alice, carol)) == [(alice.jid, None)]
    assert presences(bob.ping()) == []


def test_presence_09_invalid_type(server, enter, prosody_differs):
    # covers: presence-09
    alice, bob = enter("alice"), enter("bob")
    subscribe(bob, alice)
    for kind in ("online", ""):
        for to in ("", f" to='{bob.jid}'", f" to='{bob.account.jid}'", f" to='{server.domain}'"):
            alice.write(f"<presence type='{kind}' id='bad'{to}><show>xa</show></presence>")
            assert stanza_error(alice.wait(has_id("bad"))) == ("modify", "bad-request"), (kind, to)
    assert delivered(alice, bob) == []
    bob.write(f"<presence type='probe' to='{alice.account.jid}'/>")
    got = bob.wait(lambda e: is_presence(e, alice.jid))
    assert got.findtext(SHOW) is None, "available as before"
    assert alice.ping() == []


def test_presence_15_probe(server, enter, prosody_differs):
    # covers: presence-15
    alice, bob, stranger = enter("alice", "one"), enter("bob"), enter("stranger")
    second = enter(alice.account, "two")
    subscribe(bob, alice)
    alice.write("<presence id='first'><show>dnd</show><x xmlns='urn:example:x' a='1'/></presence>")
    second.write("<presence id='other'><status>two</status></presence>")
    delivered(alice, bob), delivered(second, bob), delivered(second, alice)

    def probe(stream, to):
        stream.write(f"<presence type='probe' to='{to}' id='probe'/>")
        return [e for e in stream.ping() + stream.ping() if e.tag == PRESENCE]

    got = {e.get("from"): e for e in probe(bob, alice.account.jid)}
    assert set(got) == {alice.jid, second.jid}
    one = got[alice.jid]
    assert one.get("id") == "first" and one.findtext(SHOW) == "dnd"
    assert one.find("{urn:example:x}x").get("a") == "1"
    assert got[second.jid].get("id") == "other" and got[second.jid].findtext(STATUS) == "two"
    with prosody_differs("answers for all resources"):
        assert [e.get("from") for e in probe(bob, second.jid)] == [second.jid]
    for to in (alice.account.jid, alice.jid, f"nobody@{server.domain}"):
        with prosody_differs("answers probes of own users in other words"):
            answers = probe(stranger, to)
            assert presences(answers) == [(to.split("/")[0], "unsubscribed")], to
            assert len(answers[0]) == 0 and not answers[0].text
    assert presences(alice.ping()) == [], "the contact itself sees no probe"
    for to in (server.domain, stranger.jid, f"{alice.account.jid}/gone"):
        assert not [e for e in probe(stranger, to) if e.get("type") == "error"], to

    alice.write("<presence type='unavailable'/>")
    second.write("<presence type='unavailable'/>")
    delivered(alice, bob), delivered(second, bob)
    alice.ping(), second.ping()
    with prosody_differs("does not answer for who is offline"):
        got = probe(bob, alice.account.jid)
        assert [e.get("type") for e in got] == ["unavailable"]
        assert child(got[0], DELAY, "delay") is not None


def test_presence_27_malformed_presence(server, enter):
    # covers: presence-27
    alice, bob = enter("alice", "one"), enter("bob")
    second = enter(alice.account, "two")
    befriend(second, bob)
    for stream in (alice, second, bob):
        stream.ping()
    alice.write("<presence><show>away</presence>")
    alice.expect_stream_error("not-well-formed")
    seen = bob.until(lambda e: e.tag == PRESENCE)
    assert is_presence(seen[-1], alice.jid, "unavailable"), "nothing of it was broadcast"
    assert presences(delivered(second, bob)) == []
    bob.write(f"<presence type='probe' to='{alice.account.jid}'/>")
    assert bob.wait(lambda e: e.tag == PRESENCE).get("from") == second.jid
    assert second.ping() is not None


def test_presence_39_repeated_presence(server, enter):
    alice, bob = enter("alice"), enter("bob")
    befriend(alice, bob)
    alice.write("<presence id='same'/>" * 2)
    for show in ("away", "chat", "dnd"):
        alice.write(f"<presence id='same'><show>{show}</show></presence>")
    shows = [e.findtext(SHOW) for e in delivered(alice, bob) if is_presence(e, alice.jid)]
    assert shows[-3:] == ["away", "chat", "dnd"] and set(shows[:-3]) <= {None}
    bob.write(f"<presence type='probe' to='{alice.account.jid}'/>")
    assert bob.wait(lambda e: is_presence(e, alice.jid)).findtext(SHOW) == "dnd"
    late = login(server, bob.account)
    assert late.wait(lambda e: is_presence(e, alice.jid)).findtext(SHOW) == "dnd"
    late.close()


def test_no_presence_leaks_through_iq(server, enter):
    """A full address without a subscription tells nothing by its errors (RFC 6121 §8.5.3.2.3)."""
    alice, stranger = enter("alice"), enter("stranger")
    for to in (f"{alice.account.jid}/gone", f"nobody@{server.domain}/gone"):
        stranger.write(f"<iq type='get' id='leak' to='{to}'><x xmlns='urn:example:x'/></iq>")
        answer = stranger.wait(has_id("leak"))
        assert answer.tag == IQ and stanza_error(answer) == ("cancel", "service-unavailable")
        assert b"not-found" not in tostring(answer)
