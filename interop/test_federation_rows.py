"""RFC 6121 between a user of ours, and one of Prosody or ejabberd."""

import pytest
from harness.names import DELAY, MESSAGE, bodies, child, is_presence, presences, stanza_error
from harness.neighbours import Ejabberd, Prosody, Stentor, neighbourhood
from harness.peer import Caller
from harness.people import Person, friends, text_of
from harness.raw import new_id
from harness.scenes import befriend, chat, has_id, is_chat, is_push
from harness.waiting import until

EITHER = pytest.mark.parametrize("other", [Prosody, Ejabberd])
RECEIPTS = "urn:xmpp:receipts"
BLOCKING = "urn:xmpp:blocking"
# A state is seen within so many seconds.
SOON = 3


@pytest.fixture(scope="module")
def pairs():
    """A server of ours with each of the others, started once."""
    with neighbourhood(Stentor, Prosody, Ejabberd) as (ours, prosody, ejabberd):
        yield {Prosody: (ours, prosody), Ejabberd: (ours, ejabberd)}


# covers: fed-03
def test_who_is_busy_is_seen_busy_and_still_gets_messages(pairs):
    alice, dora = friends(*pairs[Ejabberd])
    for one, other in ((alice, dora), (dora, alice)):
        one.stream.write("<presence><show>dnd</show></presence>")
        other.stream.wait(lambda e, f=one.full: is_presence(e, f) and text_of(e, "show") == "dnd")
        chat(other.stream, one.jid, "at once")
        one.hears([(other.full, "at once")])
        one.leave()
        other.sees([one], "unavailable")
        chat(other.stream, one.jid, "kept")
        other.asks(one.account.domain)
        one.enter()
        one.hears([(other.full, "kept")])
        other.sees([one])


# covers: fed-08
def test_priorities_count_for_others_as_for_us(pairs):
    ours, prosody = pairs[Prosody]
    alice, dora = friends(ours, prosody)
    bob = Person(ours)
    befriend(alice.stream, bob.stream)
    clients = {}
    for priority in (1, 5, -1):
        clients[priority] = alice.another(f"p{priority}", priority)
        full = clients[priority].jid
        seen = dora.stream.wait(lambda e, f=full: is_presence(e, f))
        assert text_of(seen, "priority") == str(priority)
    alice.leave()
    dora.sees([alice], "unavailable")
    bob.sees([alice], "unavailable")

    def receivers(sender) -> dict:
        chat(sender.stream, alice.jid, "whom?")
        came = sender.stream.barrier(*clients.values())
        found = {}
        for priority, elements in zip(clients, came, strict=True):
            for element in elements:
                if is_chat("whom?")(element):
                    # The other server left the choice to ours.
                    assert element.get("to") in (alice.jid, clients[priority].jid)
                    found[priority] = found.get(priority, 0) + 1
        return found

    local = receivers(bob)
    assert 5 in local and -1 not in local
    assert receivers(dora) == local


def test_fed_38_the_highest_priority_is_kept_and_the_choice_left_to_its_server(pairs):
    ours, prosody = pairs[Prosody]
    alice, dora = friends(ours, prosody)
    low = dora.another("low", 126)
    tablet = alice.another("tablet")
    dora.stream.write("<presence><priority>127</priority></presence>")
    for stream in (alice.stream, tablet, alice.another("late")):
        seen = stream.wait(lambda e: is_presence(e, dora.full) and text_of(e, "priority"))
        assert text_of(seen, "priority") == "127"
    chat(alice.stream, dora.jid, "to the best")
    assert dora.stream.wait(is_chat("to the best")).get("to") == dora.jid
    assert bodies(alice.stream.barrier(low)[0]) == []


