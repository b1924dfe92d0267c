"""Messages for who is not there (XEP-0160, RFC 6121 §8.5.2.2)."""

import os
import random
import re
import time
from datetime import UTC, datetime

import pytest

from harness.counted import SM, Counted
from harness.names import (
    CLIENT,
    DELAY,
    IQ,
    MESSAGE,
    PRESENCE,
    ROSTER,
    bodies,
    body,
    child,
    is_presence,
    push_item,
    q,
    stanza_error,
)
from harness.raw import RawStream, SaslFailure, login
from harness.scenes import (
    befriend,
    chat,
    delivered,
    has_id,
    is_chat,
    is_push,
    subscribe,
)
from harness.waiting import Deadline, until

STATES = "http://jabber.org/protocol/chatstates"
ERROR = (
    "<error type='cancel'>"
    "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
)
UNICODE = "\u041f\u0440\u0438 a\u0301 \u00e4\u00df \u05d0\u05d1 \u0627\u0644 \u0e01\u0e34 \u4e2d\u6587 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u202e\u200f \ufeff \U0010fffd \ue000 \t\n."


def collect(stream):
    """All messages that came so far and up to two answers later."""
    return [e for e in stream.ping() + stream.ping() if e.tag == MESSAGE]


def offline_of(server, account, expected):
    """Signs in, becomes available and takes the stored messages; at least `expected` of them."""
    with login(server, account, is_available=False) as stream:
        stream.write("<presence/>")
        got = []
        while len([e for e in got if e.tag == MESSAGE]) < expected:
            got.append(stream.next())
        got += stream.ping() + stream.ping()
        stream.close()
        return [e for e in got if e.tag == MESSAGE]


def ping_secs(stream):
    start = time.monotonic()
    stream.ping()
    return time.monotonic() - start


def answers_soon(stream):
    """Whether the server answers within the half second that others may take."""
    soon = Deadline(0.5)
    stream.ping()
    return not soon.is_over()


def stamp(message):
    delay = child(message, DELAY, "delay")
    return None if delay is None else delay.get("stamp")


def server_id(message):
    """Its id in the archive (XEP-0359)."""
    found = child(message, "urn:xmpp:sid:0", "stanza-id")
    return None if found is None else found.get("id")


def time_of(message):
    """The stamp as one to compare: whole seconds come without a fraction."""
    return stamp(message) and datetime.fromisoformat(stamp(message).replace("Z", "+00:00"))


# covers: off-01
def test_off_01_stored(server, enter, prosody_differs):
    alice, bob = enter("alice"), enter("bob", "shy", -1)
    for state in ("negative", "offline"):
        if state == "offline":
            bob.close()
        account = bob.account
        table = [
            (chat(alice, account.jid, "chat"), None),
            (chat(alice, account.jid, "normal", "normal"), None),
            (chat(alice, account.jid, "untyped", None), None),
            (chat(alice, account.jid, "news", "headline"), None),
            (chat(alice, account.jid, "room", "groupchat"), ("cancel", "service-unavailable")),
        ]
        alice.write(f"<message type='error' to='{account.jid}' id='e'>{ERROR}</message>")
        pure = f"<active xmlns='{STATES}'/>"
        alice.write(f"<message type='chat' to='{account.jid}' id='s'>{pure}</message>")
        seen = {e.get("id"): e for e in alice.ping() if e.tag == MESSAGE}
        for ident, error in table:
            got = stanza_error(seen[ident]) if ident in seen else None
            assert got == error, ident
        assert "e" not in seen and "s" not in seen
        if state == "negative":
            assert collect(bob) == []
        with prosody_differs("counts nothing, and stores chat states"):
            assert server.waiting_messages(account) == 3
            got = offline_of(server, account, 3)
            assert [body(e) for e in got] == ["chat", "normal", "untyped"]
            assert server.waiting_messages(account) == 0
    features = alice.request(
        "<query xmlns='http://jabber.org/protocol/disco#info'/>", to=server.domain
    )
    found = {e.get("var") for e in features.iter("{http://jabber.org/protocol/disco#info}feature")}
    assert "msgoffline" in found


