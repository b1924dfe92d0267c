"""Presence between a user of ours, and one of Prosody or ejabberd (RFC 6121 §4)."""

import contextlib
import copy
from xml.etree.ElementTree import canonicalize, fromstring, tostring

import pytest
from clients.lines import Slixmpp
from harness.counted import Counted
from harness.names import (
    CLIENT,
    DELAY,
    PRESENCE,
    SM,
    XML,
    child,
    is_presence,
    q,
    stanza_error,
)
from harness.neighbours import Ejabberd, Prosody, Stentor, neighbourhood
from harness.peer import SERVER, Caller
from harness.people import Person, friends, grant, text_of
from harness.raw import RawStream, header, login
from harness.scenes import befriend, chat, has_id, is_chat, is_push, subscribe
from harness.waiting import until

EITHER = pytest.mark.parametrize("other", [Prosody, Ejabberd])
# A state is seen within so many seconds.
SOON = 3


@pytest.fixture(scope="module")
def pairs():
    """A server of ours with each of the others, started once."""
    with neighbourhood(Stentor, Prosody, Ejabberd) as (ours, prosody, ejabberd):
        yield {Prosody: (ours, prosody), Ejabberd: (ours, ejabberd)}


@pytest.fixture
def peers(pairs):
    """Makes servers written by hand, which ours takes calls of: `peers("peer.example")`."""
    ours, _ = pairs[Prosody]
    with contextlib.ExitStack() as stack:
        yield lambda domain: stack.enter_context(
            Caller(ours, domain, ours.region.ca.server(domain))
        )


def is_away(stream, sender: str, show: str = "away"):
    return stream.wait(lambda e: is_presence(e, sender) and text_of(e, "show") == show, SOON)


# covers: fed-01
def test_presence_opens_a_stream_and_uses_it_again():
    for other in (Prosody, Ejabberd):
        with neighbourhood(Stentor, other) as (ours, theirs):
            dns = ours.region.dns
            alice, dora = friends(ours, theirs)
            assert ("_xmpp-server._tcp." + theirs.domain, "SRV") in dns.asked
            _is_seen_over_one_stream(alice, dora)
            [stream] = ours.events("s2s_out")
            assert stream["how"] == "external" and stream["tls"] == "TLS 1.3", stream
            assert stream["certificate"] == "valid"
    # Where certificates prove nothing the servers call back.
    with neighbourhood(Stentor, Prosody, certificate="self-signed") as (ours, theirs):
        alice, dora = friends(ours, theirs)
        _is_seen_over_one_stream(alice, dora)
        assert {stream["how"] for stream in ours.events("s2s_out")} == {"dialback"}
    # Two of our own: what the one opens carries both directions (XEP-0288).
    with neighbourhood(Stentor, (Stentor, "second.example")) as (ours, theirs):
        alice, dora = friends(ours, theirs)
        _is_seen_over_one_stream(alice, dora)
        opened = ours.events("s2s_out") + theirs.events("s2s_out")
        assert [stream["bidi"] for stream in opened] == [True]


def _is_seen_over_one_stream(alice: Person, dora: Person) -> None:
    opened = len(alice.server.events("s2s_out"))
    alice.leave()
    dora.sees([alice], "unavailable")
    for _ in range(2):
        alice.enter()
        dora.stream.wait(lambda e: is_presence(e, alice.full), SOON)
        alice.stream.write("<presence><status>again</status></presence>")
        seen = dora.stream.wait(
            lambda e: is_presence(e, alice.full) and text_of(e, "status") == "again", SOON
        )
        assert seen.get("to").partition("/")[0] == dora.jid
        alice.leave()
        dora.sees([alice], "unavailable")
    assert len(alice.server.events("s2s_out")) == opened


# covers: fed-01
def test_on_the_wire_presence_is_from_a_full_to_a_bare_address(pairs, peers):
    ours, _ = pairs[Prosody]
    alice, peer = Person(ours), peers("wire.example")
    jid = f"dora@{peer.domain}"
    grant(alice, peer, jid)
    alice.stream.write("<presence id='w'><show>away</show></presence>")
    seen = peer.wait(has_id("w"))
    assert (seen.tag, seen.get("from"), seen.get("to")) == (q(SERVER, "presence"), alice.full, jid)
    assert [e.tag for e in seen] == [q(SERVER, "show")]