# covers: fed-20
def test_several_clients_are_seen_each_by_itself(pairs):
    ours, prosody = pairs[Prosody]
    alice, dora = Person(ours), Person(prosody)
    second = dora.another("second")
    clients = [alice.stream, alice.another("two"), alice.another("three")]
    fulls = sorted(client.jid for client in clients)
    dora.stream.write(f"<presence type='subscribe' to='{alice.jid}'/>")
    alice.stream.wait(lambda e: is_presence(e, dora.jid, "subscribe"))
    alice.stream.write(f"<presence type='subscribed' to='{dora.jid}'/>")
    for stream in (dora.stream, second):
        seen = []
        while len(seen) < 3:
            seen.append(stream.wait(lambda e: e.get("from") in fulls and not e.get("type")))
        assert sorted(e.get("from") for e in seen) == fulls
    clients[2].close()
    for stream in (dora.stream, second):
        before = alice.stream.barrier(stream)[0]
        assert presences(before) == [(f"{alice.jid}/three", "unavailable")]
    # A client that comes is what makes its server probe.
    third = dora.arriving("third")
    expected = sorted([clients[0].jid, clients[1].jid])
    seen = [third.wait(lambda e: e.get("from") in expected) for _ in expected]
    assert sorted(e.get("from") for e in seen) == expected
    assert not [e for e in alice.stream.barrier(third)[0] if e.get("from") in fulls]


# covers: fed-21
def test_a_hundred_messages_while_priorities_change(pairs):
    ours, prosody = pairs[Prosody]
    alice, dora = friends(ours, prosody)
    bob = Person(ours)
    one, two = alice.stream, alice.another("two", 0)
    heard = {"one": [], "two": []}
    sent = []
    for phase, (first, second) in enumerate(((10, 0), (10, 10), (-1, 0), (-1, -1))):
        for stream, priority in ((one, first), (two, second)):
            stream.available(priority)
            stream.ping()
        texts = [f"{phase}-{n}" for n in range(25)]
        got = {}
        for sender in (bob, dora):
            for text in texts:
                chat(sender.stream, alice.jid, f"{sender.server.name}-{text}")
            came = sender.stream.barrier(one, two)
            got[sender] = [[t for t in bodies(c) if t in _all(sender, texts)] for c in came]
        for mine, theirs in zip(got[bob], got[dora], strict=True):
            local = [text.partition("-")[2] for text in mine]
            assert [text.partition("-")[2] for text in theirs] == local, "as for a local sender"
        heard["one"] += got[dora][0]
        heard["two"] += got[dora][1]
        sent += _all(dora, texts)
    two.close()
    one.write("<presence><priority>1</priority></presence>")
    kept = [one.wait(lambda e: e.tag == MESSAGE and bodies([e])) for _ in range(50)]
    heard["one"] += [t for t in bodies(kept) if t.startswith(dora.server.name)]
    assert set(heard["one"] + heard["two"]) == set(sent), "none is lost"
    for texts in heard.values():
        assert len(texts) == len(set(texts)), "none is doubled"
    gone = f"{alice.jid}/gone"
    chat(dora.stream, gone, "back to the bare address")
    one.wait(is_chat("back to the bare address"))
    ident = chat(dora.stream, gone, "to nobody", "groupchat")
    refused = dora.stream.wait(has_id(ident))
    assert stanza_error(refused) == ("cancel", "service-unavailable")


def _all(sender, texts) -> list[str]:
    return [f"{sender.server.name}-{text}" for text in texts]


