"""What becomes of presence and messages when the way to another server is slow."""

import contextlib

import pytest
from harness.line import Line
from harness.names import MESSAGE, body, stanza_error
from harness.neighbours import Ejabberd, Prosody, Stentor, neighbourhood
from harness.people import Person, friends, text_of
from harness.scenes import befriend, chat, is_chat

EITHER = pytest.mark.parametrize("other", [Prosody, Ejabberd])
# The delay of the row, and what a wait for something that crosses such a way may take.
DELAY_SECS, LONG_SECS = 5, 120
OPENED, ENDED = ("s2s_out", "s2s_in"), ("s2s_out_ended", "s2s_in_ended")


@contextlib.contextmanager
def lines(*servers, delay_secs: float = 0.0):
    """Ways to these servers through which all the others go."""
    with contextlib.ExitStack() as stack:
        made = []
        for server in servers:
            line = stack.enter_context(Line(server.s2s_tls_port, delay_secs))
            server.region.dns.move(server.domain, None, line.port)
            made.append(line)
        yield made


@EITHER
def test_over_a_slow_way_everything_arrives_in_order_and_nobody_else_waits(other):
    with neighbourhood(Stentor, other) as (ours, theirs), lines(ours, theirs) as ways:
        alice, dora = friends(ours, theirs)
        bob = Person(ours, "bob")
        befriend(alice.stream, bob.stream)
        opened, ended = (ours.events(*names) for names in (OPENED, ENDED))
        for way in ways:
            way.delay_secs = DELAY_SECS
        said = [f"{kind} {n}" for n in range(20) for kind in ("state", "message")]
        for one, another in ((alice, dora), (dora, alice)):
            for text in said:
                _say(one, another, text)
        # Hers and Bob's are dealt with while all of that is under way.
        chat(alice.stream, bob.jid, "here at once")
        came = bob.stream.until(is_chat("here at once"))
        assert [text for e in came if (text := _said(e, alice))] == [*said[::2], "here at once"]
        assert not [e for e in alice.stream.ping() if _said(e, dora)]
        dora.stream.peek()
        assert not [e for e in dora.stream.elements if _said(e, alice)]
        for one, another in ((alice, dora), (dora, alice)):
            came = another.stream.until(is_chat(said[-1]), LONG_SECS)
            assert [text for e in came if (text := _said(e, one))] == said
            assert not [e for e in came if e.get("type") == "error"]
        assert ours.events(*OPENED) == opened
        assert not ours.events("s2s_failed", "s2s_tried")
        # One that became needless while they became friends may be closed.
        assert {e["reason"] for e in ours.events(*ENDED)[len(ended) :]} <= {"closed"}


@EITHER
def test_what_does_not_fit_behind_a_slow_way_comes_back(other):
    with neighbourhood(Stentor, other) as (ours, theirs), lines(ours, theirs) as ways:
        alice, dora = friends(ours, theirs)
        chat(alice.stream, dora.full, "the stream stands")
        dora.stream.wait(is_chat("the stream stands"))
        bob = Person(ours, "bob")
        for way in ways:
            way.delay_secs = DELAY_SECS
        sent = []
        while not any(e.tag == MESSAGE for e in alice.stream.elements):
            assert len(sent) < 100, "what waits is bounded"
            sent.append(chat(alice.stream, dora.full, "x" * 200_000))
            alice.stream.peek()
            bob.stream.ping()
        came = [e for e in alice.stream.ping() if e.tag == MESSAGE]
        assert {stanza_error(e) for e in came} <= {
            ("wait", "resource-constraint"),
            ("wait", "remote-server-timeout"),
        }
        returned = [e.get("id") for e in came]
        # What waits need not be waited for.
        for way in ways:
            way.delay_secs = 0
        chat(alice.stream, dora.full, "the last")
        heard = dora.stream.until(is_chat("the last"), LONG_SECS)
        heard = [e.get("id") for e in heard if e.tag == MESSAGE][:-1]
        assert heard == [ident for ident in sent if ident not in returned]
        assert returned and heard and set(returned) <= set(sent)
        assert not [e for e in alice.stream.ping() if e.tag == MESSAGE]


def _say(one: Person, another: Person, text: str) -> str | None:
    """A state, or a message; the id of the message."""
    if text.startswith("state"):
        return one.stream.write(f"<presence><status>{text}</status></presence>")
    return chat(one.stream, another.full, text)


def _said(element, who: Person) -> str | None:
    """What somebody's message or presence says."""
    if element.get("from") != who.full or element.get("type") not in (None, "chat"):
        return None
    return body(element) if element.tag == MESSAGE else text_of(element, "status")
