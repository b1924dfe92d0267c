"""Other servers that are slow, silent or cut off: who waits for them, and what arrives."""

import contextlib

import pytest
from harness.bad_certs import certificate
from harness.counted import Counted
from harness.names import MESSAGE, bodies, body, is_presence, stanza_error
from harness.neighbours import Ejabberd, Prosody, Stentor, neighbourhood
from harness.peer import Caller, Peer, black_hole
from harness.people import Person, friends, grant, text_of
from harness.scenes import befriend, chat, has_id, is_chat, is_push, subscribe
from harness.server import frozen
from harness.waiting import Deadline, until

# A state is seen within so many seconds.
SOON = 3


@pytest.fixture
def ours():
    with neighbourhood(Stentor) as (server,):
        yield server


# covers: fed-06
def test_one_contact_that_never_answers_delays_nobody():
    with neighbourhood(Stentor, Prosody, Ejabberd) as (ours, prosody, ejabberd), black_hole() as port:
        silent = "silent.example"
        ours.region.dns.server_of(silent, None, port, "127.0.0.1.nip.example")
        ours.region.dns.add("127.0.0.1.nip.example", "A", "127.0.0.1")
        alice, bob = Person(ours), Person(ours, "bob")
        dora, emil = Person(prosody), Person(ejabberd)
        stranger = Person(prosody, "stranger")
        for contact in (bob, dora, emil):
            befriend(alice.stream, contact.stream)
        # She sees him, and he does not see her.
        subscribe(alice.stream, stranger.stream)
        alice.stream.write(f"<presence type='subscribe' to='x@{silent}'/>")
        alice.stream.write(f"<presence type='subscribed' to='x@{silent}'/>")
        for n in range(5):
            soon = Deadline(SOON)
            alice.stream.write(f"<presence><status>{n}</status></presence>")
            for contact in (bob, dora, emil):
                contact.stream.wait(
                    lambda e, n=n: is_presence(e, alice.full) and text_of(e, "status") == str(n),
                    SOON,
                )
            assert not soon.is_over()
        seen = dora.stream.barrier(stranger.stream)[0]
        assert not [e for e in seen if e.get("from") == alice.full]
        pairs = [(e["local"], e["remote"]) for e in ours.events("s2s_out", "s2s_in")]
        assert sorted(set(pairs)) == [(ours.domain, ejabberd.domain), (ours.domain, prosody.domain)]
        opened = [(e["local"], e["remote"]) for e in ours.events("s2s_out")]
        assert len(opened) == len(set(opened)), "one stream out for each pair"


# covers: fed-16
def test_a_login_waits_for_no_other_server():
    with contextlib.ExitStack() as stack:
        ours, prosody = stack.enter_context(neighbourhood(Stentor, Prosody))
        dns, ca = ours.region.dns, ours.region.ca
        alice, dora = friends(ours, prosody)
        bob = Person(ours, "bob")
        befriend(alice.stream, bob.stream)
        # Five servers that are there at first, and are not any more when she comes.
        slow = [f"slow{n}.example" for n in range(5)]
        alice.stream.roster()
        for domain in slow:
            with Caller(ours, domain, ca.server(domain)) as peer:
                _befriend(alice, peer, f"x@{domain}")
                # In order: one whose stream breaks is sought at once, and it is not in DNS yet.
                peer.close()
        dns.asked.clear()
        for domain in slow[:3]:
            hole = stack.enter_context(black_hole())
            dns.server_of(domain, None, hole, "hole.example")
        dns.add("hole.example", "A", "127.0.0.1")
        for domain in slow[3:]:
            dns.silence(f"_xmpp-server._tcp.{domain}", f"_xmpps-server._tcp.{domain}")
        alice.leave()
        bob.sees([alice], "unavailable")
        soon = Deadline(2)
        alice.enter()
        # Those of who is there come while the others are still being sought.
        alice.sees([dora, bob])
        assert len(alice.stream.roster()) == 7
        chat(alice.stream, bob.jid, "I am here")
        bob.hears([(alice.full, "I am here")])
        assert not soon.is_over()
        asked = {(f"_xmpps-server._tcp.{domain}", "SRV") for domain in slow}
        until(lambda: asked <= set(dns.asked), "all are sought")
        with Caller(ours, slow[4], ca.server(slow[4])) as late:
            late.say("presence", f"x@{slow[4]}/late", alice.jid)
            alice.stream.wait(lambda e: is_presence(e, f"x@{slow[4]}/late"), SOON)


