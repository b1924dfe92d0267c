"""What goes in comes out equal, by whatever way; and what is no XML goes nowhere."""

import copy
from xml.etree.ElementTree import canonicalize, fromstring, tostring

import pytest

from harness.names import CLIENT, DELAY, IQ, MESSAGE, PRESENCE, body, child, is_presence, q
from harness.raw import XML, RawStream, header, login
from harness.scenes import delivered, flood, has_id, subscribe

CARBONS = "urn:xmpp:carbons:2"
SID = "urn:xmpp:sid:0"
DEEP = "".join(f"<l{n}>text {n} " for n in range(30)) + "".join(
    f" tail {n}</l{n}>" for n in reversed(range(30))
)
UNICODE = "Привет 漢字 مرحبا e\u0301 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f600 a\ufeffb"

# By row: what a message holds.
MESSAGES = {
    "xml-03": f"<body>x</body><a xmlns='urn:example:a'>{DEEP}</a><b xmlns='urn:example:b' y='1'/>"
    "<c xmlns='urn:example:c'>1<d/>2<d xmlns='urn:example:d'/>3</c>",
    "xml-07": "<body>a&amp;b &lt;b>\"x\"&lt;/b> ']]&gt;'</body>",
    "xml-09": f"<body>{UNICODE}</body><subject>{UNICODE}</subject>",
    "xml-16": "<body>one\ntwo\r\nthree\rfour&#13;five</body><x xmlns='urn:example:x' y='a\nb\tc'/>",
    "xml-26": "<body>x</body><ticket xmlns='urn:example:shop'><no for='1'>5</no></ticket>",
    "off-07": "<body>x</body><html xmlns='http://jabber.org/protocol/xhtml-im'>"
    "<body xmlns='http://www.w3.org/1999/xhtml'><p style='color:red'>x</p></body></html>",
    "off-12": "<body>x</body><headers xmlns='http://jabber.org/protocol/shim'>"
    "<header name='Urgency'>high</header></headers>",
    "off-20": "<body>x</body><mood xmlns='http://jabber.org/protocol/mood'><happy/></mood>"
    "<status>here</status>",
    "off-26": f"<body>x</body><origin-id xmlns='{SID}' id='o-1'/>",
    "off-47": "<body>x</body><time xmlns='urn:xmpp:time'><tzo>+05:30</tzo>"
    "<utc>2026-01-02T03:04:05Z</utc></time>",
    "off-48": "<body xml:lang='en'>yes</body><body xml:lang='de'>ja</body>",
}
# By row: what presence holds.
PRESENCES = {
    "presence-07": "<status>Back at 5</status><status xml:lang='de'>Zurück um 5</status>",
    "presence-10": "<show>invisible</show>",
    "presence-22": "<x xmlns='urn:example:badge' level='3'><y/></x>",
    "presence-23": f"<status>{UNICODE}</status>",
    "presence-25": f"<status>{'long ' * 1000}</status>",
    "presence-28": f"<delay xmlns='{DELAY}' stamp='2026-01-02T03:04:05Z'/>"
    "<idle xmlns='urn:xmpp:idle:1' since='2026-01-02T03:04:05Z'/>",
}


def inside(stanza):
    """The children of a stanza in canonical form, without what the account's server added."""
    stanza = copy.deepcopy(stanza)
    for added in (*stanza.findall(q(SID, "stanza-id")), *stanza.findall(q(DELAY, "delay"))):
        if added.get("by") or added.get("from"):
            stanza.remove(added)
    return [canonicalize(tostring(e, "unicode").strip()) for e in stanza]


def as_written(name, xml):
    return inside(fromstring(f"<{name} xmlns='{CLIENT}'>{xml}</{name}>"))


@pytest.mark.parametrize("row", MESSAGES)
def test_messages_come_out_as_they_went_in(server, enter, row):
    alice, bob = enter("alice"), enter("bob")
    other, away = enter(bob.account), server.account("carol")
    assert other.request(f"<enable xmlns='{CARBONS}'/>", "set").get("type") == "result"
    written, expected = MESSAGES[row], as_written("message", MESSAGES[row])
    for to in (bob.jid, away.jid):
        alice.write(f"<message to='{to}' type='chat' id='m' xml:lang='fr'>{written}</message>")
    alice.ping()
    ways = {"live": bob.wait(has_id("m"))}
    copied = other.wait(lambda e: child(e, CARBONS, "received") is not None)
    ways["copied"] = copied.find(f".//{q(CLIENT, 'message')}")
    if server.name != "prosody":
        bob.write("<iq type='set' id='h'><query xmlns='urn:xmpp:mam:2'/></iq>")
        (result,) = [e for e in bob.until(has_id("h")) if e.tag == MESSAGE]
        ways["archived"] = result.find(f".//{q(CLIENT, 'message')}")
    with login(server, away, is_available=False) as carol:
        carol.write("<presence/>")
        ways["stored"] = carol.wait(has_id("m"))
        carol.close()
    for way, message in ways.items():
        assert inside(message) == expected, way
        assert (message.get("id"), message.get(q(XML, "lang"))) == ("m", "fr"), way


