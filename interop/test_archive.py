"""Archives (XEP-0313): pages, filters, ids, preferences, hints, and what libraries make of them."""

import pytest

from clients.lines import Slixmpp, Stanza, XmppJs
from harness.names import DELAY, IQ, MESSAGE, body, child, q, stanza_error
from harness.raw import login
from harness.scenes import befriend, chat, is_chat
from harness.waiting import Deadline

ARCHIVE = "urn:xmpp:mam:2"
FORWARD = "urn:xmpp:forward:0"
PAGES = "http://jabber.org/protocol/rsm"
SID = "urn:xmpp:sid:0"
HINTS = "urn:xmpp:hints"
RETRACT = "urn:xmpp:message-retract:1"


def query(stream, page="", to="", flip=False, **fields):
    """Asks an archive; results, the element <fin/>, or the error."""
    values = {"FORM_TYPE": ARCHIVE} | {name.replace("_", "-"): v for name, v in fields.items()}
    form = "".join(
        f"<field var='{name}'>{_values(value)}</field>" for name, value in values.items()
    )
    set_ = f"<set xmlns='{PAGES}'>{page}</set>" if page else ""
    stream.count = getattr(stream, "count", 0) + 1
    ident = f"q{stream.count}"
    to = f" to='{to}'" if to else ""
    stream.write(
        f"<iq type='set' id='{ident}'{to}><query xmlns='{ARCHIVE}' queryid='{ident}'>"
        f"<x xmlns='jabber:x:data' type='submit'>{form}</x>{set_}"
        f"{'<flip-page/>' if flip else ''}</query></iq>"
    )
    seen = stream.until(lambda e: e.tag == IQ and e.get("id") == ident)
    answer = seen.pop()
    results = [
        Result(e) for e in seen if e.tag == MESSAGE and child(e, ARCHIVE, "result") is not None
    ]
    assert all(r.query == ident for r in results)
    if answer.get("type") == "error":
        return results, stanza_error(answer)
    return results, child(answer, ARCHIVE, "fin")


def _values(value):
    """One value or a list of them, as in a form."""
    values = value if isinstance(value, list) else [value]
    return "".join(f"<value>{value}</value>" for value in values)


class Result:
    """One message of an archive."""

    def __init__(self, message):
        result = child(message, ARCHIVE, "result")
        forwarded = child(result, FORWARD, "forwarded")
        self.query, self.id = result.get("queryid"), result.get("id")
        self.stamp = child(forwarded, DELAY, "delay").get("stamp")
        self.message = child(forwarded, "jabber:client", "message")
        self.text = body(self.message)


def ends(fin):
    page = child(fin, PAGES, "set")
    return tuple(page.findtext(q(PAGES, name)) for name in ("first", "last", "count"))


def texts(results):
    return [r.text for r in results]


# covers: xml-43
def test_xml_43_archive_query(enter):
    alice, bob = enter("alice"), enter("bob")
    sent = [str(n) for n in range(25)]
    for text in sent:
        chat(alice, bob.jid, text)
    bob.until(lambda e: e.tag == MESSAGE and body(e) == sent[-1])
    forward, after = [], ""
    while True:
        results, fin = query(bob, f"<max>10</max>{after}")
        forward += results
        first, last, count = ends(fin)
        assert (first, last, count) == (results[0].id, results[-1].id, "25")
        if fin.get("complete") == "true":
            break
        after = f"<after>{last}</after>"
    assert texts(forward) == sent
    backward, before = [], "<before/>"
    while True:
        results, fin = query(bob, f"<max>10</max>{before}")
        backward = results + backward
        if fin.get("complete") == "true":
            break
        before = f"<before>{ends(fin)[0]}</before>"
    assert [r.id for r in backward] == [r.id for r in forward]
    last_page, _ = query(bob, "<max>10</max><before/>")
    assert texts(last_page) == sent[-10:]
    flipped, _ = query(bob, "<max>10</max><before/>", flip=True)
    assert texts(flipped) == sent[-10:][::-1]
    middle = forward[12]
    results, _ = query(bob, start=middle.stamp)
    assert all(r.stamp >= middle.stamp for r in results) and middle.id in [r.id for r in results]
    results, _ = query(bob, end=middle.stamp)
    assert all(r.stamp <= middle.stamp for r in results) and middle.id in [r.id for r in results]
    results, _ = query(bob, **{"with": alice.account.jid})
    assert texts(results) == sent
    results, _ = query(bob, **{"with": "nobody@example.org"})
    assert results == []
    assert query(bob, "<after>nothing</after>") == ([], ("cancel", "item-not-found"))
    assert query(bob, after_id="nothing") == ([], ("cancel", "item-not-found"))
    assert query(alice, to=bob.account.jid) == ([], ("auth", "forbidden"))
    theirs = f"<after>{forward[0].id}</after>"
    assert query(alice, theirs) == ([], ("cancel", "item-not-found"))