def _befriend(alice: Person, peer: Caller, jid: str) -> None:
    grant(alice, peer, jid)
    alice.stream.write(f"<presence type='subscribe' to='{jid}'/>")
    peer.wait(lambda e: e.get("type") == "subscribe")
    peer.say("presence", jid, alice.jid, kind="subscribed")
    alice.stream.wait(is_push(jid, "both"))


# covers: fed-16
def test_ipv6_is_tried_first_and_ipv4_soon(ours):
    alice, region = Person(ours), ours.region
    for domain, is_dead in (("six.example", False), ("four.example", True)):
        address = "127.0.0.1" if is_dead else "::1"
        with contextlib.closing(
            Peer(domain, region.ca.server(domain), region.ca.pem, address)
        ) as peer, black_hole("::1" if is_dead else "127.0.0.1", peer.port):
            region.dns.server_of(domain, None, peer.port, f"host.{domain}")
            region.dns.add(f"host.{domain}", "AAAA", "::1")
            region.dns.add(f"host.{domain}", "A", "127.0.0.1")
            soon = Deadline(2)
            chat(alice.stream, f"x@{domain}", "hello")
            peer.next()
            assert not soon.is_over()


# covers: fed-18
def test_a_client_and_a_server_that_die_silently_are_seen_gone():
    limits = "[limits]\nidle_secs = 10\nanswer_wait_secs = 5"
    with neighbourhood(Stentor, Prosody, extra=limits) as (ours, prosody):
        alice, dora = friends(ours, prosody)
        # Hers hears everything, and nothing of it is heard any more.
        dora.stream.wait(lambda e: is_presence(e, alice.full, "unavailable"))
        alice.stream.expect_stream_error("connection-timeout")
    with neighbourhood(
        Stentor, Prosody, silence_secs=5, connect_wait_secs=2
    ) as (ours, prosody), black_hole() as hole:
        alice, dora = friends(ours, prosody)
        stranger = Person(ours, "stranger")
        dns = ours.region.dns
        with frozen(prosody.process):
            dns.move(prosody.domain, hole, None)
            alice.stream.wait(lambda e: is_presence(e, dora.full, "unavailable"), 60)
            (ended,) = ours.events("s2s_out_ended")
            assert ended["reason"] == "timeout: No answer in time"
            assert [e["remote"] for e in ours.events("s2s_lost")] == [prosody.domain]
            # Who comes now has nothing to see.
            alice.leave()
            alice.enter()
            assert not [e for e in alice.stream.ping() if is_presence(e, dora.full)]
        dns.move(prosody.domain, prosody.s2s_port, prosody.s2s_tls_port)
        # Nobody signs in again, and nobody says anything: she is asked for.
        alice.stream.wait(lambda e: is_presence(e, dora.full), 60)
        assert not [e for e in stranger.stream.ping() if e.get("from") == dora.full]


class Narrow(Prosody):
    """One that does not bear large stanzas, and does not say so."""

    def __init__(self, region, *domains):
        super().__init__(region, *domains, extra=["s2s_stanza_size_limit = 10000"])


class Outspoken(Peer):
    """One that says how large a stanza may be (XEP-0478)."""

    LIMITS = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>"

    def _open(self, root, features):
        super()._open(root, features or self.LIMITS)


# covers: fed-25
def test_only_what_the_other_server_does_not_bear_comes_back():
    with neighbourhood(Stentor, Narrow) as (ours, prosody):
        alice, dora = friends(ours, prosody)
        status = "ÿ" * 5_000
        for one, two in ((alice, dora), (dora, alice)):
            one.stream.write(f"<presence><status>{status}</status></presence>")
            seen = lambda e, who=one.full: is_presence(e, who) and text_of(e, "status") == status  # noqa: E731
            two.stream.wait(seen)
        spoken, big = "outspoken.example", "x" * 20_000
        peer = Outspoken(spoken, ours.region.ca.server(spoken), ours.region.ca.pem)
        ours.region.dns.server_of(spoken, None, peer.port)
        with contextlib.closing(peer):
            for to in (dora.jid, f"x@{spoken}"):
                texts = [str(n) for n in range(20)]
                idents = [chat(alice.stream, to, text) for text in [*texts[:10], big, *texts[10:]]]
                refused = alice.stream.wait(lambda e: e.tag == MESSAGE)
                assert refused.get("id") == idents[10]
                assert stanza_error(refused) == ("modify", "policy-violation")
                if to == dora.jid:
                    heard = dora.stream.until(lambda e, last=idents[-1]: e.get("id") == last)
                    came = [e.get("id") for e in heard if e.tag == MESSAGE]
                else:
                    came = [peer.next().get("id") for _ in texts]
                # Prosody ends the stream without telling what it has had: that comes once more.
                assert list(dict.fromkeys(came)) == idents[:10] + idents[11:]
        ended = {event["reason"] for event in ours.events("s2s_out_ended", "s2s_in_ended")}
        assert any("policy-violation" in reason for reason in ended), ended
        assert not [e for e in alice.stream.ping() if e.tag == MESSAGE]