# covers: fed-12
@EITHER
def test_approvals_cross_domains_and_each_other(pairs, other):
    ours, theirs = pairs[other]
    alice, dora = Person(ours), Person(theirs)
    clients = {alice: [alice.stream, alice.another("two")]}
    clients[dora] = [dora.stream, dora.another("two")]
    for person in clients:
        for stream in clients[person]:
            stream.roster()
    # Both ask before either has seen the other's request.
    for one, two in ((alice, dora), (dora, alice)):
        one.stream.write(f"<presence type='subscribe' to='{two.jid}'/>")
    for one, two in ((alice, dora), (dora, alice)):
        one.stream.wait(lambda e, j=two.jid: is_presence(e, j, "subscribe"))
        one.stream.write(f"<presence type='subscribed' to='{two.jid}'/>")
    for one, two in ((alice, dora), (dora, alice)):
        _all_come(clients[one][0], is_push(two.jid, "both"), lambda e, f=two.full: is_presence(e, f))
        clients[one][1].wait(is_push(two.jid, "both"))
        assert one.stream.roster()[two.jid].get("subscription") == "both"
    # What is approved while she is not there is in her roster when she comes.
    emil = Person(theirs, "emil")
    alice.stream.write(f"<presence type='subscribe' to='{emil.jid}'/>")
    emil.stream.wait(lambda e: is_presence(e, alice.jid, "subscribe"))
    for stream in clients[alice]:
        stream.close()
    emil.stream.write(f"<presence type='subscribed' to='{alice.jid}'/>")
    emil.asks(alice.account.domain)
    alice.enter()
    assert alice.stream.roster()[emil.jid].get("subscription") == "to"
    assert alice.stream.roster()[emil.jid].get("ask") is None


def _all_come(stream, *wanted) -> None:
    """All of these come, in whatever order."""
    left = list(wanted)

    def is_last(element) -> bool:
        left[:] = [match for match in left if not match(element)]
        return not left

    stream.wait(is_last)


# covers: fed-17
def test_logout_is_seen_at_the_other_domain():
    with neighbourhood(Stentor, Prosody, idle_secs=1) as (ours, prosody):
        alice, dora = friends(ours, prosody)
        until(lambda: ours.events("s2s_out_ended"), "the idle stream is closed")
        alice.leave()
        dora.stream.wait(lambda e: is_presence(e, alice.full, "unavailable"), SOON)
        alice.enter()
        dora.sees([alice])
        # She leaves and the server stops.
        alice.stream.write("</stream:stream>")
        ours.stop()
        dora.stream.wait(lambda e: is_presence(e, alice.full, "unavailable"), SOON)
        ours.start()
        alice.enter()
        dora.sees([alice])
        # The server stops with her.
        ours.stop()
        dora.stream.wait(lambda e: is_presence(e, alice.full, "unavailable"), SOON)


# covers: off-16
@EITHER
def test_messages_reach_who_is_offline_and_servers_that_come_back(other):
    with neighbourhood(Stentor, other) as (ours, theirs):
        alice, dora = friends(ours, theirs)
        dora.leave()
        alice.sees([dora], "unavailable")
        chat(alice.stream, dora.jid, "to who is not there")
        alice.asks(dora.account.domain)
        dora.enter()
        [kept] = dora.hears([(alice.full, "to who is not there")])
        delay = child(kept, DELAY, "delay")
        assert delay.get("from") in (dora.account.domain, dora.jid, None)
        theirs.stop()
        for n in range(5):
            chat(alice.stream, dora.jid, f"{n} to a server that is down")
        until(lambda: ours.events("s2s_failed"), "nobody answers")
        theirs.start()
        dora.enter()
        arrived = dora.gather(5, lambda e: e.tag == MESSAGE and bodies([e]))
        assert bodies(arrived) == [f"{n} to a server that is down" for n in range(5)]
        # Nothing came back, and nothing comes twice.
        assert not [e for e in alice.stream.barrier(dora.stream)[0] if bodies([e])]
        assert not [e for e in alice.stream.ping() if e.get("type") == "error"]
        ident = chat(alice.stream, "who@nowhere.example", "to a domain that is not there")
        refused = alice.stream.wait(has_id(ident))
        assert stanza_error(refused) == ("cancel", "remote-server-not-found")


# covers: off-16
def test_messages_that_have_waited_too_long_come_back():
    with neighbourhood(Stentor, hold_secs=1) as (ours,):
        # Nobody listens there.
        ours.region.dns.server_of("down.example", 1, None)
        alice = Person(ours)
        idents = [chat(alice.stream, "x@down.example", str(n)) for n in range(3)]
        for ident in idents:
            refused = alice.stream.wait(has_id(ident))
            assert stanza_error(refused) == ("wait", "remote-server-timeout")


