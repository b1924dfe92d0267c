"""Stanzas that are too long for another server (XEP-0478, RFC 6120 §4.9.3.14)."""

import contextlib

import pytest
from harness.names import MESSAGE, bodies, body, is_presence, stanza_error
from harness.neighbours import Prosody, Stentor, neighbourhood
from harness.peer import Peer
from harness.people import Person, friends, status_of
from harness.scenes import chat, has_id

BYTES_MAX = 20_000
LONG_STATUS = "long " * 1000
# Prosody takes what is in few reads whole, however long.
TOO_LONG = "x" * 5 * BYTES_MAX


class Strict(Prosody):
    """Ends streams that bring a longer stanza, and does not say so before."""

    def __init__(self, region, *domains):
        super().__init__(region, *domains, extra=[f"s2s_stanza_size_limit = {BYTES_MAX}"])


@pytest.fixture(scope="module")
def pair():
    with neighbourhood(Stentor, Strict) as (ours, prosody):
        yield ours, prosody


# covers: fed-25
def test_a_status_of_5000_characters_crosses_both_ways(pair):
    alice, dora = friends(*pair)
    for one, other in ((alice, dora), (dora, alice)):
        one.stream.write(f"<presence id='long'><status>{LONG_STATUS}</status></presence>")
        seen = other.stream.wait(lambda e, f=one.full: is_presence(e, f) and status_of(e))
        assert status_of(seen) == LONG_STATUS


# covers: fed-25
def test_what_is_longer_than_the_other_server_says_it_takes_is_not_sent(pair):
    ours, _ = pair
    alice, region = Person(ours), ours.region
    limits = f"<max-bytes>{BYTES_MAX}</max-bytes>"
    peer = Peer(
        "limits.example",
        region.ca.server("limits.example"),
        region.ca.pem,
        features=f"<limits xmlns='urn:xmpp:stream-limits:0'>{limits}</limits>",
    )
    region.dns.server_of(peer.domain, None, peer.port)
    with contextlib.closing(peer):
        to = f"x@{peer.domain}"
        first = chat(alice.stream, to, "fits")
        assert peer.next().get("id") == first
        for _ in range(2):
            long = chat(alice.stream, to, TOO_LONG)
            assert stanza_error(alice.stream.wait(has_id(long)))[1] == "policy-violation"
            # The same stream goes on: there is no other.
            short = chat(alice.stream, to, "fits as well")
            assert peer.next().get("id") == short


# covers: fed-25
def test_only_what_ends_the_stream_comes_back(pair):
    ours, _ = pair
    alice, dora = friends(*pair)
    before = len(ours.events("s2s_out_ended", "s2s_in_ended"))
    texts = [f"{n}" for n in range(20)]
    for text in texts:
        if text == "10":
            long = chat(alice.stream, dora.full, TOO_LONG)
        chat(alice.stream, dora.full, text)
    heard = []
    while texts[-1] not in heard:
        heard.append(body(dora.stream.wait(lambda e: e.tag == MESSAGE)))
    # What Prosody had not acknowledged when it ended the stream comes again (XEP-0198 §5).
    assert list(dict.fromkeys(heard)) == texts
    refused = alice.stream.until(has_id(long))
    assert stanza_error(refused[-1])[1] == "policy-violation"
    assert bodies(alice.stream.barrier(dora.stream)[0]) == []
    assert not [e for e in refused[:-1] + alice.stream.ping() if e.get("type") == "error"]
    ended = ours.events("s2s_out_ended", "s2s_in_ended")[before:]
    assert [e for e in ended if "policy-violation" in e["reason"]], ended
