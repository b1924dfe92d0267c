"""Our server among others: who is spoken to, and conversations that cross domains."""

import tempfile
from pathlib import Path

import federation_matrix
import pytest
from federation_matrix import Cell, Matrix
from harness.names import DELAY, MESSAGE, PRESENCE, bodies, child
from harness.neighbours import Domain, Ejabberd, Prosody, Region, Stentor
from harness.raw import login
from harness.scenes import befriend, chat
from harness.stentor import ROOT

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


@pytest.fixture
def region():
    """One server of each kind, each with a domain named after it."""
    with tempfile.TemporaryDirectory(prefix="interop-federation-") as folder:
        shared = Region(Path(folder))
        servers = [
            kind(shared, Domain(f"{kind.name}.example")) for kind in (Stentor, Prosody, Ejabberd)
        ]
        try:
            yield [server.start() for server in servers]
        finally:
            for server in servers:
                server.dispose()
            shared.dns.close()


class Person:
    """A user of one of the servers."""

    def __init__(self, server, name: str):
        self.server, self.account = server, server.account(name)
        self.enter()

    def enter(self) -> None:
        # Some send what they kept before the presence that asks for it.
        self.stream = login(self.server, self.account, "here", is_available=False)
        self.stream.write("<presence/>")

    def leave(self) -> None:
        self.stream.close()

    @property
    def jid(self) -> str:
        return self.account.jid

    @property
    def full(self) -> str:
        return f"{self.jid}/here"

    def gather(self, count: int, match) -> list:
        """The next elements that match."""
        return [self.stream.wait(match) for _ in range(count)]

    def sees(self, others, kind: str | None = None, status: str = "") -> None:
        """Presence of all the others has come, in whatever order."""
        left = {other.full for other in others}

        def is_last(element) -> bool:
            is_it = element.tag == PRESENCE and element.get("type") == kind
            if is_it and status in _status(element):
                left.discard(element.get("from"))
            return not left

        if left:
            self.stream.wait(is_last)

    def hears(self, expected: list[tuple[str, str]]) -> list:
        """These senders' messages, and no others."""
        heard = self.gather(len(expected), lambda e: e.tag == MESSAGE and bodies([e]))
        assert sorted((e.get("from"), bodies([e])[0]) for e in heard) == sorted(expected)
        return heard


def test_users_of_three_servers_talk_while_each_is_restarted(region):
    people = [Person(server, "user") for server in region]
    for at, one in enumerate(people):
        for other in people[at + 1 :]:
            befriend(one.stream, other.stream)
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
        # The answer to a request behind it says that the message has been dealt with.
        query = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
        other.stream.request(query, to=person.account.domain)
    person.enter()
    for message in person.hears([(other.full, "kept") for other in others]):
        delay = child(message, DELAY, "delay")
        assert delay.get("from") in (None, person.account.domain, person.jid)
    for other in others:
        other.sees([person])


def _status(element) -> str:
    return next((e.text or "" for e in element if e.tag.endswith("}status")), "")