def test_requests_that_reach_nobody_come_back_and_others_are_sent_again():
    """RFC 6121 §3.1.2; RFC 6120 §10.4.3."""
    with neighbourhood(Stentor, Prosody) as (ours, prosody):
        # Nobody listens there.
        ours.region.dns.server_of("down.example", 1, None)
        alice, dora = Person(ours), Person(prosody)
        alice.stream.roster()
        for domain, refusal in (
            ("nowhere.example", ("cancel", "remote-server-not-found")),
            ("down.example", ("wait", "remote-server-timeout")),
        ):
            for kind, to in (("subscribe", f"x@{domain}"), ("unavailable", f"room@{domain}/a")):
                ident = new_id("request")
                alice.stream.write(f"<presence type='{kind}' to='{to}' id='{ident}'/>")
                refused = alice.stream.wait(has_id(ident))
                assert (refused.get("type"), refused.get("from")) == ("error", to)
                assert stanza_error(refused) == refusal
        certificate = ours.region.ca.server("peer.example")
        asked = "dora@peer.example"
        with Caller(ours, "peer.example", certificate) as peer:
            alice.stream.write(f"<presence type='subscribe' to='{asked}' id='first'/>")
            first = peer.wait(lambda e: e.get("type") == "subscribe")
            assert (first.get("from"), first.get("id")) == (alice.jid, "first")
            alice.leave()
            alice.enter()
            again = peer.wait(lambda e: e.get("type") == "subscribe")
            assert (again.get("from"), again.get("to")) == (alice.jid, asked) and again.get("id")
            peer.say("presence", asked, alice.jid, kind="unsubscribed")
            alice.stream.roster()
            alice.leave()
            alice.enter()
            alice.stream.ping()
            assert not [e for e in peer.ping() if e.get("to") == asked]
        # Whether there is such a user is nobody's business.
        befriend(alice.stream, dora.stream)
        alice.stream.write(f"<presence type='subscribe' to='nobody@{prosody.domain}'/>")
        chat(alice.stream, dora.jid, "after it")
        dora.hears([(alice.full, "after it")])
        assert not [e for e in alice.stream.barrier(alice.stream)[0] if e.get("type") == "error"]


# covers: off-17
def test_messages_of_others_wait_for_who_is_offline_here():
    quota = "[profile.default.modules.offline]\nmessages_max = 3"
    with neighbourhood(Stentor, Ejabberd, extra=quota) as (ours, theirs):
        bob, dora = friends(ours, theirs)
        bob.leave()
        dora.sees([bob], "unavailable")
        ident = new_id("receipt")
        dora.stream.write(
            f"<message to='{bob.jid}' type='chat' id='{ident}'><body>kept</body>"
            f"<request xmlns='{RECEIPTS}'/></message>"
        )
        dora.asks(bob.account.domain)
        bob.enter()
        [kept] = bob.hears([(dora.full, "kept")])
        assert child(kept, DELAY, "delay").get("from") == bob.account.domain
        bob.stream.write(
            f"<message to='{dora.full}' id='r'><received xmlns='{RECEIPTS}' id='{ident}'/></message>"
        )
        receipt = dora.stream.wait(has_id("r"))
        assert child(receipt, RECEIPTS, "received").get("id") == ident
        bob.leave()
        dora.sees([bob], "unavailable")
        for n in range(3):
            chat(dora.stream, bob.jid, f"fits {n}")
        ident = chat(dora.stream, bob.jid, "does not fit")
        assert stanza_error(dora.stream.wait(has_id(ident))) == ("cancel", "service-unavailable")
        bob.enter()
        bob.hears([(dora.full, f"fits {n}") for n in range(3)])
        item = f"<item jid='{dora.jid}'/>"
        bob.stream.request(f"<block xmlns='{BLOCKING}'>{item}</block>", "set")
        bob.leave()
        ident = chat(dora.stream, bob.jid, "blocked")
        assert stanza_error(dora.stream.wait(has_id(ident))) == ("cancel", "service-unavailable")