# covers: off-01
def test_off_01_on_disk_before_it_is_acknowledged(server_with, enter):
    server = server_with()
    account, sender = server.account("bob"), server.account("alice")
    sent = []
    for _ in range(5):
        with login(server, sender, is_available=False) as alice:
            Counted(alice)
            sent += [f"{len(sent)} {n}" for n in range(3)]
            for text in sent[-3:]:
                chat(alice, account.jid, text)
            alice.write(f"<r xmlns='{SM}'/>")
            while int(alice.wait(lambda e: e.tag == q(SM, "a")).get("h")) < 3:
                alice.write(f"<r xmlns='{SM}'/>")
            server.kill()
        server.start()
    assert [body(e) for e in offline_of(server, account, len(sent))] == sent


# covers: off-02
def test_off_02_delivered_after_login(server, enter, prosody_differs):
    alice, account = enter("alice"), server.account("bob")
    texts = [f"stored {n}" for n in range(5)]
    for text in texts:
        chat(alice, account.jid, text)
    alice.ping()
    shy = enter(account, "shy", -1)
    assert bodies(shy.ping()) == [], "none at a negative priority"
    bob = enter(account, is_available=False)
    bob.write("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>")
    chat(alice, bob.jid, "direct")
    seen = bob.until(is_chat(texts[-1]))
    seen += bob.until(is_chat("direct")) if "direct" not in bodies(seen) else []
    chat(alice, bob.jid, "live")
    seen += bob.until(is_chat("live"))
    ids = [e.get("id") if e.tag == IQ else body(e) for e in seen if e.tag in (IQ, MESSAGE)]
    assert ids.index("r") < ids.index(texts[0]), "first the answers to what was asked before"
    stored = [e for e in seen if e.tag == MESSAGE and body(e) in texts]
    assert [body(e) for e in stored] == texts and bodies(seen)[-1] == "live"
    late = [child(m, "urn:xmpp:sid:0", "stanza-id").get("id") for m in stored]
    bob.write("<iq type='set' id='h'><query xmlns='urn:xmpp:mam:2'/></iq>")
    history = [e[0].get("id") for e in bob.until(has_id("h")) if e.tag == MESSAGE]
    assert history[: len(texts)] == late, "the archive shows them under the same ids"
    for message in stored:
        delay = child(message, DELAY, "delay")
        assert delay.get("from") == server.domain
        assert delay.get("stamp").endswith("Z") and message.get("from") == alice.jid

    def comes_without_delay():
        chat(alice, bob.jid, "now")
        return stamp(bob.until(is_chat("now"))[-1]) is None

    # What comes before the last of them has been taken from the store waits behind them.
    until(comes_without_delay, "a live message has no delay")
    bob.close()
    assert offline_of(server, account, 0) == [], "they are gone from the store"


def test_off_03_several_in_order(server, enter, prosody_differs):
    senders = [enter(name) for name in ("alice", "carol", "dave")]
    account = server.account("bob")
    order = random.Random(3)
    sent = []
    for n in range(200):
        sender = order.choice(senders)
        chat(sender, account.jid, str(n))
        if order.random() < 0.2:
            sender.ping()
        sent.append((sender.jid, str(n)))
    for sender in senders:
        sender.ping()
    got = [(e.get("from"), body(e)) for e in offline_of(server, account, 200)]
    assert len(got) == 200 and set(got) == set(sent)
    for sender in senders:
        assert [t for s, t in got if s == sender.jid] == [t for s, t in sent if s == sender.jid]
    bob = enter(account)
    page = "<set xmlns='http://jabber.org/protocol/rsm'><max>200</max></set>"
    bob.write(f"<iq type='set' id='h'><query xmlns='urn:xmpp:mam:2'>{page}</query></iq>")
    with prosody_differs("has no archive"):
        results = [e for e in bob.until(has_id("h")) if e.tag == MESSAGE]
        taken = [e.find(f".//{q(CLIENT, 'message')}") for e in results]
        assert [(e.get("from"), body(e)) for e in taken] == got, "as the server took them"


def test_off_03_cut_during_delivery(server, enter, prosody_differs):
    alice, account = enter("alice"), server.account("bob")
    texts = [f"{n} " + "x" * 20_000 for n in range(100)]
    for text in texts:
        chat(alice, account.jid, text)
    alice.ping()
    bob = enter(account, is_available=False)
    bob.write("<presence/>")
    before = {texts[0]: server_id(bob.wait(is_chat(texts[0])))}
    before |= {body(e): server_id(e) for e in bob.elements if e.tag == MESSAGE}
    bob.cut()
    with prosody_differs("forgets what it was about to send"):
        rest = []
        with login(server, account, is_available=False) as again:
            again.write("<presence/>")
            while not rest or body(rest[-1]) != texts[-1]:
                rest.append(again.wait(lambda e: e.tag == MESSAGE))
        assert bodies(rest) == texts[len(texts) - len(rest) :], "a tail, in order, without gaps"
        after = {body(e): server_id(e) for e in rest}
        assert before.keys() | after.keys() == set(texts)
        assert all(before[text] == after[text] for text in before.keys() & after.keys())
        ids = list((before | after).values())
        assert None not in ids and len(set(ids)) == len(texts)


