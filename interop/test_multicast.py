"""One stanza for several (XEP-0033), by slixmpp and by streams of our own."""

import pytest

from clients.lines import Slixmpp
from harness.names import MESSAGE, body, child, q, stanza_error
from harness.scenes import is_chat

ADDRESS = "http://jabber.org/protocol/address"


def addresses(message):
    """Type, address, and whether it has the message."""
    named = child(message, ADDRESS, "addresses").iter(q(ADDRESS, "address"))
    return [(a.get("type"), a.get("jid"), a.get("delivered") == "true") for a in named]


@pytest.mark.prosody_differs("sends nothing on to several")
def test_slixmpp_writes_to_several_and_reads_whom_it_was_for(server, enter):
    names = ("bob", "carol", "dan", "erin")
    accounts = dict(zip(names, map(server.account, names), strict=True))
    bob, carol, dan = (enter(accounts[name]) for name in names[:3])
    with (
        Slixmpp(server, server.account("alice"), "tls") as alice,
        Slixmpp(server, accounts["erin"], "starttls") as erin,
    ):
        for client in (alice, erin):
            client.sign_in()
        nobody = f"nobody-at-all@{server.domain}"
        kinds = {"bob": "to", "carol": "cc", "dan": "bcc", "erin": "to"}
        listed = [(kind, accounts[name].jid) for name, kind in kinds.items()]
        alice.tell("spread", to=server.domain, body="to all", addresses=[*listed, ("to", nobody)])
        named = [(kind, jid, True) for kind, jid in [*listed, ("to", nobody)] if kind != "bcc"]
        for stream in (bob, carol):
            message = stream.wait(is_chat("to all"))
            assert addresses(message) == named
            assert message.get("to") == stream.account.jid
        blind = dan.wait(is_chat("to all"))
        own = ("bcc", accounts["dan"].jid, False)
        assert sorted(addresses(blind)) == sorted([*named, own])
        seen = erin.wait(lambda e: e["event"] == "message" and e["body"] == "to all", "message")
        assert [tuple(a) for a in seen["addresses"]] == named


@pytest.mark.prosody_differs("sends nothing on to several")
def test_an_error_names_who_did_not_get_it_and_too_many_get_nothing(server, enter):
    alice, bob = enter("alice"), enter("bob")
    nobody = f"nobody-at-all@{server.domain}"

    def spread(text, jids):
        listed = "".join(f"<address type='to' jid='{jid}'/>" for jid in jids)
        alice.write(
            f"<message to='{server.domain}' type='chat' id='{text}'>"
            f"<addresses xmlns='{ADDRESS}'>{listed}</addresses><body>{text}</body></message>"
        )
        return lambda e: e.tag == MESSAGE and e.get("id") == text and e.get("type") == "error"

    error = alice.wait(spread("one", [bob.account.jid, nobody]))
    assert (error.get("from"), stanza_error(error)) == (nobody, ("cancel", "service-unavailable"))
    bob.wait(is_chat("one"))
    # The default limit is 50.
    many = [bob.account.jid, *(f"n{n}@{server.domain}" for n in range(50))]
    error = alice.wait(spread("many", many))
    assert error.get("from") == server.domain
    assert stanza_error(error)[1] == "not-acceptable"
    assert "many" not in [body(e) for e in bob.ping() if e.tag == MESSAGE]