@pytest.mark.parametrize("row", PRESENCES)
def test_presence_comes_out_as_it_went_in(enter, row):
    alice, bob = enter("alice"), enter("bob")
    subscribe(bob, alice)
    expected = as_written("presence", PRESENCES[row])
    alice.write(f"<presence id='p'>{PRESENCES[row]}</presence>")
    ways = {"echo": alice.wait(has_id("p")), "broadcast": bob.wait(has_id("p"))}
    bob.write(f"<presence type='probe' to='{alice.account.jid}'/>")
    ways["probe"] = bob.wait(lambda e: is_presence(e, alice.jid))
    ways["sign-in"] = enter(bob.account, is_available=False)
    ways["sign-in"].write("<presence/>")
    ways["sign-in"] = ways["sign-in"].wait(lambda e: is_presence(e, alice.jid))
    carol = enter("carol")
    carol.write(f"<presence type='subscribe' to='{alice.account.jid}'/>")
    alice.wait(lambda e: is_presence(e, carol.account.jid, "subscribe"))
    alice.write(f"<presence type='subscribed' to='{carol.account.jid}'/>")
    ways["subscribed"] = carol.wait(lambda e: is_presence(e, alice.jid))
    for way, presence in ways.items():
        assert inside(presence) == expected, way


@pytest.mark.parametrize(
    "text", ["\x01", "\ufffe", "&#x0;", "&#x1;", "&#xD800;", "&#xFFFE;", "a < b", "a & b", "]]>"]
)
def test_what_is_no_xml_goes_nowhere(enter, text):
    """xml-07, xml-18."""
    alice, bob = enter("alice"), enter("bob")
    alice.write(f"<message to='{bob.jid}'><body>{text}</body></message>")
    alice.expect_stream_error("not-well-formed")
    assert delivered(enter(alice.account), bob) == []


def test_xml_03_nesting_has_an_end(server, enter):
    alice, bob = enter("alice"), enter("bob")
    with server.memory_bounded(1 << 10 if server.name != "prosody" else 64 << 10):
        alice.write(f"<message to='{bob.jid}'>")
        flood(alice, b"<a>" * 1000, 64 << 20)
        alice.expect_stream_error("policy-violation", prosody="not-well-formed")
    assert bob.ping() == []


def test_xml_22_characters_cut_in_pieces(server, enter):
    alice, bob = enter("alice"), enter("bob")
    message = f"<message to='{bob.jid}' id='cut'><body>\u00e4\u6f22\U0001f600</body></message>"
    for byte in message.encode():
        alice.write(bytes([byte]))
    assert body(bob.wait(has_id("cut"))) == "\u00e4\u6f22\U0001f600"
    assert not alice.received.startswith(b"\xef\xbb\xbf") and alice.received.decode()
    with RawStream(server, "tls") as stream:
        stream.write(b"\xef\xbb\xbf" + header(server.domain).encode())
        stream.expect_stream_error("not-well-formed")


def test_xml_36_legacy_session_establishment(server, enter):
    session = "urn:ietf:params:xml:ns:xmpp-session"
    account = server.account("alice")
    with RawStream(server, "tls") as stream:
        stream.secure()
        stream.sign_in(account)
        assert f"<session xmlns='{session}'><optional/></session>".encode() in stream.received
        stream.bind()
        for _ in range(2):
            answer = stream.request(f"<session xmlns='{session}'/>", "set")
            assert answer.get("type") == "result" and len(answer) == 0
        assert stream.ping() == []
    skipping = enter(account)
    assert skipping.ping() == []


def test_unknown_requests_are_answered_and_unknown_elements_are_not(server, enter):
    """xml-26."""
    alice, bob = enter("alice"), enter("bob")
    for kind in ("get", "set"):
        for to in (server.domain, bob.account.jid):
            answer = alice.request("<x xmlns='urn:example:x'/>", kind, to=to)
            error = child(answer, CLIENT, "error")
            assert error.get("type") == "cancel"
            assert error[0].tag.endswith("}service-unavailable"), (kind, to)
    for stanza in ("message", "presence"):
        alice.write(f"<{stanza} to='{bob.jid}'><x xmlns='urn:example:x'/></{stanza}>")
    assert [e.tag for e in delivered(alice, bob)] == [MESSAGE, PRESENCE]
    assert not [e for e in alice.ping() if e.tag != IQ]
