"""Streams between servers that are reset again and again in the middle of traffic."""

import contextlib
import random
import threading
import time
from datetime import datetime
from itertools import pairwise

import pytest
from harness.line import Line
from harness.names import MESSAGE, is_presence
from harness.neighbours import Prosody, Stentor, neighbourhood
from harness.people import Person, friends, status_of
from harness.scenes import chat
from harness.waiting import until

# How often connections are reset, and how often a server may be called within a minute.
RESETS, ATTEMPTS = 50, 30
# What a wait may take that contains one for the next attempt, and how late a busy machine may be.
LONG_SECS, SOON_SECS = 180, 3


class Traffic:
    """What two people say to each other without a pause, and what of it comes."""

    def __init__(self, alice: Person, dora: Person):
        self.ways = ((alice, dora), (dora, alice))
        # By who says it: the ids, the status, and what comes of them, with when.
        self.said: dict[Person, list[str]] = {alice: [], dora: []}
        self.came: dict[Person, list[tuple[str, float]]] = {alice: [], dora: []}
        self.shown: dict[Person, str] = {}
        # What came back with an error.
        self.returned: dict[Person, list[str]] = {alice: [], dora: []}

    def say(self) -> None:
        for one, two in self.ways:
            number = len(self.said[one])
            self.said[one].append(chat(one.stream, two.full, str(number)))
            one.stream.write(f"<presence><status>{number}</status></presence>")

    def take(self) -> None:
        for one, two in self.ways:
            _read_all(two)
            for element in two.stream.elements:
                if element.get("type") == "error":
                    self.returned[two].append(element.get("id"))
                elif element.tag == MESSAGE:
                    self.came[one].append((element.get("id"), time.monotonic()))
                elif is_presence(element, one.full):
                    self.shown[one] = status_of(element)
            two.stream.elements.clear()

    def has_arrived(self) -> bool:
        """Whether the last of it has, of both."""
        self.take()
        if any(said[-1] in self.returned[one] for one, said in self.said.items()):
            self.say()
        last = {one: str(len(said) - 1) for one, said in self.said.items()}
        is_heard = all(self.came[one][-1][0] == said[-1] for one, said in self.said.items())
        return is_heard and self.shown == last

    def ids(self, one: Person) -> list[str]:
        return [ident for ident, _ in self.came[one]]


# covers: fed-42
@pytest.mark.parametrize("other", [Prosody, Stentor], ids=["prosody", "stentor"])
def test_fifty_resets_in_the_middle_of_traffic(other):
    chance = random.Random(42)
    with contextlib.ExitStack() as stack:
        kinds = (Stentor, (other, "torn.example"))
        servers = stack.enter_context(neighbourhood(*kinds, attempts_per_minute=ATTEMPTS))
        lines = {server: stack.enter_context(Line(server.s2s_tls_port)) for server in servers}
        for server, line in lines.items():
            server.region.dns.move(server.domain, None, line.port)
        ours, theirs = servers
        alice, dora = friends(ours, theirs)
        traffic = Traffic(alice, dora)
        resets: list[float] = []
        tearing = threading.Thread(target=_tear, args=(lines.values(), resets), daemon=True)
        tearing.start()
        while tearing.is_alive():
            traffic.say()
            time.sleep(chance.uniform(0, 0.04))
            traffic.take()
        traffic.say()
        until(traffic.has_arrived, "the last of it arrives", LONG_SECS)
        assert len(resets) == RESETS
        assert not traffic.returned[alice]
        for server in (theirs, ours) if other is Stentor else (theirs,):
            # A call of which DNS says late where it goes is late, and the one a minute behind it is not.
            assert lines[server].called_within(60 - SOON_SECS) <= ATTEMPTS
        if other is Stentor:
            # Both count, and go on for what broke: all arrives, in order and once.
            assert not traffic.returned[dora]
            for person in (alice, dora):
                assert traffic.ids(person) == traffic.said[person]
        else:
            # Prosody counts, and does not go on for what broke: all arrives and in order, and what it
            # has given no word of comes once more.
            assert not set(traffic.said[alice]) - set(traffic.ids(alice)), "lost"
            assert list(dict.fromkeys(traffic.ids(alice))) == traffic.said[alice]
            _check_repetitions(traffic.came[alice], resets)
            # What it loses, returns or sends again of its own, in which order, is its own.
            assert set(traffic.ids(dora)) <= set(traffic.said[dora])
        _check_probes(traffic, lines.values(), (alice, dora) if other is Stentor else (alice,))
        _check_delays(ours, alice)


def _read_all(person: Person) -> None:
    known = -1
    while known < len(person.stream.elements):
        known = len(person.stream.elements)
        person.stream.peek()


def _tear(lines, resets: list[float]) -> None:
    chance = random.Random(7)
    while len(resets) < RESETS:
        time.sleep(chance.uniform(0.01, 0.6))
        if sum(line.reset() for line in lines):
            resets.append(time.monotonic())


def _check_repetitions(came: list[tuple[str, float]], resets: list[float]) -> None:
    """Nothing comes again that came long before the reset of its stream."""
    seen: dict[str, float] = {}
    for ident, at in came:
        if before := seen.get(ident):
            until_secs = min(at, before + SOON_SECS)
            is_reset = any(before - SOON_SECS < reset < until_secs for reset in resets)
            assert is_reset, f"{ident} came {before} and {at}, with resets at {resets}"
        seen[ident] = at


def _check_probes(traffic: Traffic, lines, people) -> None:
    """Behind a reset everybody is asked how they are: nobody says anything meanwhile."""
    until(lambda: sum(line.reset() for line in lines), "a stream stands", LONG_SECS)
    of = {two: one for one, two in traffic.ways}
    for person in people:
        friend = of[person]
        seen = person.stream.wait(lambda e, f=friend: is_presence(e, f.full), LONG_SECS)
        assert status_of(seen) == traffic.shown[friend]


def _check_delays(ours: Stentor, alice: Person) -> None:
    """Who refuses is called more and more rarely."""
    down = "down.example"
    ours.region.dns.server_of(down, 1, None)
    chat(alice.stream, f"x@{down}", "kept")
    failures = lambda: [e for e in ours.events("s2s_failed") if e["remote"] == down]  # noqa: E731
    until(lambda: len(failures()) == 4, "four attempts", LONG_SECS)
    at = [datetime.fromisoformat(e["timestamp"]).timestamp() for e in failures()]
    waits = [later - earlier for earlier, later in pairwise(at)]
    # As docs/federation.md has it: twice as long each time, and up to a quarter more at random.
    for wait, least in zip(waits, (5, 10, 20), strict=True):
        assert least <= wait < least * 1.25 + SOON_SECS, waits
    assert len({round(wait / least, 4) for wait, least in zip(waits, (5, 10, 20))}) > 1