# covers: fed-02
@EITHER
def test_away_is_seen_by_every_subscriber_and_client(pairs, peers, other):
    ours, theirs = pairs[other]
    alice, dora, emil = Person(ours), Person(theirs, "dora"), Person(theirs, "emil")
    for contact in (dora, emil):
        befriend(alice.stream, contact.stream)
    second = dora.another("second")
    for stream in (dora.stream, second, emil.stream):
        alice.stream.barrier(stream)
    alice.stream.write("<presence><show>away</show></presence>")
    for stream in (dora.stream, second, emil.stream):
        is_away(stream, alice.full)
        assert not [e for e in alice.stream.barrier(stream)[0] if is_presence(e, alice.full)]
    for person in (dora, emil):
        person.stream.write("<presence><show>away</show></presence>")
        is_away(alice.stream, person.full)
    # On the wire there is one stanza for each subscriber, in the order of no client in between.
    peer = peers(f"one-{other.name}.example")
    grant(alice, peer, f"fay@{peer.domain}")
    alice.stream.write("<presence id='one'><show>away</show></presence>")
    alice.stream.write(f"<message to='fay@{peer.domain}' id='behind'/>")
    came = [e for e in peer.until(has_id("behind")) if e.tag == q(SERVER, "presence")]
    assert [e.get("to") for e in came] == [f"fay@{peer.domain}"]
    # Clients that others wrote, on either side.
    for one, two in ((ours, theirs), (theirs, ours)):
        watched = Person(one, "watched")
        with Slixmpp(two, two.account("watcher"), "tls") as watcher:
            watcher.sign_in()
            watcher.subscribe(watched.jid)
            watched.stream.wait(lambda e, j=watcher.account.jid: is_presence(e, j, "subscribe"))
            watched.stream.write(f"<presence type='subscribed' to='{watcher.account.jid}'/>")
            watcher.wait_presence(watched.jid, "available")
            watched.stream.write("<presence><show>away</show></presence>")
            watcher.wait(
                lambda e, f=watched.full: e.get("from") == f and e.get("show") == "away",
                "that she is away",
            )


# covers: fed-04
def test_who_leaves_is_seen_leaving_by_all_who_could_see_her(pairs, peers):
    ours, prosody = pairs[Prosody]
    alice, dora = friends(ours, prosody)
    peer = peers("rooms.example")
    # A room, and somebody of whom ours has heard nothing but that he has gone.
    gone, room = f"gone@{peer.domain}", f"room@{peer.domain}/alice"
    grant(alice, peer, gone)
    peer.say("presence", f"{gone}/x", alice.jid, kind="unavailable")
    alice.stream.write(f"<presence to='{room}'/>")
    peer.wait(lambda e: e.get("to") == room)
    left = "<status>Gone to bed</status>"
    alice.stream.write(f"<presence type='unavailable'>{left}</presence>")
    seen = dora.stream.wait(lambda e: is_presence(e, alice.full, "unavailable"), SOON)
    assert text_of(seen, "status") == "Gone to bed"
    came = {}
    while len(came) < 2:
        element = peer.wait(lambda e: e.get("type") == "unavailable", SOON)
        came[element.get("to")] = element.findtext(q(SERVER, "status"))
    assert came == {gone: "Gone to bed", room: "Gone to bed"}
    peer.say("presence", gone, alice.jid, kind="probe")
    answer = peer.wait(lambda e: e.get("from", "").startswith(alice.jid), SOON)
    assert answer.get("type") == "unavailable"
    assert answer.find(q(DELAY, "delay")) is not None
    # A client of hers that comes later is told by her server's probe.
    late = dora.arriving("late")
    late.wait(lambda e: e.get("from", "").startswith(alice.jid) and e.get("type") == "unavailable")