def test_off_06_unicode(server_with, enter, prosody_differs):
    server = server_with()
    alice, account = enter("alice", at=server), server.account("bob")
    text = UNICODE.replace("\n", "&#10;")
    alice.write(
        f"<message to='{account.jid}' type='chat'><subject>{text}</subject><body>{text}</body>"
        f"<nick xmlns='http://jabber.org/protocol/nick'>{text}</nick></message>"
    )
    alice.ping()

    def comes_out():
        (got,) = offline_of(server, account, 1)
        assert body(got) == UNICODE and got.findtext(q(CLIENT, "subject")) == UNICODE
        assert got.findtext("{http://jabber.org/protocol/nick}nick") == UNICODE

    with prosody_differs("has no copy of its database"):
        server.back_up("copy.db")
    server.restart()
    comes_out()
    with prosody_differs("has no copy of its database"):
        server.restore("copy.db")
        comes_out()


# Each run is a race of its own; INTEROP_RACES makes more of them than one.
@pytest.mark.parametrize("seed", range(int(os.environ.get("INTEROP_RACES", "1"))))
@pytest.mark.prosody_differs("renames a resource that waits")
def test_off_18_race_between_message_and_login(server_with, enter, seed):
    # covers: off-18
    server = server_with(resource_conflict="replace")
    alice, account = enter("alice", at=server), server.account("bob")
    race = Race(alice, account, random.Random(seed))
    bob = None
    for _ in range(RACE_LOGINS):
        bob = race.resume(bob) if bob and race.chance(0.5) else race.begin()
        for _ in range(race.dice.randrange(8)):
            race.may_send()
            bob.take()
            if race.chance(0.2):
                bob.acknowledge()
                bob.be_heard()
        if race.chance(0.4):
            bob = race.leave(bob)
        else:
            race.cut(bob)
    while len(race.sent) < RACE_MESSAGES:
        race.send()
    assert alice.ping() == [], "nothing came back"
    bob = race.begin()
    while race.missing(bob):
        bob.wait(lambda e: e.tag == MESSAGE)
    race.leave(bob)
    race.check()
    assert offline_of(server, account, 0) == []


RACE_LOGINS, RACE_MESSAGES = 100, 500


class Race:
    """A sender that writes at any moment, and one who comes and goes, in order or cut."""

    def __init__(self, alice, account, dice):
        self.alice, self.account, self.dice = alice, account, dice
        self.sent, self.got = [], []
        # Bodies of which a cut left open whether they had arrived: they may come again.
        self.unsure = set()

    def chance(self, share):
        return self.dice.random() < share

    def send(self):
        self.sent.append(str(len(self.sent)))
        chat(self.alice, self.account.jid, self.sent[-1])

    def may_send(self):
        while len(self.sent) < RACE_MESSAGES and self.chance(0.3):
            self.send()

    def signed_in(self):
        stream = RawStream(self.alice.server, "tls")
        self.may_send()
        stream.secure()
        self.may_send()
        stream.sign_in(self.account)
        self.may_send()
        return stream

    def begin(self):
        stream = self.signed_in()
        stream.bind("r")
        self.may_send()
        bob = Counted(stream)
        stream.write("<presence/>")
        return bob

    def resume(self, bob):
        bob.resume(self.signed_in())
        return bob

    def cut(self, bob):
        bob.take()
        self.may_send()
        bob.stream.cut()
        self.note(bob)
        self.unsure |= set(bodies(bob.seen[bob.acknowledged :]))

    def leave(self, bob):
        bob.take()
        bob.acknowledge()
        self.may_send()
        bob.stream.write("</stream:stream>")
        self.may_send()
        rest = bob.stream.drain()
        bob.seen += [e for e in rest if e.tag == MESSAGE]
        self.unsure |= set(bodies(bob.seen[bob.acknowledged :]))
        bob.stream.cut()
        self.note(bob)
        return None

    def note(self, bob):
        known = {id(e) for e in self.got}
        self.got += [e for e in bob.seen if e.tag == MESSAGE and id(e) not in known]

    def missing(self, bob):
        return set(self.sent) - set(bodies(self.got)) - set(bodies(bob.seen))

    def check(self):
        """Each is there, in order, and is the same where it came again after a cut."""
        ids = {}
        for message in self.got:
            ident = child(message, "urn:xmpp:sid:0", "stanza-id").get("id")
            if ident in ids:
                assert body(message) == ids[ident] and ids[ident] in self.unsure, body(message)
            ids.setdefault(ident, body(message))
        assert list(ids.values()) == self.sent, "each once by its id, in order"


