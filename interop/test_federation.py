"""Our server among others: who is spoken to, and conversations that cross domains."""

import tempfile
from pathlib import Path

import federation_matrix
import pytest
from federation_matrix import Cell, Matrix
from harness.names import DELAY, child
from harness.neighbours import Ejabberd, Prosody, Stentor, neighbourhood
from harness.people import Person, friends
from harness.scenes import chat
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