# covers: xep-05
def test_xep_05_everything_once_under_its_stanza_id(enter):
    alice, bob, carol = enter("alice"), enter("bob"), enter("carol")
    for peer in (alice, carol):
        befriend(peer, bob)
    came, expected = [], []
    for n in range(10):
        for kind in ("chat", "normal", None):
            text = f"{n} {kind}"
            peer = (alice, carol)[n % 2]
            chat(peer, bob.jid if n % 3 else bob.account.jid, f"in {text}", kind)
            came.append(bob.wait(is_chat(f"in {text}")))
            chat(bob, peer.jid, f"out {text}", kind)
            peer.wait(is_chat(f"out {text}"))
            expected += [f"in {text}", f"out {text}"]
    results = everything(bob)
    assert texts(results) == expected
    assert len({r.id for r in results}) == len(results)
    shown = [sid_of(e, bob.account.jid) for e in came]
    assert shown == [r.id for r in results if r.text.startswith("in ")]
    assert all((r.message.get("from") == bob.jid) == r.text.startswith("out ") for r in results)


# covers: xep-05
def test_xep_05_filters_fields_and_metadata(enter):
    alice, bob, carol = enter("alice"), enter("bob"), enter("carol")
    for n in range(20):
        sender = (alice, carol)[n % 4 == 3]
        chat(sender, bob.jid, str(n))
        bob.wait(is_chat(str(n)))
    results = everything(bob)
    ids, sent = [r.id for r in results], [str(n) for n in range(20)]
    assert texts(results) == sent
    of_carol = [text for n, text in enumerate(sent) if n % 4 == 3]

    form = bob.request(f"<query xmlns='{ARCHIVE}'/>")
    fields = {e.get("var") for e in form.iter("{jabber:x:data}field")}
    assert {"with", "start", "end", "before-id", "after-id", "ids"} <= fields

    def found(page="", flip=False, **wanted):
        return texts(query(bob, page, flip=flip, **wanted)[0])

    for jid in (carol.account.jid, carol.jid):
        assert found(**{"with": jid}) == of_carol
    assert found(**{"with": f"{carol.account.jid}/other"}) == []
    assert found(after_id=ids[4], before_id=ids[8]) == sent[5:8]
    assert found(ids=[ids[3], ids[11]]) == [sent[3], sent[11]]
    within = [r.text for r in results if results[5].stamp <= r.stamp <= results[9].stamp]
    assert found(start=results[5].stamp, end=results[9].stamp) == within
    both = {"with": carol.account.jid, "after_id": ids[4]}
    assert found(**both) == of_carol[1:]
    assert found("<max>4</max>", **both) == of_carol[1:5]
    assert found("<max>2</max><before/>", **both) == of_carol[-2:]
    assert found("<max>2</max><before/>", flip=True, **both) == of_carol[:-3:-1]
    assert found(f"<max>3</max><after>{ids[9]}</after>") == sent[10:13]
    assert found(f"<max>3</max><before>{ids[9]}</before>") == sent[6:9]
    _, fin = query(bob, "<max>0</max>")
    assert ends(fin) == (None, None, "20")
    assert query(bob, ids=["nothing"])[1] == ("cancel", "item-not-found")

    metadata = bob.request(f"<metadata xmlns='{ARCHIVE}'/>")[0]
    for name, result in (("start", results[0]), ("end", results[-1])):
        end = child(metadata, ARCHIVE, name)
        assert (end.get("id"), end.get("timestamp")) == (result.id, result.stamp)
    assert len(enter("nobody").request(f"<metadata xmlns='{ARCHIVE}'/>")[0]) == 0
    assert query(alice, to=bob.account.jid) == ([], ("auth", "forbidden"))
    for payload in (f"<metadata xmlns='{ARCHIVE}'/>", f"<prefs xmlns='{ARCHIVE}'/>"):
        refused = alice.request(payload, to=bob.account.jid)
        assert stanza_error(refused) == ("auth", "forbidden")