ROSTER_ITEM = "<query xmlns='jabber:iq:roster'><item jid='{}' {}>{}</item></query>"


# covers: off-19
def test_off_19_roster_change_at_the_same_time(server, enter, prosody_differs):
    alice, bob = enter("alice"), enter("bob")
    befriend(alice, bob)
    version = child(bob.request(f"<query xmlns='{ROSTER}'/>"), ROSTER, "query").get("ver")
    mine, jid = alice.account.jid, bob.account.jid
    bob.close()
    # Another of his devices, which takes no messages, changes his roster meanwhile.
    other = enter(bob.account, is_available=False)
    steps = [
        (alice, ROSTER_ITEM.format(jid, "name='B'", "<group>One</group>")),
        (alice, ROSTER_ITEM.format(jid, "name='B'", "<group>Two</group>")),
        (alice, ROSTER_ITEM.format(jid, "subscription='remove'", "")),
        (alice, ROSTER_ITEM.format(jid, "", "")),
        (other, ROSTER_ITEM.format(mine, "name='A'", "<group>Three</group>")),
        (other, ROSTER_ITEM.format(mine, "subscription='remove'", "")),
    ]
    for n, (who, step) in enumerate(steps):
        chat(alice, jid, f"before {n}")
        who.write(f"<iq type='set' id='step'>{step}</iq>")
        chat(alice, jid, f"after {n}")
        assert who.wait(has_id("step")).get("type") == "result"
    assert not [e for e in alice.ping() if e.get("type") == "error"]
    other.close()
    bob = enter(bob.account, is_available=False)
    bob.write(f"<iq type='get' id='r'><query xmlns='{ROSTER}' ver='{version}'/></iq><presence/>")
    expected = [f"{when} {n}" for n in range(len(steps)) for when in ("before", "after")]
    seen = bob.until(is_chat(expected[-1]))
    assert bodies(seen) == expected
    with prosody_differs("sends the whole roster instead of what changed"):
        pushed = [push_item(e) for e in seen if push_item(e) is not None]
        assert [(i.get("jid"), i.get("subscription")) for i in pushed] == [(mine, "remove")]
        assert len([e for e in seen if e.get("id") == "r"][0]) == 0
    bob.write(f"<iq type='set' id='x'>{ROSTER_ITEM.format(mine, '', '')}</iq>")
    bob.wait(is_push(mine))
    chat(alice, jid, "as before")
    bob.wait(is_chat("as before"))


# covers: off-19
@pytest.mark.prosody_differs("has no privacy lists")
def test_off_19_messages_of_contacts_only(server, enter):
    alice, bob, stranger = enter("alice"), enter("bob"), enter("stranger")
    befriend(alice, bob)
    mine, jid = alice.account.jid, bob.account.jid
    rule = "<item type='subscription' value='none' action='deny' order='1'><message/></item>"
    for order in (f"<list name='contacts'>{rule}</list>", "<default name='contacts'/>"):
        query = f"<query xmlns='jabber:iq:privacy'>{order}</query>"
        assert bob.request(query, "set").get("type") == "result"
    bob.close()
    other = enter(bob.account, is_available=False)
    refused = chat(stranger, jid, "unknown")
    assert stanza_error(stranger.wait(has_id(refused))) == ("cancel", "service-unavailable")
    chat(alice, jid, "while a contact")
    assert not [e for e in alice.ping() if e.get("type") == "error"]
    gone = ROSTER_ITEM.format(mine, "subscription='remove'", "")
    assert other.request(gone, "set").get("type") == "result"
    for _ in range(2):
        refused = chat(alice, jid, "removed")
        assert stanza_error(alice.wait(has_id(refused))) == ("cancel", "service-unavailable")
    assert [body(e) for e in offline_of(server, bob.account, 1)] == ["while a contact"]


