"""Clients that say nothing any more (RFC 6120 §4.6): found out, and what becomes of their sessions."""

import time

import pytest

from harness.counted import SM, Counted
from harness.names import CLIENT, MESSAGE, PING, body, child, is_presence, q
from harness.raw import login
from harness.scenes import befriend, chat, is_chat

IDLE_SECS, ANSWER_SECS, RESUME_SECS = 2, 2, 4


def is_question(element):
    is_ping = element.tag == q(CLIENT, "iq") and child(element, PING, "ping") is not None
    return is_ping or element.tag == q(SM, "r")


def stay_alive(*streams, until, secs=20):
    """Answers what the server asks of them, and leaves all else unread; the seconds it took."""
    begun = time.monotonic()
    while not until():
        assert time.monotonic() < begun + secs, "in vain"
        for stream in streams:
            stream.peek()
            for question in [e for e in stream.elements if is_question(e)]:
                stream.elements.remove(question)
                stream.write(f"<iq type='result' id='{question.get('id')}' to='localhost'/>")
        time.sleep(0.05)
    return time.monotonic() - begun


# covers: xml-47, presence-18
@pytest.mark.parametrize("is_resumable", [False, True])
@pytest.mark.prosody_differs("asks nobody whether he is there")
def test_xml_47_presence_18_a_client_that_answers_no_more(server_with, enter, is_resumable):
    server = server_with(
        idle_secs=IDLE_SECS, answer_wait_secs=ANSWER_SECS, resume_secs=RESUME_SECS
    )
    alice, phone = enter("alice", at=server), enter("bob", "phone", at=server)
    befriend(alice, phone)
    tablet = enter(phone.account, "tablet", -1, at=server)
    if is_resumable:
        # What came before is not counted.
        phone.ping()
        Counted(phone)
        chat(alice, phone.account.jid, "in between")
    alice.ping()
    # The phone hears everything, and nothing of it is heard any more.
    gone = lambda: any(is_presence(e, phone.jid, "unavailable") for e in alice.elements)  # noqa: E731
    took_secs = stay_alive(alice, tablet, until=gone)
    least_secs = IDLE_SECS + ANSWER_SECS + (RESUME_SECS if is_resumable else 0)
    assert least_secs - 1 < took_secs < least_secs + 2
    heard = phone.expect_stream_error("connection-timeout")
    assert any(is_question(e) for e in heard), "it was asked"
    # Whoever answers stays, however long.
    begun = time.monotonic()
    stay_alive(alice, tablet, until=lambda: time.monotonic() > begun + 3 * IDLE_SECS)
    assert not [e for e in alice.elements if is_presence(e, tablet.jid, "unavailable")]
    alice.write(f"<presence type='probe' to='{phone.account.jid}'/>")
    assert [e.get("from") for e in alice.ping() if is_presence(e, tablet.jid)][-1] == tablet.jid
    assert not [e for e in tablet.ping() if e.tag == MESSAGE], "its priority is negative"
    with login(server, phone.account) as again:
        if is_resumable:
            late = again.wait(is_chat("in between"))
            assert body(late) and child(late, "urn:xmpp:delay", "delay") is not None
        again.close()
