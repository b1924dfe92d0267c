"""Sessions that outlive their connection (XEP-0198 §5), with clients that others wrote."""

import pytest

from clients.lines import Slixmpp, Stanza, XmppJs
from harness.names import PRESENCE
from harness.scenes import chat, is_chat

COUNT = 20
# stanza's transport for TCP is ours; the others bring their own.
WAYS = [
    *((kind, mode) for kind in (Slixmpp, XmppJs) for mode in ("tls", "starttls")),
    (Stanza, "tls"),
]


@pytest.mark.parametrize(
    "kind, mode", [pytest.param(kind, mode, id=f"{kind.kind}-{mode}") for kind, mode in WAYS]
)
def test_what_came_during_a_cut_arrives_once_and_in_order(server, enter, kind, mode):
    account, peer = server.account("client"), enter("peer")
    with kind(server, account, mode) as client:
        client.sign_in()
        watch(peer, client)
        chat(peer, account.jid, "before")
        client.wait_chat(peer.account.jid, "before")
        client.cut()
        texts = [f"during {n}" for n in range(COUNT)]
        for text in texts:
            chat(peer, account.jid, text)
        # What the peer sent has been decided: it waits for the session.
        seen = peer.ping()
        client.mend()
        chat(peer, account.jid, "after")
        client.wait_chat(peer.account.jid, "after")
        assert client.chats(peer.account.jid) == ["before", *texts, "after"]
        client.chat(peer.account.jid, "I am back")
        seen += peer.until(is_chat("I am back"))
        assert not [e for e in seen if is_from(e, account.jid) and e.get("type")]


def watch(peer, client):
    """The peer sees when the client goes."""
    peer.write(f"<presence type='subscribe' to='{client.account.jid}'/>")
    client.wait_presence(peer.account.jid, "subscribe")
    client.approve(peer.account.jid)
    peer.wait(lambda e: is_from(e, client.account.jid) and not e.get("type"))


def is_from(element, jid):
    """Whether it is presence of one of the account's sessions."""
    return element.tag == PRESENCE and element.get("from", "").startswith(f"{jid}/")
