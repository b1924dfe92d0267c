"""Who learns of whose presence (RFC 6121 §4)."""

import time
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
from harness.waiting import Deadline, until

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


# covers: presence-06
def test_presence_06_broadcast_to_all_contacts(server, enter):
    alice = enter("alice")
    roles = ["from"] * 115 + ["both"] * 60 + ["to"] * 10 + ["none"] * 5 + ["asked"] * 5
    roles += ["blocked"] * 5
    accounts = server.accounts(*["contact"] * 200)
    # The first takes little at once, so that it can be slow later.
    contacts = [enter(accounts[0], receive_bytes=4096), *map(enter, accounts[1:])]
    slow = contacts[0]
    for role, contact in zip(roles, contacts):
        if role in ("from", "both", "blocked"):
            subscribe(contact, alice)
        if role in ("to", "both"):
            subscribe(alice, contact)
        if role == "asked":
            contact.write(f"<presence type='subscribe' to='{alice.account.jid}'/>")
            alice.wait(lambda e: is_presence(e, contact.account.jid, "subscribe"))
        if role == "none":
            item = f"<item jid='{contact.account.jid}'/>"
            alice.request(f"<query xmlns='jabber:iq:roster'>{item}</query>", "set")
        if role == "blocked":
            item = f"<item jid='{contact.account.jid}'/>"
            block = alice.request(f"<block xmlns='urn:xmpp:blocking'>{item}</block>", "set")
            assert block.get("type") == "result"
    # Blocked ones cannot be sent a marker, and answer pings instead.
    blocked = [c for role, c in zip(roles, contacts) if role == "blocked"]
    roles += ["from", "both"]
    contacts += [enter(contacts[1].account), enter(contacts[115].account)]
    watching = [
        (role in ("from", "both"), contact)
        for role, contact in zip(roles, contacts)
        if role != "blocked" and contact is not slow
    ]
    alice.barrier(slow, *(watcher for _, watcher in watching))
    for contact in blocked:
        contact.ping()

    def broadcast(show):
        start = time.monotonic()
        alice.write(f"<presence><show>{show}</show></presence>")
        seen = alice.barrier(*(watcher for _, watcher in watching))
        secs = time.monotonic() - start
        for (may_see, watcher), elements in zip(watching, seen):
            got = [e.findtext(SHOW) for e in elements if is_presence(e, alice.jid)]
            assert got == ([show] if may_see else []), watcher.jid
        for contact in blocked:
            assert presences(contact.ping()) == []
        return secs

    at_rest = min(broadcast("away"), broadcast("chat"))
    stall(alice, slow)
    soon = Deadline(at_rest + 1)
    broadcast("xa")
    assert not soon.is_over()
    shows = [e.findtext(SHOW) for e in delivered(alice, slow) if e.tag == PRESENCE]
    assert shows == ["away", "chat", "xa"]


def stall(sender, receiver):
    """Sends to one who does not read, until the server keeps what comes."""
    count, queued = 0, -1
    while count < 3 or queued != (queued := receiver.unsent()):
        for _ in range(4):
            chat(sender, receiver.jid, "x" * 60_000)
        sender.ping()
        count += 1
        assert count < 100, "everything fits in the system's buffers"


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
        (got,) = probe(bob, alice.account.jid)
        assert got.get("type") == "unavailable"
        until(
            lambda: child(probe(bob, alice.account.jid)[0], DELAY, "delay") is not None,
            "the time since when is known",
        )


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


# covers: presence-39
def test_presence_39_repeated_presence(server, enter):
    alice, bob = enter("alice"), enter("bob")
    befriend(alice, bob)
    second = enter(bob.account)

    def in_quick_succession():
        alice.write("<presence id='same'/>" * 2)
        for show in ("away", "chat", "dnd"):
            alice.write(f"<presence id='same'><show>{show}</show></presence>")

    in_quick_succession()
    for seen in alice.barrier(bob, second):
        shows = [e.findtext(SHOW) for e in seen if is_presence(e, alice.jid)]
        assert shows[-3:] == ["away", "chat", "dnd"] and set(shows[:-3]) <= {None}
    bob.write(f"<presence type='probe' to='{alice.account.jid}'/>")
    assert bob.wait(lambda e: is_presence(e, alice.jid)).findtext(SHOW) == "dnd"
    late = login(server, bob.account)
    assert late.wait(lambda e: is_presence(e, alice.jid)).findtext(SHOW) == "dnd"
    late.close()
    if server.name == "prosody":
        return  # it does not know inactive clients

    bob.write("<inactive xmlns='urn:xmpp:csi:0'/>")
    bob.ping()
    alice.write("<presence><show>xa</show></presence>")
    in_quick_succession()
    assert presences(delivered(alice, second))[-1] == (alice.jid, None)
    chat(alice, bob.jid, "look")
    shows = [e.findtext(SHOW) for e in bob.until(is_chat("look")) if is_presence(e, alice.jid)]
    assert shows == ["dnd"]


def test_no_presence_leaks_through_iq(server, enter):
    """A full address without a subscription tells nothing by its errors (RFC 6121 §8.5.3.2.3)."""
    alice, stranger = enter("alice"), enter("stranger")
    for to in (f"{alice.account.jid}/gone", f"nobody@{server.domain}/gone"):
        stranger.write(f"<iq type='get' id='leak' to='{to}'><x xmlns='urn:example:x'/></iq>")
        answer = stranger.wait(has_id("leak"))
        assert answer.tag == IQ and stanza_error(answer) == ("cancel", "service-unavailable")
        assert b"not-found" not in tostring(answer)