class German(RawStream):
    """A client whose streams are in German."""

    def open(self, to=None, text=None):
        lang = header(to or self.server.domain, "version='1.0' xml:lang='de'")
        return super().open(to, text or lang)


# covers: fed-07
def test_texts_keep_their_languages_and_get_that_of_the_stream(pairs, peers):
    ours, prosody = pairs[Prosody]
    alice, dora = friends(ours, prosody)
    german = German(ours, "tls")
    german.secure(ours.domain)
    german.sign_in(alice.account)
    german.bind("german")
    peer = peers("lang.example")
    grant(alice, peer, f"fay@{peer.domain}")
    several = "<status>Back</status><status xml:lang='de'>Zurück</status>"
    for attribute, lang in (("", "de"), (" xml:lang='fr'", "fr")):
        german.write(f"<presence id='{lang}'{attribute}>{several}</presence>")
        seen = dora.stream.wait(lambda e, i=lang: e.get("id") == i, SOON)
        wire = peer.wait(has_id(lang))
        for stanza, ns in ((seen, CLIENT), (wire, SERVER)):
            assert stanza.get(q(XML, "lang")) == lang
            texts = [(e.get(q(XML, "lang")), e.text) for e in stanza.findall(q(ns, "status"))]
            assert texts == [(None, "Back"), ("de", "Zurück")]


# covers: fed-09
def test_presence_of_no_known_type_is_an_error_at_either_end(pairs, peers):
    ours, _ = pairs[Prosody]
    alice, peer = Person(ours), peers("odd.example")
    jid = f"dora@{peer.domain}"
    alice.stream.write(f"<presence type='online' to='{jid}' id='bad'/>")
    refused = alice.stream.wait(has_id("bad"))
    assert stanza_error(refused) == ("modify", "bad-request")
    chat(alice.stream, jid, "behind it")
    assert not [e for e in peer.until(lambda e: e.tag == q(SERVER, "message"))[:-1]]
    peer.say("presence", f"{jid}/x", alice.jid, kind="online", ident="theirs")
    refused = peer.wait(has_id("theirs"))
    assert (refused.tag, refused.get("type")) == (q(SERVER, "presence"), "error")
    assert (refused.get("from"), refused.get("to")) == (alice.jid, f"{jid}/x")
    assert stanza_error(_as_client(refused)) == ("modify", "bad-request")
    # The stream goes on, and nobody saw it.
    peer.say("message", f"{jid}/x", alice.full, ident="after")
    seen = alice.stream.until(has_id("after"))[:-1]
    assert not [e for e in seen if e.get("from", "").startswith(jid)]


def _as_client(stanza):
    """A stanza of a stream between servers as a client would see it."""
    return fromstring(tostring(stanza, "unicode").replace(SERVER, CLIENT))


# covers: fed-36
def test_a_priority_that_is_none_is_refused_here_and_passed_on_from_there(pairs, peers):
    ours, _ = pairs[Prosody]
    alice, peer = Person(ours), peers("priority.example")
    jid = f"dora@{peer.domain}"
    grant(alice, peer, jid)
    alice.stream.write("<presence id='bad'><priority>x</priority></presence>")
    assert stanza_error(alice.stream.wait(has_id("bad"))) == ("modify", "bad-request")
    chat(alice.stream, jid, "behind it")
    behind = peer.until(lambda e: e.tag == q(SERVER, "message"))[:-1]
    assert not [e for e in behind if e.find(q(SERVER, "priority")) is not None]
    peer.say("presence", f"{jid}/x", alice.full, "<priority>x</priority>", ident="p")
    seen = alice.stream.wait(has_id("p"))
    assert (seen.get("from"), text_of(seen, "priority")) == (f"{jid}/x", "x")
    peer.say("message", f"{jid}/x", alice.full, ident="after")
    alice.stream.wait(has_id("after"))


