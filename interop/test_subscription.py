"""Subscriptions: RFC 6121 §3 and all of its Appendix A."""

from harness import sasl
from harness.names import IQ, PRESENCE, child, is_presence, presences, push_item
from harness.raw import RawStream
from harness.scenes import befriend, delivered, is_push, subscribe

STATES = ["none", "none out", "none in", "none out in", "to", "to in", "from", "from out", "both"]

# Appendix A, tables 2 to 5: what the user sends, where it is routed, and the new state.
OUTBOUND = {
    "subscribe": {
        "none": "none out",
        "none in": "none out in",
        "from": "from out",
    },
    "unsubscribe": {
        "none out": "none",
        "none out in": "none in",
        "to": "none",
        "to in": "none in",
        "from out": "from",
        "both": "from",
    },
    "subscribed": {"none in": "from", "none out in": "from out", "to in": "both"},
    "unsubscribed": {
        "none in": "none",
        "none out in": "none out",
        "to in": "to",
        "from": "none",
        "from out": "none out",
        "both": "to",
    },
}
# Tables 6 to 9: what comes from the contact; a state that is listed is one that changes, and
# only then the stanza is delivered.
INBOUND = {
    "subscribe": {"none": "none in", "none out": "none out in", "to": "to in"},
    "unsubscribe": OUTBOUND["unsubscribed"],
    "subscribed": {"none out": "to", "none out in": "to in", "from out": "both"},
    "unsubscribed": OUTBOUND["unsubscribe"],
}
MIRROR = {
    "none": "none",
    "none out": "none in",
    "none in": "none out",
    "none out in": "none out in",
    "to": "from",
    "to in": "from out",
    "from": "to",
    "from out": "to in",
    "both": "both",
}
PRE_APPROVING = ("none", "none out", "to")


def reach(user, contact, state):
    """Brings the user into a state towards the contact."""
    here, there = user.account.jid, contact.account.jid
    sub, *pending = state.split()
    if sub in ("to", "both"):
        subscribe(user, contact)
    if sub in ("from", "both"):
        subscribe(contact, user)
    if "out" in pending:
        user.write(f"<presence type='subscribe' to='{there}'/>")
        contact.wait(lambda e: is_presence(e, here, "subscribe"))
    if "in" in pending:
        contact.write(f"<presence type='subscribe' to='{here}'/>")
        user.wait(lambda e: is_presence(e, there, "subscribe"))
    user.barrier(contact)
    contact.barrier(user)


def roster_state(roster, jid):
    """Subscription and pending-out of an item; an absent item counts as none."""
    item = roster.get(jid)
    if item is None:
        return "none"
    return item.get("subscription") + (" out" if item.get("ask") == "subscribe" else "")


def requests(stream):
    """Who asks for a subscription when the stream becomes available."""
    seen = stream.available() + stream.ping()
    return {sender for sender, kind in presences(seen) if kind == "subscribe"}


def expected(user_state, action):
    """The states of both after the user's action."""
    contact_state = MIRROR[user_state]
    routed = action != "subscribed" or user_state in OUTBOUND[action]
    arrived = routed and contact_state in INBOUND[action]
    after = INBOUND[action][contact_state] if arrived else contact_state
    return OUTBOUND[action].get(user_state, user_state), after, arrived


def test_presence_12_appendix_a(server, enter):
    contact = enter("contact")
    contact.roster()
    there = contact.account.jid
    cases = [(state, action) for state in STATES for action in OUTBOUND]
    users, wrong = [], []
    for account, (state, action) in zip(server.accounts(*["user"] * len(cases)), cases):
        user = enter(account)
        user.roster()
        users.append(user)
        reach(user, contact, state)
        user.write(f"<presence type='{action}' to='{there}'/>")
        kinds = [
            kind
            for sender, kind in presences(delivered(user, contact))
            if sender == account.jid and kind == action
        ]
        arrived = expected(state, action)[2]
        if kinds != [action] * arrived:
            wrong.append((state, action, "delivered", kinds))
        if action == "subscribed" and state in PRE_APPROVING and server.name != "prosody":
            if user.roster()[there].get("approved") != "true":
                wrong.append((state, action, "no pre-approval"))
    contact_roster = contact.roster()
    asking = requests(enter(contact.account, is_available=False))
    for user, (state, action) in zip(users, cases):
        here = user.account.jid
        mine, theirs, _ = expected(state, action)
        fresh = enter(user.account, is_available=False)
        got = roster_state(fresh.roster(), there)
        got += " in" if there in requests(fresh) else ""
        if got != mine:
            wrong.append((state, action, f"user is {got}, not {mine}"))
        got = roster_state(contact_roster, here) + (" in" if here in asking else "")
        if got != theirs:
            wrong.append((state, action, f"contact is {got}, not {theirs}"))
        fresh.cut()
    assert wrong == []