# covers: off-22
def test_off_22_malformed_message(server, enter):
    alice, account = enter("alice"), server.account("bob")
    peer = "{}:{}".format(*alice.sock.getsockname())
    alice.write(f"<message to='{account.jid}' type='chat'><body>marker-9151</bdy></message>")
    alice.expect_stream_error("not-well-formed")
    if server.name != "prosody":
        told = [line for line in server.log_text().splitlines() if peer in line]
        assert any(alice.jid in line and "not-well-formed" in line for line in told), told
    alice = enter(alice.account)
    alice.write("<message to='@@' id='bad'><body>marker-9152</body></message>")
    assert stanza_error(alice.wait(has_id("bad"))) == ("modify", "jid-malformed")
    chat(alice, account.jid, "good")
    alice.ping()
    assert [body(e) for e in offline_of(server, account, 1)] == ["good"]
    assert "marker-915" not in server.log_text()


# covers: off-22
@pytest.mark.prosody_differs("has no records to damage one by one")
def test_off_22_damaged_record(server_with, enter):
    server = server_with()
    alice, account = enter("alice", at=server), server.account("bob")
    for text in ("one", "marker-two", "three"):
        chat(alice, account.jid, text)
    alice.ping()
    server.stop()
    server.damage_offline_record(b"marker-two")
    server.start()
    assert [body(e) for e in offline_of(server, account, 2)] == ["one", "three"]
    until(lambda: server.records_put_aside() == 1, "the damaged one is put aside")
    told = [line for line in server.log_text().splitlines() if "damaged" in line]
    assert len(told) == 1 and account.jid in told[0] and "marker" not in told[0], told
    assert offline_of(server, account, 0) == [], "put aside, not tried again"


FATE = re.compile(
    r'^(\S+) DEBUG stentor::offline: .* event="(\w+)" account=(\S+)(?: from="(.*?)")?(?: id="(.*?)")?'
    r' bytes=(\d+) reason="([\w ]+)"$',
    re.MULTILINE,
)


def stored_count(server, account):
    """How many messages are stored (XEP-0013 §2.2)."""
    node = "http://jabber.org/protocol/offline"
    info = f"<query xmlns='http://jabber.org/protocol/disco#info' node='{node}'/>"
    with login(server, account, is_available=False) as stream:
        fields = stream.request(info).iter("{jabber:x:data}field")
        (count,) = [f[0].text for f in fields if f.get("var") == "number_of_messages"]
        return int(count)


def fates(server):
    """What the log says of stored messages: event, account, sender, id and reason of each."""
    return [(m[2], m[3], m[4], m[5], m[7]) for m in FATE.finditer(server.log_text()) if int(m[6])]


# covers: off-23
@pytest.mark.prosody_differs("logs nothing of them")
def test_off_23_log(server_with, enter):
    server = server_with(offline_messages_max=4, offline_days=2, has_own_clock=True)
    alice, account = enter("alice", at=server), server.account("bob")
    sent = [chat(alice, account.jid, "secret-23 stored") for _ in range(2)]
    shy = enter(account, "shy", -1, at=server)
    sent.append(chat(alice, account.jid, "secret-23 for who is shy"))
    alice.ping()
    shy.close()
    # Some come too late, some are taken back or come from who is blocked by then.
    carol = enter("carol", at=server)
    sent.append(chat(carol, account.jid, "secret-23 of one who is blocked"))
    carol.ping()
    over = chat(alice, account.jid, "secret-23 too many")
    assert stanza_error(alice.wait(has_id(over))) == ("cancel", "service-unavailable")
    with login(server, account, is_available=False) as bob:
        bob.request(f"<block xmlns='urn:xmpp:blocking'><item jid='{carol.account.jid}'/></block>", "set")
        bob.close()
    got = offline_of(server, account, 3)
    assert [e.get("id") for e in got] == sent[:3]
    # They leave the store once the end of his stream says that he has them.
    until(lambda: stored_count(server, account) == 0, "his messages have left the store")
    late = chat(alice, account.jid, "secret-23 late")
    alice.ping()

    def fate(event, sender, ident, reason):
        return (event, account.jid, str(sender.jid), ident, reason)

    stored = [fate("offline_stored", alice, ident, "no resource") for ident in sent[:2]]
    stored.append(fate("offline_stored", alice, sent[2], "negative priority"))
    stored.append(fate("offline_stored", carol, sent[3], "no resource"))
    refused = fate("offline_rejected", alice, over, "quota")
    delivered = [fate("offline_delivered", alice, ident, "available") for ident in sent[:3]]
    blocked = fate("offline_discarded", carol, sent[3], "blocked")
    kept = fate("offline_stored", alice, late, "no resource")
    assert fates(server) == [*stored, refused, *delivered, blocked, kept]
    counted = server.counted()
    assert {name: n for name, n in counted.items() if name.startswith("offline_")} == {
        "offline_stored": 5,
        "offline_delivered": 3,
        "offline_rejected": 1,
        "offline_expired": 0,
        "offline_discarded": 1,
    }
    server.clock.put_forward(49)
    server.reload()
    until(lambda: server.counted()["offline_expired"] == 1, "it has expired")
    assert fates(server)[-1] == fate("offline_expired", alice, late, "expired")
    assert server.waiting_messages(account) == 0
    assert "secret-23" not in server.log_text()


