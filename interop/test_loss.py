"""Presence over a connection that loses packets, some of them or all (RFC 6121 §4.5.2, XEP-0198)."""

import pytest

from harness.counted import SM, Counted
from harness.far import Far
from harness.names import CLIENT, is_presence, q
from harness.raw import RawStream, login
from harness.scenes import befriend, chat, is_chat
from test_silence import stay_alive

# Time enough to answer late where packets are lost again and again.
IDLE_SECS, ANSWER_SECS, RESUME_SECS = 2, 20, 6
STEPS = 20


@pytest.fixture
def far():
    network = Far()
    yield network
    network.dispose()


def shows(stream, number):
    """One step of somebody's presence, which the server has dealt with."""
    stream.write(f"<presence><status>{number}</status></presence>")
    stream.ping()


def told_of(jid, elements):
    """What these say about somebody: a status, or the type."""
    of_jid = [e for e in elements if is_presence(e, jid) or is_presence(e, jid, "unavailable")]
    return [e.findtext(q(CLIENT, "status")) or e.get("type", "") for e in of_jid]


# covers: presence-41
@pytest.mark.parametrize("way", ["resumed", "resumed too late"])
@pytest.mark.prosody_differs("sends every step of the presence again")
def test_presence_41_packet_loss(server_with, enter, far, way):
    server = server_with(
        idle_secs=IDLE_SECS,
        answer_wait_secs=ANSWER_SECS,
        resume_secs=300 if way == "resumed" else RESUME_SECS,
        address=far.address,
    )
    alice, carol = enter("alice", at=server), enter("carol", at=server)
    phone = enter("bob", "phone", at=server, sock=far.socket())
    account = phone.account
    befriend(alice, phone), befriend(carol, phone)
    for stream in (alice, carol, phone):
        stream.ping()
    counted = Counted(phone)

    # Some are lost: TCP repeats them, and every step arrives, in order.
    far.loss = 0.2
    for number in range(STEPS):
        shows(alice, f"lossy {number}")
        counted.wait(lambda e: f"lossy {number}" in told_of(alice.jid, [e]))
    assert told_of(alice.jid, counted.seen) == [f"lossy {number}" for number in range(STEPS)]
    assert far.lost > 0
    far.mend()
    counted.acknowledge()
    counted.be_heard()

    # All are lost: what the phone knows is what it knew.
    far.cut()
    for number in range(STEPS):
        shows(alice, f"unheard {number}")
    stay_alive(alice, carol, until=lambda: not phone.is_established())
    chat(alice, account.jid, "in between")
    for number in range(STEPS):
        shows(alice, f"detached {number}")
    carol.close()
    shows(alice, "now")
    assert counted.take() == []

    far.mend()
    if way == "resumed":
        with RawStream(server, "tls", sock=far.socket()) as again:
            again.secure(account.domain)
            again.sign_in(account)
            counted.resume(again)
            before = len(counted.seen)
            chat(alice, phone.jid, "afterwards")
            counted.wait(is_chat("afterwards"))
            came = counted.seen[before:]
            assert any(is_chat("in between")(e) for e in came)
            assert told_of(alice.jid, came) == ["now"]
            assert told_of(carol.jid, came) == ["unavailable"]
            shows(alice, "later")
            counted.wait(lambda e: told_of(alice.jid, [e]) == ["later"])
        return
    stay_alive(
        alice,
        until=lambda: any(is_presence(e, phone.jid, "unavailable") for e in alice.elements),
    )
    again = RawStream(server, "tls", sock=far.socket())
    again.secure(account.domain)
    again.sign_in(account)
    again.write(f"<resume xmlns='{SM}' previd='{counted.id}' h='{len(counted.seen)}'/>")
    assert again.next().tag == q(SM, "failed")
    again.cut()
    with login(server, account, is_available=False, sock=far.socket()) as again:
        came = again.available() + again.ping()
        assert any(is_chat("in between")(e) for e in came)
        assert told_of(alice.jid, came) == ["now"]
        assert told_of(carol.jid, came) in ([], ["unavailable"]), "no ghost"
        again.close()
