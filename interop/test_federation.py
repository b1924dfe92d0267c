"""Our server among others: who is spoken to, and conversations that cross domains."""

import tempfile
from pathlib import Path

import federation_matrix
import pytest
from federation_matrix import Cell, Matrix
from harness.names import DELAY, child, is_presence, stanza_error
from harness.jabberd2 import Jabberd2
from harness.neighbours import Ejabberd, Prosody, Stentor, neighbourhood
from harness.peer import Caller
from harness.people import Person, friends, status_of
from harness.raw import login
from harness.scenes import befriend, chat, has_id, is_chat
from harness.stentor import ROOT
from harness.waiting import Silence, until

# Letters of several scripts, combined ones, right to left, and beyond the basic plane.
UNICODE = "Grüß dich, Привет 漢字 مرحبا e\u0301 \U0001f468\u200d\U0001f469\u200d\U0001f467"
REFUSALS = {
    "self-signed": "UnknownIssuer",
    "expired": "certificate expired",
    "wrong-name": "it does not name",
}


@pytest.fixture(scope="module")
def outcomes():
    with tempfile.TemporaryDirectory(prefix="interop-federation-") as folder:
        matrix = Matrix(Path(folder))
        try:
            matrix.start()
            yield matrix.run()
        finally:
            matrix.dispose()


@pytest.mark.parametrize("peer", federation_matrix.PEERS)
def test_certificates_decide_as_the_policy_says(outcomes, peer):
    """Both kinds of TLS, four kinds of certificates, both directions, three policies."""
    for cell, outcome in outcomes.items():
        if cell.peer == peer:
            assert _is_expected(cell, outcome), f"{cell}: {outcome}"


def test_the_table_of_the_documentation_is_what_happens(outcomes):
    written = (ROOT / "docs/federation.md").read_text()
    for line in federation_matrix.table(outcomes).splitlines():
        assert line in written, f"not in docs/federation.md: {line}"


def _is_expected(cell: Cell, outcome) -> bool:
    if cell.policy == "certificates" and cell.certificate != "valid":
        return not outcome.is_connected and REFUSALS[cell.certificate] in outcome.reason
    by_certificate = cell.policy != "unproven"
    if cell.direction == "they":
        by_certificate = cell.certificate == "valid"
    how = "external" if by_certificate else "dialback"
    proven = "valid" if cell.certificate == "valid" else "unproven"
    expected = [how, f"{proven} certificate"]
    # ejabberd 23.01 has no XEP-0288.
    if cell.direction == "we" and cell.peer != "ejabberd":
        expected.append("both ways")
    return outcome.is_connected and outcome.reason == ", ".join(expected)


class StentorSix(Stentor):
    """Ours, which other servers find by IPv6 only."""

    s2s_address, s2s_host = "::1", "six.example"


class ProsodySix(Prosody):
    """Prosody, which other servers find by IPv6 only."""

    s2s_address, s2s_host = "::1", "six.example"


@pytest.mark.parametrize("other", [(StentorSix, "second.example"), ProsodySix])
def test_servers_that_only_have_ipv6_talk(other):
    with neighbourhood(StentorSix, other) as (ours, theirs):
        ours.region.dns.add("six.example", "AAAA", "::1")
        alice, dora = friends(ours, theirs)
        for one, two in ((alice, dora), (dora, alice)):
            chat(one.stream, two.jid, "by IPv6")
            two.hears([(one.full, "by IPv6")])
        peers = {stream["peer"] for stream in ours.events("s2s_out", "s2s_in")}
        assert peers and all(peer.startswith("[::1]:") for peer in peers), peers