@EITHER
def test_a_state_that_is_none_is_passed_on_and_harms_no_stream(pairs, peers, other):
    ours, theirs = pairs[other]
    alice, dora = friends(ours, theirs)
    peer = peers(f"busy-{other.name}.example")
    jid = f"fay@{peer.domain}"
    grant(alice, peer, jid)
    peer.say("presence", f"{jid}/x", alice.full, "<show>busy</show>", ident="busy")
    assert text_of(alice.stream.wait(has_id("busy")), "show") == "busy"
    alice.stream.write("<presence><show>busy</show></presence>")
    before = alice.stream.barrier(dora.stream)[0]
    shown = [text_of(e, "show") for e in before if is_presence(e, alice.full)]
    # Prosody 0.12 passes it on, ejabberd 23.01 refuses it.
    assert shown == {Prosody: ["busy"], Ejabberd: []}[other]
    opened = len(ours.events("s2s_out_ended", "s2s_in_ended"))
    for one, two in ((alice, dora), (dora, alice)):
        chat(one.stream, two.jid, "still here")
        two.hears([(one.full, "still here")])
    peer.ping()
    assert len(ours.events("s2s_out_ended", "s2s_in_ended")) == opened


# covers: fed-37
def test_messages_wait_for_a_client_that_wants_none(pairs):
    ours, ejabberd = pairs[Ejabberd]
    alice, dora = friends(ours, ejabberd)
    alice.stream.available(-1)
    dora.stream.wait(lambda e: is_presence(e, alice.full) and text_of(e, "priority") == "-1")
    chat(dora.stream, alice.jid, "kept")
    dora.asks(alice.account.domain)
    assert not [e for e in alice.stream.ping() if is_chat("kept")(e)]
    alice.stream.write("<presence><priority>0</priority></presence>")
    kept = alice.stream.wait(is_chat("kept"))
    assert child(kept, DELAY, "delay") is not None
    seen = alice.stream.barrier(dora.stream)[0]
    assert not [e for e in seen if e.get("type") in ("unavailable", "error")]


# covers: fed-13
def test_who_is_denied_sees_nothing_and_nobody_denies_for_others(pairs, peers):
    ours, ejabberd = pairs[Ejabberd]
    alice, dora = Person(ours), Person(ejabberd)
    for person in (alice, dora):
        person.stream.roster()
    alice.stream.write(f"<presence type='subscribe' to='{dora.jid}'/>")
    alice.stream.wait(is_push(dora.jid, "none", ask="subscribe"))
    dora.stream.wait(lambda e: is_presence(e, alice.jid, "subscribe"))
    dora.stream.write(f"<presence type='unsubscribed' to='{alice.jid}'/>")
    alice.stream.wait(is_push(dora.jid, "none", ask=None))
    assert dora.stream.roster().get(alice.jid) is None
    dora.stream.write("<presence><status>not for her</status></presence>")
    assert not [e for e in dora.stream.barrier(alice.stream)[0] if e.tag == PRESENCE]
    # Of a server that was never asked, and of one that is another.
    before = _items(alice)
    peer = peers("deny.example")
    peer.say("presence", f"nobody@{peer.domain}", alice.jid, kind="unsubscribed")
    peer.say("message", f"nobody@{peer.domain}", alice.full, ident="after")
    seen = alice.stream.until(has_id("after"))[:-1]
    assert not [e for e in seen if e.tag == q(CLIENT, "iq")], "no push"
    assert _items(alice) == before
    alice.stream.write(f"<presence type='subscribe' to='{dora.jid}'/>")
    alice.stream.wait(is_push(dora.jid, "none", ask="subscribe"))
    peer.say("presence", dora.jid, alice.jid, kind="unsubscribed")
    peer.expect_stream_error("invalid-from")
    assert _items(alice)[dora.jid] == ("none", "subscribe")


def _items(person: Person) -> dict:
    roster = person.stream.roster()
    return {jid: (e.get("subscription"), e.get("ask")) for jid, e in roster.items()}


