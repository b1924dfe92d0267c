"""Priorities and the choice among resources (RFC 6121 §4.7.2.3, §8.5)."""

import pytest

from harness.names import CLIENT, MESSAGE, bodies, is_presence, presences, q, stanza_error
from harness.scenes import chat, delivered, has_id, is_chat, subscribe

CARBONS = "urn:xmpp:carbons:2"
ENABLE_CARBONS = f"<enable xmlns='{CARBONS}'/>"
PRIORITY = q(CLIENT, "priority")


def copied(element):
    """The text of a message of which this is a copy (XEP-0280), or nothing."""
    path = [
        q(CARBONS, "received"),
        q("urn:xmpp:forward:0", "forwarded"),
        MESSAGE,
        q(CLIENT, "body"),
    ]
    return element.findtext("/".join(path)) or ""


def receivers(sender, bare, streams, text, kind="chat"):
    """Which of the streams get a message to the bare address.

    Each stream's `copies` are those that came meanwhile.
    """
    chat(sender, bare, text, kind)
    found = []
    for index, seen in enumerate(sender.barrier(*streams)):
        streams[index].copies = [e for e in seen if copied(e)]
        hits = [e for e in seen if is_chat(text)(e)]
        assert len(hits) <= 1, "delivered twice"
        assert all(e.get("to") == bare for e in hits), "'to' stays as sent"
        found += [index] * len(hits)
    return found


def test_presence_08_priority_steers_routing(server, enter):
    # covers: presence-08
    alice, low = enter("alice"), enter("bob", "low", 1)
    account, bare = low.account, low.account.jid
    high, negative = enter(account, "high", 5), enter(account, "negative", -1)
    streams = [low, high, negative]
    for kind in ("chat", "normal", None):
        assert receivers(alice, bare, streams, f"to {kind}", kind) in ([1], [0, 1])
    assert receivers(alice, bare, streams, "news", "headline") == [0, 1]
    for stream in streams:
        for kind in ("chat", "normal", "headline", None):
            ident = chat(alice, stream.jid, "direct", kind)
            got = stream.wait(has_id(ident))
            assert got.get("to") == stream.jid
    low.available()
    negative.available()
    high.available(-1)
    assert sorted(receivers(alice, bare, streams, "zero")) in ([0], [2], [0, 2])
    low.available(-1)
    assert receivers(alice, bare, streams, "zero counts") == [2]


# covers: presence-21
def test_presence_21_choice_among_resources(server, enter, prosody_differs):
    alice, zero = enter("alice"), enter("bob", "zero", 0)
    account, bare = zero.account, zero.account.jid
    ten = enter(account, "ten", 10)
    streams = [zero, ten]
    assert receivers(alice, bare, streams, "one") == [1]
    assert zero.request(ENABLE_CARBONS, "set").get("type") == "result"
    assert receivers(alice, bare, streams, "copied") == [1]
    (copy,) = [e for e in zero.copies if copied(e) == "copied"]
    assert (copy.get("from"), copy.get("to")) == (bare, zero.jid)
    zero.available(10)
    rule = receivers(alice, bare, streams, "two")
    # The documented rule is that all of the highest priority get it.
    assert rule == [0, 1] or server.name == "prosody"
    for n in range(3):
        ten.available(10)
        assert receivers(alice, bare, streams, f"two {n}") == rule
        assert rule != [0, 1] or zero.copies == [], "each has it once"
    zero.available(0)
    ten.available(-1)
    assert receivers(alice, bare, streams, "three") == [0]
    ten.available(10)
    ten.close()
    assert receivers(alice, bare, [zero], "four") == [0]
    zero.available(-5)
    assert receivers(alice, bare, [zero], "five") == []
    with prosody_differs("delivers only to a new presence session"):
        assert bodies(zero.available(0) + zero.ping()) == ["five"], "it was stored offline"