# covers: off-28
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_off_28_restart_before_delivery(server_with, enter, end):
    server = server_with()
    sender, account = server.account("alice"), server.account("bob")
    dice = random.Random(28)
    acknowledged, texts = 0, [str(n) for n in range(200)]
    for _ in range(3):
        with login(server, sender) as alice:
            for text in texts[acknowledged : acknowledged + 20 + dice.randrange(20)]:
                chat(alice, account.jid, text)
                acknowledged += 1
            alice.ping()
            # Some more are on their way when the end comes, and may be kept or not.
            for n in range(dice.randrange(1, 20)):
                chat(alice, account.jid, f"unacknowledged {n}")
            getattr(server, end)()
        server.start()
    first = offline_of(server, account, acknowledged)
    known = [e for e in first if not body(e).startswith("un")]
    assert [body(e) for e in known] == texts[:acknowledged]
    stamps = [time_of(e) for e in first]
    assert all(stamps) and stamps == sorted(stamps)
    with login(server, sender) as alice:
        chat(alice, account.jid, "later")
        alice.ping()
    (later,) = offline_of(server, account, 1)
    assert time_of(later) >= stamps[-1] and body(later) == "later"


# covers: off-28
@pytest.mark.parametrize("version", [3, 6])
@pytest.mark.prosody_differs("has no migrations of ours")
def test_off_28_upgrade_before_delivery(server_with, enter, version):
    server = server_with()
    alice, account = enter("alice", at=server), server.account("bob")
    hint = "<no-permanent-store xmlns='urn:xmpp:hints'/>"
    for n in range(20):
        text = f"<body>{n}</body>{hint}"
        alice.write(f"<message to='{account.jid}' type='chat'>{text}</message>")
    alice.ping()
    server.stop()
    times = server.downgrade(version)
    assert len(times) == 20
    server.start()
    got = offline_of(server, account, 20)
    assert [body(e) for e in got] == [str(n) for n in range(20)]
    assert [stamp(e) for e in got] == times, "the stamps of the older release"
    assert offline_of(server, account, 0) == []


# covers: off-28
@pytest.mark.prosody_differs("is not run on a disk of its own")
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_off_28_full_disk_before_delivery(server_with, enter, end):
    server = server_with(disk_mib=16)
    sender, account = server.account("alice"), server.account("bob")
    kept = []
    with login(server, sender) as alice:
        for n in range(20):
            kept.append((chat(alice, account.jid, f"before {n}"), f"before {n}"))
        alice.ping()
        server.disk.fill()
        refused = 0
        for n in range(60):
            ident = chat(alice, account.jid, f"{n} " + "x" * 60_000)
            errors = {e.get("id"): stanza_error(e) for e in alice.ping() if e.tag == MESSAGE}
            if ident in errors:
                told = errors[ident]
                assert told[1] in ("resource-constraint", "internal-server-error"), told
                refused += 1
            else:
                kept.append((ident, f"{n} " + "x" * 60_000))
        assert refused > 0
        server.disk.free()
        kept.append((chat(alice, account.jid, "room again"), "room again"))
        assert not [e for e in alice.ping() if e.tag == MESSAGE]
        getattr(server, end)()
    server.start()
    got = offline_of(server, account, len(kept))
    assert [(e.get("id"), body(e)) for e in got] == kept
    stamps = [time_of(e) for e in got]
    assert all(stamps) and stamps == sorted(stamps)