# covers: fed-14
def test_contacts_are_given_up_also_while_their_server_is_down():
    with neighbourhood(Stentor, Prosody, hold_secs=0) as (ours, prosody):
        alice, dora = friends(ours, prosody)
        for person in (alice, dora):
            person.stream.roster()
        for one, two in ((alice, dora), (dora, alice)):
            one.stream.write(f"<presence type='unsubscribe' to='{two.jid}'/>")
            one.stream.wait(is_push(two.jid, "from"))
            two.stream.wait(lambda e, j=one.jid: is_presence(e, j, "unsubscribe"))
            two.stream.wait(is_push(one.jid, "to"))
            # Prosody 0.12 leaves this out.
            if two is alice:
                one.stream.wait(lambda e: is_presence(e, alice.full, "unavailable"))
            subscribe(one.stream, two.stream)
        remove = f"<query xmlns='jabber:iq:roster'><item jid='{dora.jid}' subscription='remove'/></query>"
        assert alice.stream.request(remove, "set").get("type") == "result"
        kinds = {"unsubscribe", "unsubscribed"}
        while kinds:
            seen = dora.stream.wait(lambda e: e.get("from") == alice.jid and e.get("type") in kinds)
            kinds.discard(seen.get("type"))
        assert dora.stream.roster()[alice.jid].get("subscription") == "none"
        assert dora.jid not in alice.stream.roster()
        befriend(alice.stream, dora.stream)
        # Now while nobody is there.
        prosody.stop()
        assert alice.stream.request(remove, "set").get("type") == "result"
        assert dora.jid not in alice.stream.roster()
        prosody.start()
        # Her server asks for presence, and learns that there is none to be had.
        dora.enter()
        dora.stream.roster()
        dora.stream.wait(is_push(alice.jid))

        def is_parted() -> bool:
            item = dora.stream.roster().get(alice.jid)
            return item is None or item.get("subscription") in ("none", "from")

        until(is_parted, "the two rosters agree")


# covers: fed-15
@EITHER
def test_probes_ask_and_are_answered(pairs, peers, other):
    ours, theirs = pairs[other]
    alice, dora = friends(ours, theirs)
    peer = peers(f"probes-{other.name}.example")
    jid = f"fay@{peer.domain}"
    grant(alice, peer, jid)
    alice.stream.write(f"<presence type='subscribe' to='{jid}'/>")
    peer.wait(lambda e: e.get("type") == "subscribe")
    peer.say("presence", jid, alice.jid, kind="subscribed")
    alice.leave()
    peer.wait(lambda e: e.get("type") == "unavailable")
    # In one login there is one probe for each contact that lets her see it.
    alice.enter()
    peer.say("message", jid, alice.full, ident="after")
    alice.stream.wait(has_id("after"))
    alice.stream.write(f"<message to='{jid}' id='behind'/>")
    came = peer.until(has_id("behind"))
    probes = [(e.get("from"), e.get("to")) for e in came if e.get("type") == "probe"]
    assert probes == [(alice.jid, jid)]
    # What theirs knows of Dora comes by their answer.
    dora.stream.write("<presence id='mine'><show>xa</show><x xmlns='urn:example:x'/></presence>")
    alice.sees([dora])
    second = alice.arriving("second")
    second.wait(lambda e: is_presence(e, dora.full) and text_of(e, "show") == "xa")
    # And what ours knows of her by ours.
    alice.stream.write("<presence id='kept'><show>dnd</show><x xmlns='urn:example:x'/></presence>")
    dora.stream.wait(lambda e: is_presence(e, alice.full) and text_of(e, "show") == "dnd")
    late = dora.arriving("late")
    seen = late.wait(lambda e: is_presence(e, alice.full))
    assert text_of(seen, "show") == "dnd" and seen.find("{urn:example:x}x") is not None
    peer.say("presence", jid, alice.jid, kind="probe")
    answer = peer.wait(lambda e: e.get("from") == alice.full and e.get("id") == "kept")
    assert [e.tag for e in answer if e.tag != q(DELAY, "delay")] == [
        q(SERVER, "show"),
        "{urn:example:x}x",
    ]
    second.close()
    alice.leave()
    dora.sees([alice], "unavailable")
    later = dora.arriving("later")
    gone = later.wait(lambda e: e.get("from", "").startswith(alice.jid))
    assert gone.get("type") == "unavailable" and child(gone, DELAY, "delay") is not None
    # Who may not see her is told that, and nothing else.
    stranger = f"eve@{peer.domain}"
    peer.say("presence", stranger, alice.jid, kind="probe")
    answer = peer.wait(lambda e: e.get("to", "").startswith(stranger))
    assert (answer.get("from"), answer.get("type")) == (alice.jid, "unsubscribed")


