"""What an account leaves behind when it is deleted (XEP-0077 §3.2, RFC 6121 §8.5.1)."""

from pathlib import Path

import pytest

from harness import waiting
from harness.names import MESSAGE, presences, stanza_error
from harness.raw import login
from harness.scenes import befriend, chat, has_id, is_chat, is_push

MARKER = "xq7marker"
PUBSUB, PRIVATE, MAM = "http://jabber.org/protocol/pubsub", "jabber:iq:private", "urn:xmpp:mam:2"
PUSH, AVATAR = "urn:xmpp:push:0", "urn:xmpp:avatar:metadata"
KEPT = {
    "vcard": f"<vCard xmlns='vcard-temp'><FN>{MARKER} card</FN></vCard>",
    "private": f"<query xmlns='{PRIVATE}'><x xmlns='urn:example:x'>{MARKER} own</x></query>",
    "pep": f"<pubsub xmlns='{PUBSUB}'><publish node='urn:example:n'><item id='{MARKER}-i'>"
    f"<x xmlns='urn:example:n'>{MARKER} item</x></item></publish></pubsub>",
    "roster": "<query xmlns='jabber:iq:roster'>"
    f"<item jid='{MARKER}@example.org' name='{MARKER} friend'/></query>",
    "push": f"<enable xmlns='{PUSH}' jid='push.example' node='{MARKER}-node'/>",
    "block": f"<block xmlns='urn:xmpp:blocking'><item jid='{MARKER}@block.example'/></block>",
}


def holders(folder: Path) -> list[str]:
    """The files that hold the marker."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return [str(path) for path in found if MARKER.encode() in path.read_bytes()]


@pytest.mark.prosody_differs("keeps files of other kinds")
def test_off_36_nothing_of_a_deleted_account_is_left(server_with, enter):
    server = server_with()
    alice, bob = enter("alice", at=server), enter("bob", at=server)
    account = bob.account
    alice.roster()
    befriend(alice, bob)
    for name, payload in KEPT.items():
        assert bob.request(payload, "set").get("type") == "result", name
    chat(alice, bob.jid, f"{MARKER} archived")
    bob.wait(is_chat(f"{MARKER} archived"))
    bob.close()
    chat(alice, account.jid, f"{MARKER} stored")
    alice.ping()
    assert server.waiting_messages(account) == 1 and holders(server.data)

    server.delete_account(account)
    seen = alice.until(is_push(account.jid, "none"))
    assert {(account.jid, "unsubscribe"), (account.jid, "unsubscribed")} <= set(presences(seen))
    ident = chat(alice, account.jid, "to nobody")
    assert stanza_error(alice.wait(has_id(ident))) == ("cancel", "service-unavailable")

    server.create_account(account)
    with login(server, account, is_available=False) as again:
        again.write("<presence/>")
        came = [e for e in again.ping() + again.ping() if e.tag == MESSAGE]
        assert came == [] and again.roster() == {}
        again.write(f"<iq type='set' id='h'><query xmlns='{MAM}'/></iq>")
        *found, answer = again.until(has_id("h"))
        assert answer.get("type") == "result" and not [e for e in found if e.tag == MESSAGE]
        for payload in ("<vCard xmlns='vcard-temp'/>", "<blocklist xmlns='urn:xmpp:blocking'/>"):
            answer = again.request(payload)
            assert MARKER not in "".join(answer.itertext())
        again.close()
    # What she wrote to him is in her archive.
    server.delete_account(alice.account)
    # The database empties its log beside its work.
    waiting.until(lambda: holders(server.data) == [], "the marker is gone")