@pytest.mark.prosody_differs("has no quota")
def test_off_31_storage_quota(server_with, enter):
    server = server_with(offline_messages_max=100)
    alice, account = enter("alice", at=server), server.account("bob")
    for n in range(100):
        chat(alice, account.jid, str(n))
    assert alice.ping() == []
    ident = chat(alice, account.jid, "too many")
    assert stanza_error(alice.wait(has_id(ident))) == ("cancel", "service-unavailable")
    other = server.account("carol")
    chat(alice, other.jid, "another's room")
    assert alice.ping() == []
    assert [body(e) for e in offline_of(server, account, 100)] == [str(n) for n in range(100)]
    until(lambda: server.waiting_messages(account) == 0, "the server knows that he has them")
    chat(alice, account.jid, "room again")
    assert alice.ping() == []
    assert [body(e) for e in offline_of(server, account, 1)] == ["room again"]


def test_off_32_large_message(server_with, enter, prosody_differs):
    # covers: off-32
    limit = 100_000
    server = server_with(stanza_bytes_max=limit)
    alice, carol = enter("alice", at=server), enter("carol", at=server)
    account = server.account("bob")

    def sized(size, fill="x"):
        head = f"<message to='{account.jid}' type='chat' id='big'><body>"
        tail = "</body></message>"
        return head + fill * (size - len(head) - len(tail)) + tail

    full = sized(limit)
    alice.write(full)
    alice.ping()
    (got,) = offline_of(server, account, 1)
    assert body(got) == full.split("<body>")[1].split("</body>")[0]
    alice.write_carelessly(sized(limit * 2))
    alice.expect_stream_error("policy-violation")
    alice = enter(alice.account, at=server)
    alice.write_carelessly(sized(limit + 1))
    with prosody_differs("counts in pieces of its reads"):
        alice.expect_stream_error("policy-violation")
    offline_of(server, account, 0)

    alice = enter(alice.account, at=server)
    for n in range(100):
        alice.write(sized(limit - 100, str(n % 10)))
    alice.ping()
    bob = enter(account, at=server, is_available=False)
    with server.memory_bounded(32 << 10):
        bob.write("<presence/>")
        bob.wait(lambda e: e.tag == MESSAGE)
        # The rest is on its way to one who does not read. The best of several counts, since the
        # machine may be busy with other things.
        assert min(ping_secs(carol) for _ in range(5)) < 0.5
        alice.ping()
    for n in range(1, 100):
        assert body(bob.wait(lambda e: e.tag == MESSAGE))[:1] == str(n % 10)


# covers: off-35
@pytest.mark.prosody_differs("suspends no accounts")
def test_off_35_suspended_account(server_with, enter):
    server = server_with()
    alice, bob = enter("alice", at=server), enter("bob", at=server)
    account = bob.account
    befriend(alice, bob)
    bob.write("<presence type='unavailable'/>")
    bob.ping()
    chat(alice, account.jid, "before")
    alice.ping()
    shy = enter(account, "shy", -1, at=server)
    alice.wait(lambda e: is_presence(e, shy.jid))
    server.suspend_account(account, True)
    for session in (bob, shy):
        session.expect_stream_error("policy-violation")
    alice.wait(lambda e: is_presence(e, shy.jid, "unavailable"))
    for to in (account.jid, shy.jid):
        for kind in ("chat", "normal", None):
            ident = chat(alice, to, "during", kind)
            assert stanza_error(alice.wait(has_id(ident))) == ("cancel", "service-unavailable")
    alice.write(f"<presence type='probe' to='{account.jid}'/>")
    (answer,) = [e for e in alice.ping() + alice.ping() if e.tag == PRESENCE]
    assert is_presence(answer, account.jid, "unavailable")
    for mechanism in ("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"):
        with pytest.raises(SaslFailure, match="account-disabled"):
            login(server, account, mechanism=mechanism)
    assert alice.roster()[account.jid].get("subscription") == "both"
    server.restart()
    with pytest.raises(SaslFailure, match="account-disabled"):
        login(server, account)
    server.suspend_account(account, False)
    assert [body(e) for e in offline_of(server, account, 1)] == ["before"]
    with login(server, account) as bob, login(server, alice.account) as alice:
        assert bob.roster()[alice.account.jid].get("subscription") == "both"
        assert alice.roster()[account.jid].get("subscription") == "both"


