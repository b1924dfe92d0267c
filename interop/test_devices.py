"""Several devices of one account, third-party clients among them: copies, and one history."""

import pytest

from clients.go_sendxmpp import GoSendXmpp
from clients.lines import Slixmpp, Stanza, XmppJs
from clients.profanity import Profanity
from harness.names import MESSAGE, PRESENCE, bodies, body, child
from harness.scenes import chat, is_chat

CARBONS = "urn:xmpp:carbons:2"
# Those that take copies.
KINDS = [Slixmpp, XmppJs, Stanza, Profanity]
HERE, THERE = "from the other device", "to the other device"


def by_kind(kinds):
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.kind)


@by_kind(KINDS)
def test_it_shows_what_another_device_says_and_hears(server, enter, kind):
    device, peer = enter("alice"), enter("peer")
    with kind(server, device.account, "starttls") as client:
        client.sign_in()
        client.take_copies()
        shows_the_other_device(client, device, peer)


@by_kind(KINDS)
def test_another_device_is_shown_what_it_says_and_hears(server, enter, kind):
    device, peer = enter("alice"), enter("peer")
    assert device.request(f"<enable xmlns='{CARBONS}'/>", "set").get("type") == "result"
    with kind(server, device.account, "tls") as client:
        client.sign_in()
        client.chat(peer.account.jid, "from the client")
        said = peer.wait(is_chat("from the client"))
        chat(peer, said.get("from"), "to the client")
        client.wait_chat(peer.account.jid, "to the client")
        (seen,) = peer.barrier(device)
        assert copies_among(seen) == [("sent", "from the client"), ("received", "to the client")]
        assert bodies(seen) == []


def test_xmppjs_asks_for_copies_as_it_signs_in(server, enter):
    device, peer = enter("alice"), enter("peer")
    with XmppJs(server, device.account, "tls") as client:
        client.sign_in()
        client.tell("inline")
        seen = len(client.events)
        client.tell("again")
        back = client.wait(lambda e: e["event"] == "online", "session", seen)
        assert back["mechanism"] == "HT-SHA-256-NONE"
        # It says so when it has sent its presence; that has to have come.
        for kind in ("unavailable", None):
            device.wait(lambda e: is_other(e, device, kind))
        shows_the_other_device(client, device, peer)


def test_go_sendxmpp_is_given_what_came_while_it_was_away(server, enter):
    account, peer = server.account("alice"), enter("peer")
    # Sees sessions of the account come and go, and leaves the messages to them.
    watcher = enter(account, None, -1)
    contact, late = peer.account.jid, ["one", "two", "three"]
    for live in ("before", "after"):
        with GoSendXmpp(server, account, "tls") as client:
            client.sign_in()
            watcher.wait(lambda e: is_other(e, watcher, None))
            send(peer, account, [live])
            client.wait_chat(contact, live)
            assert client.conversation(contact) == [("them", live)], "nothing comes twice"
        watcher.wait(lambda e: is_other(e, watcher, "unavailable"))
        if live == "before":
            send(peer, account, late)
            with GoSendXmpp(server, account, "tls") as client:
                client.listen()
                client.wait_given(contact, late[-1])
            assert client.conversation(contact) == [("them", text) for text in late]
            watcher.wait(lambda e: is_other(e, watcher, "unavailable"))


def test_all_clients_see_one_history(server, enter):
    account, peer = server.account("alice"), enter("peer")
    contact, talk = peer.account.jid, []

    def while_nobody_is_there(*texts):
        send(peer, account, texts)
        talk.extend(("them", text) for text in texts)

    # Profanity asks no archive of this server: it looks for archives among the features of the
    # host, and accounts are who have them (XEP-0313 §7). It is given what it missed, and copies.
    while_nobody_is_there("one", "two")
    with Profanity(server, account, "tls") as client:
        client.sign_in()
        client.take_copies()
        client.wait_chat(contact, "two")
        device = enter(account)
        for who, text in (("me", "three"), ("them", "four"), ("me", "five")):
            sender, receiver = (device, peer) if who == "me" else (peer, device)
            chat(sender, receiver.jid, text)
            receiver.wait(is_chat(text))
            talk.append((who, text))
        send(peer, account, ["six"])
        talk.append(("them", "six"))
        client.wait_chat(contact, "six")
        assert client.conversation(contact) == talk
        client.leave()
    device.close()

    # go-sendxmpp knows no archives.
    while_nobody_is_there("seven", "eight", "nine")
    with GoSendXmpp(server, account, "starttls") as client:
        client.listen()
        client.wait_given(contact, "nine")
    assert client.conversation(contact) == talk[-3:]

    histories = []
    for kind in (Slixmpp, XmppJs, Stanza):
        with kind(server, account, "tls") as client:
            client.sign_in()
            histories.append(client.history(contact))
            assert client.conversation(contact) == [], "nothing is given twice"
    assert [whose(item, contact) for item in histories[0]] == talk
    assert histories == [histories[0]] * 3, "entries and ids"
    assert len({item["id"] for item in histories[0]}) == len(talk)


def shows_the_other_device(client, device, peer):
    """What the device says and hears comes as copies, and what both are sent is no copy."""
    contact = peer.account.jid
    chat(device, peer.jid, HERE)
    peer.wait(is_chat(HERE))
    chat(peer, device.jid, THERE)
    device.wait(is_chat(THERE))
    for text in ("to both", "the end"):
        chat(peer, device.account.jid, text)
    client.wait_chat(contact, "the end")
    expected = [("me", HERE), ("them", THERE), ("them", "to both"), ("them", "the end")]
    assert client.conversation(contact) == expected
    assert client.copies() == 2
    assert bodies(peer.barrier(device)[0]) == ["to both", "the end"]


def send(peer, account, texts):
    """To the account; what becomes of them is decided when this returns."""
    for text in texts:
        chat(peer, account.jid, text)
    peer.ping()


def copies_among(elements):
    """Of every copy of a text: which side of the talk it is, and the text."""
    found = []
    for element in elements:
        for which in ("sent", "received"):
            copy = child(element, CARBONS, which)
            text = None if copy is None else body(copy.find(f".//{MESSAGE}"))
            if text is not None:
                found.append((which, text))
    return found


def is_other(element, stream, kind):
    """Whether it is presence of another session of the stream's account."""
    sender = element.get("from", "")
    is_own = sender.startswith(f"{stream.account.jid}/") and sender != stream.jid
    return element.tag == PRESENCE and is_own and element.get("type") == kind


def whose(item, contact):
    """An entry of an archive as conversations show it."""
    return "them" if item["from"].startswith(f"{contact}/") else "me", item["body"]
