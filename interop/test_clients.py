"""Third-party clients as judges: signing in, talking, subscribing."""

import itertools

import pytest

from clients.go_sendxmpp import GoSendXmpp
from clients.lines import Slixmpp, Stanza, XmppJs
from clients.profanity import Profanity
from harness.certs import TestCa

KINDS = [Slixmpp, XmppJs, Stanza, GoSendXmpp, Profanity]
WAYS = [pytest.param(kind, mode, id=f"{kind.kind}-{mode}") for kind in KINDS for mode in kind.modes]


def named(kinds):
    return [pytest.param(*kind, id="-".join(k.kind for k in kind)) for kind in kinds]


def needs(server, mode):
    if mode == "websocket" and not server.has_websocket:
        pytest.skip(f"{server.name} has no WebSocket")


@pytest.mark.parametrize("kind, mode", WAYS)
def test_signs_in(server, enter, kind, mode):
    needs(server, mode)
    account, peer = server.account("client"), enter("peer")
    with kind(server, account, mode) as client:
        client.sign_in()
        assert client.mechanism.startswith(client.best_mechanism), client.mechanism
        peer.write(f"<message to='{account.jid}' type='chat'><body>are you there?</body></message>")
        client.wait_chat(peer.account.jid, "are you there?")


@pytest.mark.parametrize("kind, mode", WAYS)
def test_refuses_an_unknown_ca(server, tmp_path, kind, mode):
    needs(server, mode)
    stranger = TestCa(tmp_path, "Unknown CA").pem
    with kind(server, server.account("client"), mode, stranger) as client:
        assert client.is_refused()


@pytest.fixture(scope="module")
def room(server):
    """One client of each kind, signed in."""
    clients = {}
    try:
        for kind, mode in zip(KINDS, itertools.cycle(("starttls", "tls"))):
            clients[kind] = kind(server, server.account(kind.kind.replace(".", "")), mode)
            clients[kind].sign_in()
        yield clients
    finally:
        for client in clients.values():
            client.close()


@pytest.mark.parametrize("one, other", named(itertools.permutations(KINDS, 2)))
def test_chat_between(room, one, other):
    sender, receiver = room[one], room[other]
    text = f"from {sender.kind} to {receiver.kind}"
    sender.chat(receiver.account.jid, text)
    receiver.wait_chat(sender.account.jid, text)


@pytest.mark.parametrize(
    "one, other",
    named([(Slixmpp, XmppJs), (Stanza, Profanity), (XmppJs, Stanza), (Profanity, Slixmpp)]),
)
def test_subscription_both_ways(server, one, other):
    with (
        one(server, server.account("one"), "tls") as here,
        other(server, server.account("other"), "starttls") as there,
    ):
        here.sign_in()
        there.sign_in()
        for asking, asked in ((here, there), (there, here)):
            asking.subscribe(asked.account.jid)
            asked.wait_presence(asking.account.jid, "subscribe")
            asked.approve(asking.account.jid)
            asking.wait_presence(asked.account.jid, "subscribed")
            asking.wait_presence(asked.account.jid, "available")
        assert here.roster() == {there.account.jid: "both"}
        assert there.roster() == {here.account.jid: "both"}
        here.leave()
        there.wait_presence(here.account.jid, "unavailable")


@pytest.mark.parametrize("kind", [Slixmpp, XmppJs, Stanza], ids=lambda kind: kind.kind)
def test_offline_messages_reach_it_in_order(server, enter, kind):
    account, sender = server.account("client"), enter("sender")
    texts = [f"stored {n}" for n in range(10)]
    for text in texts:
        sender.write(f"<message to='{account.jid}' type='chat'><body>{text}</body></message>")
    sender.ping()
    with kind(server, account, "starttls") as client:
        client.sign_in()
        if kind is XmppJs and server.name == "stentor":
            # It binds by XEP-0386, which leaves to the archive what that has.
            client.tell("archive")
        client.wait_chat(sender.account.jid, texts[-1])
        got = [e for e in client.events if e["event"] == "message"]
        assert [e["body"] for e in got] == texts and all(e["delay"] for e in got)


def test_xml_17_several_namespaces(server, enter):
    # covers: xml-17
    alice, bob = enter("alice"), enter("bob")
    account = server.account("client")
    with Slixmpp(server, account, "tls") as client:
        client.sign_in()
        for to in (bob.jid, account.jid):
            alice.write(
                f"<message to='{to}' id='many' type='chat'><body>x</body>"
                "<active xmlns='http://jabber.org/protocol/chatstates'/>"
                "<request xmlns='urn:xmpp:receipts'/>"
                "<origin-id xmlns='urn:xmpp:sid:0' id='many'/>"
                "<one xmlns='urn:example:one'><two xmlns='urn:example:two' a='1'/></one></message>"
            )
        tags = [e.tag for e in bob.wait(lambda e: e.get("id") == "many").iter()][1:]
        assert tags[:6] == [
            "{jabber:client}body",
            "{http://jabber.org/protocol/chatstates}active",
            "{urn:xmpp:receipts}request",
            "{urn:xmpp:sid:0}origin-id",
            "{urn:example:one}one",
            "{urn:example:two}two",
        ]
        client.wait_chat(alice.account.jid, "x")
        client.wait(lambda e: e["event"] == "state" and e["state"] == "active", "chat state")
        receipt = alice.wait(lambda e: e.find("{urn:xmpp:receipts}received") is not None)
        assert receipt.find("{urn:xmpp:receipts}received").get("id") == "many"
        assert receipt.get("from").startswith(account.jid)