# covers: xep-05
def test_xep_05_preferences(enter):
    bob, friend, stranger = enter("bob"), enter("friend"), enter("stranger")
    befriend(friend, bob)
    friendly, strange = friend.account.jid, stranger.account.jid
    table = [
        ("always", [], [], [friendly, strange]),
        ("never", [], [], []),
        ("roster", [], [], [friendly]),
        ("always", [], [strange], [friendly]),
        ("never", [strange], [], [strange]),
        ("roster", [strange], [friendly], [strange]),
    ]
    for default, always, never, kept in table:
        wish = "".join(
            f"<{name}>{''.join(f'<jid>{jid}</jid>' for jid in jids)}</{name}>"
            for name, jids in (("always", always), ("never", never))
        )
        answer = bob.request(f"<prefs xmlns='{ARCHIVE}' default='{default}'>{wish}</prefs>", "set")
        assert answer.get("type") == "result"
        prefs = child(bob.request(f"<prefs xmlns='{ARCHIVE}'/>"), ARCHIVE, "prefs")
        assert prefs.get("default") == default
        listed = [[e.text for e in child(prefs, ARCHIVE, name)] for name in ("always", "never")]
        assert listed == [always, never]
        before = len(everything(bob))
        for sender in (friend, stranger):
            chat(sender, bob.jid, f"{default} {sender.jid}")
            bob.wait(is_chat(f"{default} {sender.jid}"))
        senders = [r.message.get("from").split("/")[0] for r in everything(bob)[before:]]
        assert senders == kept, (default, always, never)


# covers: xep-05
def test_xep_05_last_page_of_100000(enter):
    alice, bob = enter("alice"), enter("bob")
    answer = alice.request(f"<prefs xmlns='{ARCHIVE}' default='never'/>", "set")
    assert answer.get("type") == "result"
    count, step = 100_000, 500
    for start in range(0, count, step):
        bob.write(
            "".join(
                f"<message to='{alice.jid}' type='chat'><body>{n}</body></message>"
                for n in range(start, start + step)
            )
        )
        alice.wait(is_chat(str(start)))
    bob.ping()
    query(bob, "<max>1</max>")
    for wanted in ({}, {"with": alice.account.jid}):
        soon = Deadline(0.2)
        results, fin = query(bob, "<max>50</max><before/>", **wanted)
        assert not soon.is_over()
        assert texts(results) == [str(n) for n in range(count - 50, count)]
        # XEP-0059 §2.6: the count may be left out, as where it would have to be counted.
        assert ends(fin)[2] in ((str(count),) if not wanted else (str(count), None))


def everything(stream):
    """All of the own archive, page by page."""
    found, after = [], ""
    while True:
        results, fin = query(stream, f"<max>50</max>{after}")
        found += results
        if fin.get("complete") == "true":
            return found
        after = f"<after>{ends(fin)[1]}</after>"


def sid_of(message, by):
    """The id that an account gave a message."""
    (ident,) = [e.get("id") for e in message.findall(q(SID, "stanza-id")) if e.get("by") == by]
    return ident


