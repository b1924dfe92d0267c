"""Clients that say nothing any more (RFC 6120 §4.6): found out, and what becomes of their sessions."""

import time

import pytest

from clients.go_sendxmpp import GoSendXmpp
from harness.counted import SM, Counted
from harness.far import Far
from harness.names import MESSAGE, PING, VERSION, body, child, is_presence, q
from harness.raw import RawStream, login
from harness.scenes import befriend, chat, is_chat
from harness.waiting import DEADLINE_SECS, Deadline

IDLE_SECS, ANSWER_SECS, RESUME_SECS = 2, 6, 8
QUESTIONS = [(VERSION, "query"), (PING, "ping")]
# Hours of the server that pass in one of ours, and for how many of them somebody says nothing.
HASTE, QUIET_HOURS = 200, 2


@pytest.fixture
def far():
    """Where the phone is: what is sent to it can be dropped."""
    network = Far()
    yield network
    network.dispose()


def is_question(element):
    is_asked = any(child(element, namespace, name) is not None for namespace, name in QUESTIONS)
    return (element.get("type") == "get" and is_asked) or element.tag == q(SM, "r")


def stay_alive(*streams, until, secs=DEADLINE_SECS):
    """Answers what the server asks of them, and leaves all else unread; the seconds it took."""
    begun, end = time.monotonic(), Deadline(secs)
    while not until():
        assert not end.is_over(), "in vain"
        for stream in streams:
            stream.peek()
            for question in [e for e in stream.elements if is_question(e)]:
                stream.elements.remove(question)
                stream.write(f"<iq type='result' id='{question.get('id')}' to='localhost'/>")
                stream.answered = getattr(stream, "answered", 0) + 1
        time.sleep(0.02)
    return time.monotonic() - begun


def saw_leave(watcher, jid):
    return any(is_presence(e, jid, "unavailable") for e in watcher.elements)


def has_ended(stream):
    stream.peek()
    return stream.is_closed


def come_back(server, counted, account):
    """Asks on a new connection for the session that was counted."""
    stream = RawStream(server, "tls")
    stream.secure(account.domain)
    stream.sign_in(account)
    stream.write(f"<resume xmlns='{SM}' previd='{counted.id}' h='{len(counted.seen)}'/>")
    answer = stream.next()
    return stream, answer


def stays_for_hours(server_with, enter):
    """Two who say nothing of their own, and answer."""
    server = server_with(idle_secs=300, answer_wait_secs=600, has_fast_clock=True)
    alice, tablet = enter("alice", at=server), enter("bob", at=server)
    server.clock.hurry(HASTE)
    # Whoever sleeps already, sleeps by the old time.
    alice.ping()
    begun = time.monotonic()
    secs = QUIET_HOURS * 3_600 / HASTE
    stay_alive(alice, tablet, until=lambda: time.monotonic() > begun + secs, secs=2 * secs)
    for stream in (alice, tablet):
        # Once in five minutes, and for as long again where the machine is busy.
        assert stream.answered >= QUIET_HOURS * 3_600 / 600 - 2
        assert stream.is_established()
    chat(alice, tablet.jid, "after hours")
    stay_alive(alice, tablet, until=lambda: any(is_chat("after hours")(e) for e in tablet.elements))


# covers: xml-47, presence-18
@pytest.mark.parametrize("way", ["not resumable", "resumed in time", "resumed too late"])
@pytest.mark.prosody_differs("asks nobody whether he is there")
def test_xml_47_presence_18_packets_that_are_dropped(server_with, enter, far, way):
    server = server_with(
        idle_secs=IDLE_SECS,
        answer_wait_secs=ANSWER_SECS,
        resume_secs=RESUME_SECS,
        address=far.address,
    )
    alice = enter("alice", at=server)
    phone = enter("bob", "phone", at=server, sock=far.socket())
    account = phone.account
    befriend(alice, phone)
    tablet = enter(account, "tablet", -1, at=server)
    alice.ping(), phone.ping()
    counted = None if way == "not resumable" else Counted(phone)
    far.cut()
    if counted:
        chat(alice, account.jid, "in between")
    least_secs = IDLE_SECS + ANSWER_SECS
    noticed, gone = Deadline(least_secs + 2), Deadline(least_secs + 2 + RESUME_SECS * bool(counted))
    took_secs = stay_alive(alice, tablet, until=lambda: not phone.is_established())
    assert least_secs - 1 < took_secs and not noticed.is_over()
    if way == "resumed in time":
        # Nobody has noticed anything.
        again, answer = come_back(server, counted, account)
        assert answer.tag == q(SM, "resumed")
        again.wait(is_chat("in between"))
        chat(alice, phone.jid, "afterwards")
        again.wait(is_chat("afterwards"))
        seen = list(alice.elements)
    else:
        gone_secs = took_secs + stay_alive(alice, tablet, until=lambda: saw_leave(alice, phone.jid))
        least_secs += RESUME_SECS if counted else 0
        assert least_secs - 1 < gone_secs and not gone.is_over()
        if counted:
            again, answer = come_back(server, counted, account)
            assert answer.tag == q(SM, "failed")
            again.cut()
            with login(server, account) as again:
                late = again.wait(is_chat("in between"))
                assert body(late) and child(late, "urn:xmpp:delay", "delay") is not None
                again.close()
        seen = []
    assert not [e for e in seen if is_presence(e, phone.jid, "unavailable")]
    # What it was told meanwhile comes once the network is mended.
    far.mend()
    stay_alive(alice, tablet, until=lambda: has_ended(phone))
    heard = phone.expect_stream_error("connection-timeout")
    assert any(is_question(e) for e in heard), "it was asked"
    # Whoever answers stays, however long.
    begun = time.monotonic()
    stay_alive(alice, tablet, until=lambda: time.monotonic() > begun + 3 * IDLE_SECS)
    assert not saw_leave(alice, tablet.jid)
    alice.write(f"<presence type='probe' to='{account.jid}'/>")
    there = [e.get("from") for e in alice.ping() if is_presence(e, tablet.jid)]
    assert there[-1] == tablet.jid
    assert not [e for e in tablet.ping() if e.tag == MESSAGE], "its priority is negative"
    if way == "not resumable":
        stays_for_hours(server_with, enter)


@pytest.mark.prosody_differs("asks nobody whether he is there")
def test_a_client_that_dies_of_pings_is_asked_otherwise(server_with, enter):
    # Half of that is what it has before it is pinged.
    server = server_with(idle_secs=IDLE_SECS, answer_wait_secs=20)
    account, peer = server.account("alice"), enter("peer", at=server)
    with GoSendXmpp(server, account, "tls") as client:
        client.sign_in()
        stay_alive(peer, until=lambda: client.received(f"<query xmlns='{VERSION}'/>") >= 3)
        assert client.received(PING) == 0
        chat(peer, account.jid, "still there?")
        client.wait_chat(peer.account.jid, "still there?")