def test_off_36_deleted_account(server_with, enter, prosody_differs):
    server = server_with()
    alice, bob = enter("alice", at=server), enter("bob", at=server)
    account = bob.account
    alice.roster()
    befriend(alice, bob)
    bob.request(
        "<query xmlns='jabber:iq:roster'><item jid='x@example' name='marker-3601'/></query>", "set"
    )
    bob.request("<vCard xmlns='vcard-temp'><FN>marker-3602</FN></vCard>", "set")
    chat(bob, account.jid, "marker-3605")
    bob.ping()
    bob.close()
    # Her archive keeps what she wrote, unless she does not want that.
    hint = "<no-permanent-store xmlns='urn:xmpp:hints'/>"
    text = f"<body>marker-3603</body>{hint}"
    alice.write(f"<message to='{account.jid}' type='chat'>{text}</message>")
    alice.ping()
    server.delete_account(account)
    with prosody_differs("tells a running server nothing"):
        alice.wait(is_push(account.jid, "none"))
        ident = chat(alice, account.jid, "marker-3604")
        assert stanza_error(alice.wait(has_id(ident))) == ("cancel", "service-unavailable")
    server.stop()
    left = [
        path
        for path in (server.folder / "data").rglob("*")
        if path.is_file() and b"marker-360" in path.read_bytes()
    ]
    assert left == []
    server.start()
    server.create_account(account)
    with login(server, account) as again:
        assert again.roster() == {} and bodies(collect(again)) == []
        answer = again.request("<vCard xmlns='vcard-temp'/>")
        assert b"marker" not in bytes(again.received), answer


# covers: msg-29
@pytest.mark.prosody_differs("keeps its data in other ways")
def test_msg_29_delay_inside_the_server(server_with, enter):
    server, delay_secs = server_with(), 3
    alice, bob, dora = (enter(name, at=server) for name in ("alice", "bob", "dora"))
    carol = server.account("carol")
    texts = [str(n) for n in range(20)]
    with server.slow_store(delay_secs):
        begun, times = time.monotonic(), []
        for text in texts:
            times.append(datetime.now(UTC))
            chat(alice, bob.jid, text)
            chat(alice, carol.jid, text)
            assert answers_soon(dora), "others wait"
        seen = bob.until(is_chat(texts[-1]), delay_secs + 1)
        assert bodies(seen) == texts
        assert not [e for e in seen if child(e, DELAY, "delay") is not None], "it was not stored"
        # What was sent is answered for when it is on disk.
        alice.write("<iq type='get' id='written'><ping xmlns='urn:xmpp:ping'/></iq>")
        while not any(has_id("written")(e) for e in alice.elements):
            assert answers_soon(dora), "others wait"
            alice.peek()
            assert time.monotonic() - begun < 10 * delay_secs
        assert time.monotonic() - begun > delay_secs / 2, "nothing was delayed"
    got = offline_of(server, carol, len(texts))
    assert bodies(got) == texts
    for message, time_sent in zip(got, times):
        late = datetime.fromisoformat(stamp(message)) - time_sent
        assert abs(late.total_seconds()) < delay_secs / 2, "the time of sending"


def test_msg_05_messages_keep_their_order(server, enter):
    alice, bob = enter("alice"), enter("bob")
    subscribe(bob, alice)
    texts = [f"{n} " + "x" * (20_000 if n % 10 == 0 else n % 7) for n in range(1000)]
    parts = []
    for n, text in enumerate(texts):
        parts.append(f"<message to='{bob.jid}' type='chat'><body>{text}</body></message>")
        if n % 9 == 0:
            parts.append(f"<presence><status>{n}</status></presence>")
        if n % 11 == 0:
            parts.append(f"<iq type='get' id='i{n}'><ping xmlns='urn:xmpp:ping'/></iq>")
    for start in range(0, len(parts), 100):
        alice.write("".join(parts[start : start + 100]))
        bob.peek()
    seen = bob.until(is_chat(texts[-1]))
    assert bodies(seen) == texts
    statuses = [e.findtext(q(CLIENT, "status")) for e in seen + delivered(alice, bob)]
    statuses = [int(s) for s in statuses if s]
    assert statuses == sorted(statuses) and statuses[-1] == 999
