"""Sessions that die with a killed server, as others see them (RFC 6121 §4.5.2, §4.6.3)."""

from harness.counted import Counted
from harness.names import child, is_presence
from harness.neighbours import Prosody, Stentor, neighbourhood
from harness.people import Person, friends
from harness.raw import RawStream
from harness.scenes import befriend

LAST = "jabber:iq:last"


def test_whoever_saw_sessions_is_told_that_they_died_with_the_server():
    with neighbourhood(Stentor, Prosody) as (ours, prosody):
        alice, dora = friends(ours, prosody)
        # Emil only gets directed presence; Bob sees her here, and comes back for his own session.
        emil, bob = Person(prosody, "emil"), Person(ours, "bob")
        befriend(alice.stream, bob.stream)
        phone = bob.another("phone")
        phone.ping()
        counted = Counted(phone)
        alice.stream.write(f"<presence to='{emil.full}'/>")
        emil.stream.wait(lambda e: is_presence(e, alice.full))
        # What was seen before a change that she knows to be on disk is there as well.
        change = f"<query xmlns='jabber:iq:roster'><item jid='x@{ours.domain}'/></query>"
        assert alice.stream.request(change, "set").get("type") == "result"
        ours.kill()
        ours.start()
        for witness in (dora, emil):
            witness.stream.wait(lambda e: is_presence(e, alice.full, "unavailable"))
        with RawStream(ours, "tls") as stream:
            stream.secure(ours.domain)
            stream.sign_in(bob.account)
            counted.resume(stream)
            for gone in (alice.full, bob.full):
                counted.wait(lambda e: is_presence(e, gone, "unavailable"))
            # His phone is there still, for her as well once she comes back.
            alice.enter()
            alice.stream.wait(lambda e: is_presence(e, phone.jid))
            alice.leave()
        answer = dora.stream.request(f"<query xmlns='{LAST}'/>", to=alice.jid)
        assert int(child(answer, LAST, "query").get("seconds")) < 60