# covers: fed-19
def test_a_client_that_dies_is_seen_gone_once_and_one_that_resumes_not_at_all():
    with neighbourhood(Stentor, Ejabberd) as (ours, ejabberd):
        alice, dora = friends(ours, ejabberd)
        second = alice.another("second")
        dora.stream.wait(lambda e: is_presence(e, second.jid))
        second.cut()
        dora.stream.wait(lambda e: is_presence(e, second.jid, "unavailable"))
        assert not [e for e in alice.stream.barrier(dora.stream)[0] if e.tag == PRESENCE]
        # One that comes back in time.
        third = login(ours, alice.account, "third", is_available=False)
        counted = Counted(third)
        third.write("<presence/>")
        dora.stream.wait(lambda e: is_presence(e, third.jid))
        third.cut()
        again = RawStream(ours, "tls")
        again.secure(ours.domain)
        again.sign_in(alice.account)
        counted.resume(again)
        assert not [e for e in alice.stream.barrier(dora.stream)[0] if e.tag == PRESENCE]
        # One that does not.
        fourth = login(ours, alice.account, "fourth", is_available=False)
        fourth.write(f"<enable xmlns='{SM}' resume='true' max='1'/>")
        assert fourth.wait(lambda e: e.tag == q(SM, "enabled")).get("resume") == "true"
        fourth.write("<presence/>")
        dora.stream.wait(lambda e: is_presence(e, fourth.jid))
        fourth.cut()
        assert not [e for e in alice.stream.barrier(dora.stream)[0] if e.tag == PRESENCE]
        dora.stream.wait(lambda e: is_presence(e, fourth.jid, "unavailable"))
        assert not [e for e in alice.stream.barrier(dora.stream)[0] if e.tag == PRESENCE]


# covers: fed-22
@EITHER
def test_unknown_elements_cross_unchanged_and_known_ones_change_their_namespace(
    pairs, peers, other
):
    ours, theirs = pairs[other]
    alice, dora = friends(ours, theirs)
    written = (
        "<x xmlns='urn:example:badge'><y/></x><show>away</show><status>s</status>"
        "<priority>5</priority>"
    )
    for one, two in ((alice, dora), (dora, alice)):
        one.stream.write(f"<presence id='badge'>{written}</presence>")
        seen = two.stream.wait(lambda e, f=one.full: is_presence(e, f) and len(e) > 3)
        badge = seen.find("{urn:example:badge}x")
        assert _canonical(badge) == '<ns0:x xmlns:ns0="urn:example:badge"><ns0:y></ns0:y></ns0:x>'
        assert [text_of(seen, name) for name in ("show", "status", "priority")] == ["away", "s", "5"]
    peer = peers(f"badge-{other.name}.example")
    jid = f"fay@{peer.domain}"
    grant(alice, peer, jid)
    alice.stream.write(f"<presence id='wire'>{written}</presence>")
    wire = peer.wait(has_id("wire"))
    names = ("show", "status", "priority")
    expected = ["{urn:example:badge}x", *(q(SERVER, name) for name in names)]
    assert [e.tag for e in wire] == expected
    assert [e.tag for e in wire[0]] == ["{urn:example:badge}y"]
    # One that was left in the namespace of clients harms nobody.
    wrong = f"<show xmlns='{CLIENT}'>away</show>"
    peer.say("presence", f"{jid}/x", alice.full, wrong, ident="wrong")
    alice.stream.wait(has_id("wrong"))
    peer.say("message", f"{jid}/x", alice.full, ident="after")
    alice.stream.wait(has_id("after"))


def _canonical(element) -> str:
    element = copy.deepcopy(element)
    element.tail = None
    return canonicalize(tostring(element, "unicode"))
