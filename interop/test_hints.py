"""What a sender says of how a message is to be dealt with (XEP-0334)."""

import pytest

from harness.names import MESSAGE, body, child
from harness.raw import login
from harness.scenes import chat, delivered, is_chat

HINTS, CARBONS, MAM = "urn:xmpp:hints", "urn:xmpp:carbons:2", "urn:xmpp:mam:2"
ERROR = (
    "<error type='cancel'>"
    "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
)


def hint(name: str) -> str:
    return f"<{name} xmlns='{HINTS}'/>"


def archived(stream) -> list[str]:
    """The ids of the messages in the archive of the account."""
    stream.write(f"<iq type='set' id='h'><query xmlns='{MAM}'/></iq>")
    seen = stream.until(lambda e: e.get("id") == "h")
    assert seen[-1].get("type") == "result"
    return [e.find(f".//{MESSAGE}").get("id") for e in seen if e.tag == MESSAGE]


# By hint: whether a message with a body is archived, and whether it waits for who is offline.
KEPT = {
    "none": (True, True),
    "no-store": (False, False),
    "no-permanent-store": (False, True),
    "store": (True, True),
    "no-copy": (True, True),
}


@pytest.mark.prosody_differs("has no archive")
@pytest.mark.parametrize("name", KEPT)
def test_xep_42_where_a_message_is_kept(server, enter, name):
    is_archived, waits = KEPT[name]
    alice, bob = enter("alice"), enter("bob")
    away = server.account("carol")
    said = "" if name == "none" else hint(name)
    for to, ident in ((bob.jid, "full"), (bob.account.jid, "bare"), (away.jid, "away")):
        alice.write(f"<message to='{to}' type='chat' id='{ident}'><body>x</body>{said}</message>")
    # It never stops what can be delivered at once.
    assert [e.get("id") for e in delivered(alice, bob)] == ["full", "bare"]
    assert not [e for e in alice.ping() if e.get("type") == "error"]
    with login(server, away, is_available=False) as carol:
        carol.write("<presence/>")
        came = [e.get("id") for e in carol.ping() + carol.ping() if e.tag == MESSAGE]
        assert came == (["away"] if waits else [])
        assert archived(carol) == (["away"] if is_archived else [])
        carol.close()
    assert archived(bob) == (["full", "bare"] if is_archived else [])
    assert archived(alice) == (["full", "bare", "away"] if is_archived else [])


@pytest.mark.prosody_differs("has no archive")
def test_xep_42_what_has_no_body_is_archived_on_demand(enter):
    alice, bob = enter("alice"), enter("bob")
    for ident, said in (("plain", ""), ("demanded", hint("store"))):
        inner = f"<x xmlns='urn:example:x'/>{said}"
        alice.write(f"<message to='{bob.jid}' type='chat' id='{ident}'>{inner}</message>")
    assert [e.get("id") for e in delivered(alice, bob)] == ["plain", "demanded"]
    assert archived(bob) == archived(alice) == ["demanded"]


@pytest.mark.prosody_differs("has no archive")
def test_xep_42_hints_of_errors_do_not_count(enter):
    alice, bob = enter("alice"), enter("bob")
    other = enter(bob.account)
    assert other.request(f"<enable xmlns='{CARBONS}'/>", "set").get("type") == "result"
    chat(alice, bob.jid, "first")
    bob.wait(is_chat("first"))
    said = hint("store")
    alice.write(f"<message to='{bob.jid}' type='error' id='e'>{said}{ERROR}</message>")
    assert [e.get("id") for e in delivered(alice, bob)] == ["e"]
    assert "e" not in archived(bob) and "e" not in archived(alice)


def test_xep_42_nobody_else_gets_a_copy(enter):
    alice, bob = enter("alice"), enter("bob")
    other = enter(bob.account)
    assert other.request(f"<enable xmlns='{CARBONS}'/>", "set").get("type") == "result"
    for text, said in (("private", hint("no-copy")), ("public", "")):
        inner = f"<body>{text}</body>{said}"
        alice.write(f"<message to='{bob.jid}' type='chat'>{inner}</message>")
        bob.wait(is_chat(text))
    copies = []
    while "public" not in copies:
        found = other.wait(lambda e: child(e, CARBONS, "received") is not None)
        copies.append(body(found.find(f".//{MESSAGE}")))
    assert copies == ["public"]