def test_presence_12_approval(server, enter):
    # covers: presence-12
    alice, bob = enter("alice"), enter("bob", "one")
    second = enter(bob.account, "two")
    bare_alice, bare_bob = alice.account.jid, bob.account.jid
    for stream in (alice, bob, second):
        stream.roster()
    alice.write(f"<presence type='subscribe' to='{bare_bob}'/>")
    for stream in (bob, second):
        stream.wait(lambda e: is_presence(e, bare_alice, "subscribe"))
    alice.wait(is_push(bare_bob, "none", ask="subscribe"))
    alice.ping()
    bob.write(f"<presence type='subscribed' to='{bare_alice}'/>")
    for stream in (bob, second):
        stream.wait(is_push(bare_alice, "from", ask=None))
    seen = all_from(bob, alice)
    pushes = [push_item(e) for e in seen if e.tag == IQ]
    assert [(p.get("subscription"), p.get("ask")) for p in pushes] == [("to", None)]
    came = presences(seen)
    assert came[0] == (bare_bob, "subscribed")
    assert set(came[1:]) == {(bob.jid, None), (second.jid, None)} and len(came) == 3
    if server.name != "prosody":
        assert [e.tag for e in seen] == [PRESENCE, IQ, PRESENCE, PRESENCE]

    bob.write(f"<presence type='subscribe' to='{bare_alice}'/>")
    alice.wait(lambda e: is_presence(e, bare_bob, "subscribe"))
    alice.write(f"<presence type='subscribed' to='{bare_bob}'/>")
    alice.wait(is_push(bare_bob, "both"))
    bob.wait(is_push(bare_alice, "both"))

    carol = enter("carol")
    carol.write(f"<presence type='subscribed' to='{bare_alice}'/>")
    before = sorted(alice.roster())
    assert all_from(carol, alice) == [] and sorted(alice.roster()) == before
    alice.write(f"<presence type='subscribe' to='{carol.account.jid}'/>")
    alice.wait(is_push(carol.account.jid, "to"))
    assert carol.roster()[bare_alice].get("subscription") == "from"


def all_from(sender, receiver):
    """Everything the receiver got of what the sender did so far, pushes too."""
    return sender.barrier(receiver)[0]


def test_presence_12_pre_approval_is_advertised(server):
    account = server.account("alice")
    with RawStream(server, "tls") as stream:
        stream.secure()
        answer = stream.auth("PLAIN", sasl.plain(account.local, account.password))
        assert answer.tag == "{urn:ietf:params:xml:ns:xmpp-sasl}success"
        stream.open()
        assert child(stream.features(), "urn:xmpp:features:pre-approval", "sub") is not None


def test_presence_13_denial(server, enter):
    alice, bob = enter("alice"), enter("bob")
    alice.roster(), bob.roster()
    alice.write(f"<presence type='subscribe' to='{bob.account.jid}'/>")
    bob.wait(lambda e: is_presence(e, alice.account.jid, "subscribe"))
    alice.wait(is_push(bob.account.jid, "none", ask="subscribe"))
    bob.write(f"<presence type='unsubscribed' to='{alice.account.jid}'/>")
    seen = alice.until(is_push(bob.account.jid, "none", ask=None))
    seen += all_from(bob, alice)
    assert (bob.account.jid, "unsubscribed") in presences(seen)
    assert not [e for e in seen if e.tag == PRESENCE and e.get("type") is None]
    assert alice.account.jid not in bob.roster()
    again = enter(bob.account, is_available=False)
    assert requests(again) == set()
    bob.write("<presence><status>not for Alice</status></presence>")
    assert presences(delivered(bob, alice)) == []


def test_subscribed_both_ways_survives_reconnection(server, enter):
    alice, bob = enter("alice"), enter("bob")
    befriend(alice, bob)
    alice.close()
    bob.wait(lambda e: is_presence(e, alice.jid, "unavailable"))
    alice = enter(alice.account)
    bob.wait(lambda e: is_presence(e, alice.jid))
    alice.wait(lambda e: is_presence(e, bob.jid))
    assert alice.roster()[bob.account.jid].get("subscription") == "both"