def test_presence_36_bad_priority(server, enter, prosody_differs):
    # covers: presence-36
    alice, low = enter("alice"), enter("bob", "low", 3)
    account, bare = low.account, low.account.jid
    high = enter(account, "high", 7)
    subscribe(alice, high)
    delivered(high, alice)
    high.ping()
    for bad in ("high", "", "1.5", "128", "-129", "0x1", "1 2"):
        high.write(f"<presence id='bad'><priority>{bad}</priority></presence>")
        with prosody_differs("takes anything as a priority"):
            assert stanza_error(high.wait(has_id("bad"))) == ("modify", "bad-request"), bad
    with prosody_differs("broadcasts it"):
        assert presences(delivered(high, alice)) == []
    high.available(7)
    high.write("<presence id='bad'><priority>high</priority></presence>")
    high.ping()
    with prosody_differs("takes anything as a priority"):
        assert receivers(alice, bare, [low, high], "still 7") == [1]
    high.write("<presence id='ok'><priority> 5 </priority></presence>")
    assert high.wait(has_id("ok")).get("type") is None
    low.available(6)
    assert receivers(alice, bare, [low, high], "six beats five") == [0]
    low.available(4)
    with prosody_differs("reads ' 5 ' as 0"):
        assert receivers(alice, bare, [low, high], "five beats four") == [1]


def test_presence_37_negative_priority(server, enter, prosody_differs):
    alice, bob = enter("alice"), enter("bob", "shy", -1)
    bare = bob.account.jid
    subscribe(alice, bob)
    alice.write(f"<presence type='probe' to='{bare}'/>")
    assert alice.wait(lambda e: is_presence(e, bob.jid)).findtext(PRIORITY) == "-1"
    chat(alice, bob.jid, "direct")
    alice.write(f"<presence to='{bob.jid}'/>")
    alice.write(f"<iq type='get' id='q' to='{bob.jid}'><x xmlns='urn:example:x'/></iq>")
    assert bob.wait(has_id("q")) is not None
    stored = []
    for kind in ("chat", "normal", None):
        stored.append(f"stored {kind}")
        chat(alice, bare, stored[-1], kind)
    assert not [e for e in delivered(alice, bob) if e.tag == MESSAGE]
    assert not [e for e in alice.ping() if e.get("type") == "error"]
    assert bodies(bob.available(-1) + bob.ping()) == [], "nothing comes on -1"
    with prosody_differs("delivers only to a new presence session"):
        assert bodies(bob.available(0) + bob.ping()) == stored


# covers: presence-38
def test_presence_38_high_priority(server, enter):
    alice, low = enter("alice"), enter("bob", "low", 126)
    high = enter(low.account, "high", 127)
    subscribe(alice, low)
    assert shown_priority(high, 127, low, alice) == ["127"] * 4
    for n in range(3):
        assert receivers(alice, low.account.jid, [low, high], f"to 127, {n}") == [1]
    high.available(125)
    assert receivers(alice, low.account.jid, [low, high], "to 126") == [0]


# covers: presence-38
@pytest.mark.prosody_differs("does not override priorities")
def test_presence_38_overridden_priority(server_with, enter):
    server = server_with(delivery="all")
    alice, low = enter("alice", at=server), enter("bob", "low", 126, at=server)
    high, shy = (enter(low.account, name, 127, at=server) for name in ("high", "shy"))
    subscribe(alice, low)
    # All that are not negative count alike: they have the priority that is the default.
    for said, used in ((127, None), (1, None), (0, "0"), (-1, "-1"), (-128, "-128")):
        assert shown_priority(high, said, low, alice) == [used] * 4, said
    high.available(127)
    shy.available(-1)
    assert receivers(alice, low.account.jid, [low, high, shy], "to all") == [0, 1]


def shown_priority(stream, said, *watchers):
    """Announces a priority; what its echo, each watcher, and a probe of the last one are shown."""
    stream.write(f"<presence id='shown'><priority>{said}</priority></presence>")
    shown = [stream.wait(lambda e: is_presence(e, stream.jid) and e.get("id") == "shown")]
    for watcher, seen in zip(watchers, stream.barrier(*watchers)):
        shown += [e for e in seen if is_presence(e, stream.jid)]
    assert len(shown) == 1 + len(watchers)
    watchers[-1].write(f"<presence type='probe' to='{stream.account.jid}'/>")
    probed = watchers[-1].wait(lambda e: is_presence(e, stream.jid))
    return [e.findtext(PRIORITY) for e in (*shown, probed)]