# covers: fed-43
def test_the_log_tells_the_life_of_each_stream_and_why_there_is_none():
    names = ("s2s_found", "s2s_out", "s2s_out_ended")
    with neighbourhood(Stentor, Prosody, idle_secs=1, dialback=False) as (ours, prosody):
        dns, ca = ours.region.dns, ours.region.ca
        alice, dora = Person(ours), Person(prosody)
        alice.stream.write(f"<presence to='{dora.full}'/>")
        chat(alice.stream, dora.full, "hello")
        dora.stream.wait(is_chat("hello"))
        chat(dora.stream, alice.full, "hello")
        alice.stream.wait(is_chat("hello"))
        until(lambda: len(ours.events(*names)) == 3, "the idle stream is closed")
        found, stands, ended = ours.events(*names)
        assert [event["event"] for event in (found, stands, ended)] == list(names)
        for port, how in ((prosody.s2s_port, "STARTTLS"), (prosody.s2s_tls_port, "direct TLS")):
            assert f"127.0.0.1:{port} ({how})" in found["servers"]
        assert stands["peer"] in found["servers"]
        assert stands["tls"] == "TLS 1.3" and stands["cipher"].startswith("TLS_")
        assert (stands["certificate"], stands["how"]) == ("valid", "external")
        counts = [ended[f"{kind}_{way}"] for way in ("out", "in") for kind in ("presences", "others")]
        assert counts == [1, 1, 0, 1] and ended["reason"] == "closed"
        # Nobody listens; the certificate is of yesterday; the server is somebody else's.
        old, down, strange = "old.example", "down.example", "strange.example"
        with contextlib.closing(Peer(old, certificate(ca, old, "expired"), ca.pem)) as peer:
            dns.server_of(old, None, peer.port)
            dns.server_of(down, 1, None)
            dns.server_of(strange, prosody.s2s_port, None)
            for domain in (old, down, strange, "nowhere.example"):
                alice.stream.write(f"<iq type='get' id='{domain}' to='{domain}'><x xmlns='x'/></iq>")
                alice.stream.wait(has_id(domain))
        reasons = {event["remote"]: event["reason"] for event in ours.events("s2s_failed")}
        assert "certificate expired" in reasons[old]
        assert "127.0.0.1:1: Connection refused" in reasons[down]
        assert "host-unknown" in reasons[strange]
        assert reasons["nowhere.example"] == "DNS knows no server of the domain"


# covers: fed-45
@pytest.mark.parametrize("other", [Prosody, Ejabberd])
def test_after_restarts_everybody_is_seen_as_they_are_and_nothing_is_lost(other):
    with neighbourhood(Stentor, other) as (ours, theirs):
        alice, dora = friends(ours, theirs)
        bob, emma = Person(ours, "bob"), Person(theirs, "emma")
        befriend(alice.stream, emma.stream)
        befriend(dora.stream, bob.stream)
        # Emma and Bob do not come back when their server does.
        for server, back, gone, stays in ((theirs, dora, emma, alice), (ours, alice, bob, dora)):
            server.stop()
            server.start()
            soon = Deadline(60)
            back.stream.cut()
            back.enter()
            seen = stays.stream.until(lambda e, who=back.full: is_presence(e, who))
            seen += stays.stream.ping() if stays is alice else []
            if not any(is_presence(e, gone.full, "unavailable") for e in seen):
                stays.stream.wait(lambda e, who=gone.full: is_presence(e, who, "unavailable"), 60)
            back.sees([stays])
            assert not soon.is_over()
            assert not [e for e in seen if e.get("type") == "error"]
        # Accepted while the other is down, before a kill.
        counted = Counted(alice.stream)
        theirs.stop()
        said = [f"before the kill, {n}" for n in range(10)]
        for text in said:
            chat(counted.stream, dora.jid, text)
        counted.be_heard()
        ours.kill()
        theirs.start()
        ours.start()
        # A server that could not reach ours does not try again for a while: nobody speaks before.
        until(lambda: ours.metrics()["stentor_federation_kept"] == 0, "the other server has them")
        dora.stream.cut()
        dora.enter()
        assert [body(e) for e in dora.gather(10, lambda e: e.tag == MESSAGE)] == said
        alice.enter()
        dora.stream.wait(lambda e: is_presence(e, alice.full), 60)
        alice.sees([dora])