def test_xep_39_ids_are_those_of_the_archive(enter):
    alice, bob = enter("alice"), enter("bob")
    forged = f"<stanza-id xmlns='{SID}' by='{bob.account.jid}' id='forged'/>"
    alice.write(f"<message to='{bob.jid}' type='chat' id='m'><body>x</body>{forged}</message>")
    came = bob.wait(lambda e: e.tag == MESSAGE and e.get("id") == "m")
    ids = [e.get("id") for e in came.findall(q(SID, "stanza-id")) if e.get("by") == bob.account.jid]
    assert ids == [query(bob)[0][0].id] != ["forged"]


# covers: off-40
def test_off_40_offline_and_archive(server, enter):
    alice, carol, account = enter("alice"), enter("carol"), server.account("bob")
    never = f"<never><jid>{carol.account.jid}</jid></never>"
    with login(server, account, is_available=False) as bob:
        answer = bob.request(f"<prefs xmlns='{ARCHIVE}' default='always'>{never}</prefs>", "set")
        assert answer.get("type") == "result"
        bob.close()
    chat(alice, account.jid, "kept")
    hint = f"<no-permanent-store xmlns='{HINTS}'/>"
    alice.write(f"<message to='{account.jid}' type='chat'><body>for now</body>{hint}</message>")
    alice.ping()
    chat(carol, account.jid, "not wanted")
    carol.ping()
    bob = enter(account, is_available=False)
    before, _ = query(bob)
    assert texts(before) == ["kept"]
    bob.write("<presence/>")
    seen = bob.until(lambda e: e.tag == MESSAGE and body(e) == "not wanted")
    late = {body(e): e for e in seen if e.tag == MESSAGE}
    assert list(late) == ["kept", "for now", "not wanted"]
    ids = {text: child(e, SID, "stanza-id") for text, e in late.items()}
    assert ids["kept"].get("id") == before[0].id
    assert ids["for now"] is None and ids["not wanted"] is None
    bob.ping()
    # They have left the offline store, and nothing has left the archive.
    with login(server, account) as again:
        assert [body(e) for e in again.ping() if e.tag == MESSAGE] == []
        assert [r.id for r in query(again)[0]] == [before[0].id]


def test_msg_33_a_tombstone_for_a_new_device(server, enter):
    alice, bob, carol = enter("alice"), enter("bob"), enter("carol")
    alice.write(f"<message to='{bob.jid}' type='chat' id='m1'><body>palmers</body></message>")
    bob.until(lambda e: e.get("id") == "m1")
    retract = f"<retract xmlns='{RETRACT}' id='m1'/>"
    carol.write(f"<message to='{bob.jid}' type='chat' id='forged'>{retract}</message>")
    bob.until(lambda e: e.get("id") == "forged")
    assert "palmers" in texts(query(bob)[0]), "another one takes nothing back"
    alice.write(f"<message to='{bob.jid}' type='chat' id='r1'>{retract}</message>")
    bob.until(lambda e: e.get("id") == "r1")
    for account in (alice.account, bob.account):
        results, _ = query(enter(account))
        tombstone = child(results[0].message, RETRACT, "retracted")
        assert results[0].text is None and tombstone.get("id") == "r1"
        assert "r1" in [r.message.get("id") for r in results], "the retraction stays"


# covers: xep-05
@pytest.mark.parametrize("library", [Slixmpp, XmppJs, Stanza], ids=lambda library: library.kind)
def test_libraries_see_the_same_history(server, enter, library):
    alice = enter("alice")
    account = server.account("bob")
    sent = [f"message {n}" for n in range(25)]
    for text in sent:
        chat(alice, account.jid, text)
    alice.ping()
    with library(server, account, "starttls") as client:
        client.sign_in()
        history = client.history(alice.account.jid)
    assert [item["body"] for item in history] == sent
    bob = enter(account)
    first, fin = query(bob, "<max>50</max>", **{"with": alice.account.jid})
    assert [r.id for r in first] == [item["id"] for item in history]
    assert fin.get("complete") == "true"