# covers: fed-23
@pytest.mark.parametrize("other", [Prosody, Stentor])
def test_domains_need_not_be_ascii(other):
    """U-labels in addresses; A-labels in DNS, in TLS and in certificates, on both sides."""
    with neighbourhood((Stentor, "müller.example"), (other, "bücher.example")) as (ours, theirs):
        # Prosody 0.12 knows no such name where TLS comes first.
        alice, dora = Person(ours), Person(theirs, mode="starttls")
        befriend(alice.stream, dora.stream)
        assert alice.jid.endswith("@müller.example") and dora.jid.endswith("@bücher.example")
        for one, two in ((alice, dora), (dora, alice)):
            # Capitals and full-width letters are the same address.
            shown = two.jid.replace("example", "ＥXAMPLE").replace("user", "USＥR")
            chat(one.stream, shown, UNICODE)
            two.hears([(one.full, UNICODE)])
            one.stream.write(f"<presence><status>{UNICODE}</status></presence>")
            two.stream.wait(lambda e, f=one.full: is_presence(e, f) and status_of(e) == UNICODE)
        streams = ours.events("s2s_out", "s2s_in")
        assert streams and all(
            (stream["how"], stream["certificate"]) == ("external", "valid") for stream in streams
        ), streams
        assert ("_xmpp-server._tcp.xn--bcher-kva.example", "SRV") in ours.region.dns.asked
        ident = chat(alice.stream, "a@b@bücher.example", "to no address")
        assert stanza_error(alice.stream.wait(has_id(ident))) == ("modify", "jid-malformed")
        if other is Prosody:
            # It takes for an address what RFC 7622 forbids. That costs it the stream, no more.
            chat(dora.stream, "♚@müller.example", "to no address")
            until(lambda: _is_ended(ours, "bücher.example"), "the stream is ended")
            # Prosody says the same again on its next stream, and what waits behind it may be lost.
            until(lambda: _arrives(dora, alice, "after it"), "the next stream stands")
        certificate = ours.region.ca.server("verona.example")
        for sender, to in (
            ("friar@verona.example", "♚@müller.example"),
            ("friar@verona.example", ""),
            ("fri ar@verona.example", alice.jid),
        ):
            with Caller(ours, "verona.example", certificate) as peer:
                peer.say("message", sender, to, "<body>to no address</body>")
                peer.expect_stream_error("improper-addressing")


def _arrives(sender: Person, receiver: Person, text: str) -> bool:
    chat(sender.stream, receiver.jid, text)
    try:
        return receiver.stream.wait(is_chat(text), 1) is not None
    except Silence:
        return False


def _is_ended(server: Stentor, remote: str) -> bool:
    ended = server.events("s2s_in_ended", "s2s_out_ended")
    ended = [entry for entry in ended if entry.get("remote") == remote]
    return any("Stanzas between servers" in entry["reason"] for entry in ended)


def test_a_server_of_long_ago_is_understood():
    """jabberd2 calls back and has a stream for each direction."""
    with neighbourhood(Stentor, Jabberd2) as (ours, theirs):
        alice = login(ours, ours.account("alice"), "here")
        plain = {"mode": "starttls", "mechanism": "PLAIN", "is_available": False}
        dora = login(theirs, theirs.account("dora"), "here", **plain)
        dora.write("<presence/>")
        for one, two in ((alice, dora), (dora, alice)):
            texts = [f"{n}: {UNICODE}" for n in range(20)]
            for text in texts:
                chat(one, two.jid, text)
            assert [two.wait(is_chat(text)).get("from") for text in texts] == [one.jid] * 20
        (into,), (out,) = ours.events("s2s_in"), ours.events("s2s_out")
        assert (into["how"], out["how"], out["bidi"]) == ("dialback", "dialback", False)
        assert into["tls"] != "none" and out["tls"] != "none"


@pytest.fixture
def people():
    """A user of a server of ours, of Prosody and of ejabberd, subscribed to each other."""
    with neighbourhood(Stentor, Prosody, Ejabberd) as servers:
        yield friends(*servers)


def test_users_of_three_servers_talk_while_each_is_restarted(people):
    _talk(people, "first")
    for person in people:
        others = [other for other in people if other is not person]
        _offline_and_back(person, others)
        person.server.restart()
        person.stream.cut()
        person.enter()
        person.sees(others)
        for other in others:
            other.sees([person])
        _talk(people, f"after {person.server.name}")


def _talk(people: list[Person], word: str) -> None:
    """Everybody says to everybody that they are away, and something else."""
    for person in people:
        person.stream.write(f"<presence><show>away</show><status>{word}</status></presence>")
    for person in people:
        others = [other for other in people if other is not person]
        person.sees(others, status=word)
    for person in people:
        for other in people:
            if other is not person:
                chat(person.stream, other.jid, f"{word}, {other.server.name}")
    for person in people:
        text = f"{word}, {person.server.name}"
        person.hears([(other.full, text) for other in people if other is not person])


def _offline_and_back(person: Person, others: list[Person]) -> None:
    """What is sent to somebody who is not there is kept by their server, and dated by it."""
    person.leave()
    for other in others:
        other.sees([person], "unavailable")
        chat(other.stream, person.jid, "kept")
        other.asks(person.account.domain)
    person.enter()
    for message in person.hears([(other.full, "kept") for other in others]):
        delay = child(message, DELAY, "delay")
        assert delay.get("from") in (None, person.account.domain, person.jid)
    for other in others:
        other.sees([person])