@pytest.mark.parametrize("other", [Prosody, Ejabberd])
def test_what_is_acknowledged_for_a_server_that_is_down_outlives_a_kill_of_ours(other):
    with neighbourhood(Stentor, other) as (ours, theirs):
        alice, dora = friends(ours, theirs)
        counted = Counted(alice.stream)
        said = [f"while both are there, {n}" for n in range(5)]
        for text in said:
            chat(counted.stream, dora.jid, text)
        heard = [body(e) for e in dora.gather(len(said), lambda e: e.tag == MESSAGE)]
        assert heard == said
        # What the other server has and has not said so comes to it once more after a kill.
        kept = "stentor_federation_kept"
        until(lambda: ours.metrics()[kept] == 0, "the other server has said that it has them")
        theirs.stop()
        dora.stream.cut()
        said = [f"while they are away, {n}" for n in range(50)]
        for text in said:
            chat(counted.stream, dora.jid, text)
        # Hers is a server that keeps requests as well (RFC 6121 §3.1.2).
        counted.stream.write(f"<presence type='subscribe' to='late@{theirs.domain}'/>")
        counted.be_heard()
        ours.kill()
        ours.start()
        assert len(ours.events("underway")) == 1
        theirs.start()
        dora.enter()
        heard = [body(e) for e in dora.gather(len(said), lambda e: e.tag == MESSAGE)]
        assert heard == said
        # Nothing comes twice, nor later what has come.
        alice.enter()
        chat(alice.stream, dora.jid, "after all")
        heard = [e for e in dora.stream.until(is_chat("after all")) if e.tag == MESSAGE]
        assert bodies(heard) == ["after all"]
        until(lambda: ours.metrics()[kept] == 0, "the other server has all of it")


# covers: fed-39
def test_rapid_changes_arrive_in_order_whatever_becomes_of_the_stream():
    with neighbourhood(Stentor, Prosody, idle_secs=1) as (ours, prosody):
        alice, dora = friends(ours, prosody)
        assert _changes(alice, dora, "steady") == _states("steady")
        before = len(ours.events("s2s_out_ended"))
        until(lambda: len(ours.events("s2s_out_ended")) > before, "the idle stream is closed")
        assert _changes(alice, dora, "queued") == _states("queued")
        state = _states("queued")[-1]
        for n in range(5):
            before = len(ours.events("s2s_out_ended", "s2s_in_ended"))
            came = _changes(alice, dora, f"cut {n}", lambda: prosody.close_streams(ours.domain))
            ended = ("s2s_out_ended", "s2s_in_ended")
            until(lambda: len(ours.events(*ended)) > before, "a stream is cut")
            # Prosody ends a stream without telling what it has had. What is so at that time may come
            # once more, and nothing that is not so any more (XEP-0198 §5).
            seen = [text for text, last in zip(came, [state, *came], strict=False) if text != last]
            assert seen == _states(f"cut {n}")
            state = seen[-1]


def _states(word: str) -> list[str]:
    return [f"{word}, {n}" for n in range(50)]


def _changes(alice: Person, dora: Person, word: str, between=lambda: None) -> list[str]:
    """Fifty states at once, with something in between; what comes of them, up to the last."""
    texts = _states(word)
    said = [f"<presence><status>{text}</status></presence>" for text in texts]
    alice.stream.write("".join(said[:25]))
    between()
    alice.stream.write("".join(said[25:]))
    came = []
    while not came or came[-1] != texts[-1]:
        came.append(text_of(dora.stream.wait(lambda e: is_presence(e, alice.full)), "status"))
    return came
