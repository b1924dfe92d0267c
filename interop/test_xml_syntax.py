"""What is XML and what is not, over a real connection (RFC 6120 §11)."""

import socket

import pytest

from harness.names import (
    CLIENT,
    IQ,
    PING,
    PRESENCE,
    STREAM,
    bodies,
    body,
    presences,
    q,
    stanza_error,
)
from harness.raw import RawStream, header
from harness.scenes import chat, delivered, flood, has_id, is_chat, subscribe

FORMS = "jabber:x:data"
PUSH = "urn:xmpp:push:0"
PING_X1 = f"<iq type='get' id='x1'><ping xmlns='{PING}'/></iq>"


def expect_own_header(stream, server):
    """Also before an error of the opening phase the server sends its own header."""
    assert stream.root is not None, "no stream header came"
    assert stream.root.tag == q(STREAM, "stream")
    if server.name == "prosody":
        return  # its header has no attributes then
    assert stream.root.get("version") == "1.0" and stream.root.get("id")
    assert stream.root.get("from") == server.domain


def test_xml_01_well_formed_stanza(server, enter):
    # covers: xml-01
    alice, bob = enter("alice"), enter("bob")
    others = [f"<message to='{bob.jid}' id='n{n}'><body>{n}</body></message>" for n in range(3)]
    for write in (
        lambda: [alice.write(bytes([byte])) for byte in PING_X1.encode()],
        lambda: alice.write(PING_X1),
        lambda: alice.write(others[0] + PING_X1 + others[1] + others[2]),
    ):
        write()
        answer = alice.wait(has_id("x1"))
        assert (answer.tag, answer.get("type")) == (IQ, "result")
        assert not [e for e in alice.ping() if e.get("id") == "x1"], "answered twice"
    assert bodies(delivered(alice, bob)) == ["0", "1", "2"]

    second = enter(alice.account)
    chat(second, bob.jid, "whole")
    second.write(f"<message to='{bob.jid}'><body>cut</body></messa")
    second.cut()
    bob.wait(is_chat("whole"))
    assert bodies(delivered(alice, bob)) == []


def test_xml_02_missing_closing_tag(server, enter):
    # covers: xml-02
    alice, bob, carol = enter("alice"), enter("bob"), enter("carol")
    alice.write(f"<message to='{bob.account.jid}'><body>x</message>")
    alice.expect_stream_error("not-well-formed")
    again = enter(alice.account)
    assert delivered(again, bob) == []
    assert bob.ping() == [] and carol.ping() == []


def test_xml_04_declared_namespaces(server, enter):
    alice, bob = enter("alice"), enter("bob")
    for written in (
        "<q:foo xmlns:q='urn:example:a'/>",
        "<foo xmlns='urn:example:a'/>",
        "<q:foo xmlns:q='urn:example:a' xmlns='urn:example:b'/>",
    ):
        alice.write(f"<message to='{bob.jid}' id='ns'>{written}</message>")
        assert [e.tag for e in bob.wait(has_id("ns"))] == [q("urn:example:a", "foo")]
    alice.write(
        f"<message xmlns:p='urn:example:p' to='{bob.jid}' id='deep'>"
        "<a xmlns='urn:example:a'><p:b><c xmlns=''/><d/></p:b></a></message>"
    )
    tags = [e.tag for e in bob.wait(has_id("deep")).iter()][1:]
    assert tags == ["{urn:example:a}a", "{urn:example:p}b", "c", "{urn:example:a}d"]
    alice.write(f"<c:iq xmlns:c='{CLIENT}' type='get' id='pp'><p:ping xmlns:p='{PING}'/></c:iq>")
    assert alice.wait(has_id("pp")).get("type") == "result"


def test_xml_05_wrong_namespaces(server, enter):
    # covers: xml-05
    right = header(server.domain)
    for text in (
        right.replace(STREAM, "http://wrong.example/"),
        right.replace(CLIENT, "jabber:wrong"),
    ):
        for mode in ("plain", "tls"):
            with RawStream(server, mode) as stream:
                stream.write(text)
                if "jabber:wrong" in text and server.name == "prosody":
                    continue
                stream.expect_stream_error("invalid-namespace")
                expect_own_header(stream, server)
    with RawStream(server, "tls") as stream:
        stream.open(
            text=right.replace("stream:stream", "foobar:stream").replace(
                "xmlns:stream", "xmlns:foobar"
            )
        )
        expect_own_header(stream, server)
        first = stream.next()
        if first.tag == q(STREAM, "error"):
            stream.elements.appendleft(first)
            stream.expect_stream_error("bad-namespace-prefix")
        else:
            assert first.tag == q(STREAM, "features")
            stream.sign_in(server.account("alice"))
            stream.bind()
            stream.ping()
    bob = enter("bob")
    for inner in ("<foo:body>x</foo:body>", "<p:body xmlns:p=''>x</p:body>"):
        alice = enter("alice")
        alice.write(f"<message to='{bob.jid}'>{inner}</message>")
        alice.expect_stream_error("not-well-formed")
    assert delivered(enter("alice"), bob) == []


def test_xml_06_attributes(server, enter, prosody_differs):
    # covers: xml-06
    alice, bob = enter("alice"), enter("bob")
    alice.write(
        f"<message to=\"{bob.jid}\" from='forged@{server.domain}/x' id='a\"b' xml:lang='de'>"
        "<x xmlns='urn:example:a' one='&quot;&#10;&#9;&lt;&amp;' two=\"it's\" xml:lang='fr' "
        "e:three=' 3 ' xmlns:e='urn:example:e'/></message>"
    )
    got = bob.wait(has_id('a"b'))
    assert got.get("{http://www.w3.org/XML/1998/namespace}lang") == "de"
    assert got.get("from") == alice.jid and got.get("to") == bob.jid
    with prosody_differs("line ends in attributes are lost"):
        assert got[0].get("one") == '"\n\t<&'
    assert got[0].get("two") == "it's" and got[0].get("{urn:example:e}three") == " 3 "
    assert got[0].get("{http://www.w3.org/XML/1998/namespace}lang") == "fr"
    for to in ("@nowhere", "a b@nowhere", "x@", f"bob@{server.domain}/", "x" * 1024 + "@y"):
        alice.write(f"<message to='{to}' id='bad'><body>x</body></message>")
        assert stanza_error(alice.wait(has_id("bad"))) == ("modify", "jid-malformed"), to
    alice.write(f"<message to='{bob.jid}' id='1' id='2'><body>x</body></message>")
    alice.expect_stream_error("not-well-formed")
    assert delivered(enter("alice"), bob) == []


def test_xml_08_cdata(server, enter):
    # covers: xml-08
    alice, bob = enter("alice"), enter("bob")
    chat(alice, bob.jid, '<![CDATA[1 < 2 && "x"]]>')
    chat(alice, bob.jid, "a<![CDATA[<b>]]>c&amp;<![CDATA[d]]]]><![CDATA[>]]>")
    assert bodies(delivered(alice, bob)) == ['1 < 2 && "x"', "a<b>c&d]]>"]
    with server.memory_bounded(32 << 10):
        alice.write(f"<message to='{bob.jid}'><body><![CDATA[")
        flood(alice, b"x" * 65536, 64 << 20)
        alice.expect_stream_error("policy-violation")
    assert bob.ping() == []


def test_xml_10_comments(server, enter):
    bob = enter("bob")
    for text in (
        f"<message to='{bob.jid}'><!-- secret --><body>x</body></message>",
        f"<message to='{bob.jid}'><body>x<!-- secret --></body></message>",
        "<!-- between -->",
    ):
        alice = enter("alice")
        alice.write(text)
        alice.expect_stream_error("restricted-xml", prosody="not-well-formed")
    with RawStream(server, "tls") as stream:
        stream.write("<!-- before -->" + header(server.domain))
        stream.expect_stream_error("restricted-xml", prosody="not-well-formed")
        expect_own_header(stream, server)
    assert delivered(enter("alice"), bob) == []
    assert "secret" not in server.log_text()


def test_xml_12_broken_encoding(server, enter, prosody_differs):
    # covers: xml-12
    with RawStream(server, "tls") as stream, prosody_differs("takes any declared encoding"):
        stream.write(header(server.domain).replace("?>", " encoding='ISO-8859-1'?>", 1))
        stream.expect_stream_error("unsupported-encoding")
    bob = enter("bob")
    for broken in (
        b"\xc0\x80",
        b"\x80",
        b"\xed\xa0\x80",
        b"\xff",
        b"\xf5\x80\x80\x80",
        b"\xe2\x82",
    ):
        alice = enter("alice")
        alice.write(f"<message to='{bob.jid}'><body>".encode() + broken + b"</body></message>")
        alice.expect_stream_error("unsupported-encoding", prosody="not-well-formed")
    assert delivered(enter("alice"), bob) == []


# covers: xml-13
def test_xml_13_empty_elements(server, enter):
    alice, bob, carol = enter("alice"), enter("bob"), enter("carol")
    shown = []
    for text in ("<body/>", "<body></body>"):
        alice.write(f"<message to='{bob.jid}' id='empty'>{text}</message>")
        got = bob.wait(has_id("empty"))
        assert body(got) == ""
        shown.append(
            [(e.tag, e.text or "", len(e)) for e in got if e.tag.startswith(f"{{{CLIENT}}}")]
        )
    assert shown[0] == shown[1]
    for to in (bob.jid, bob.account.jid, carol.account.jid):
        alice.write(f"<message to='{to}' id='none'/>")
    assert not [e for e in alice.ping() if e.get("type") == "error"]
    subscribe(carol, alice)
    for text in ("<presence/>", "<presence></presence>"):
        alice.write("<presence type='unavailable'/>" + text)
        seen = presences(delivered(alice, carol))
        assert seen == [(alice.jid, "unavailable"), (alice.jid, None)]
        carol.write(f"<presence type='probe' to='{alice.account.jid}'/>")
        assert carol.wait(lambda e: e.tag == PRESENCE).get("type") is None
    for query in ("<query xmlns='jabber:iq:roster'/>", "<query xmlns='jabber:iq:roster'></query>"):
        answer = alice.request(query)
        assert answer.get("type") == "result"
        assert [item.get("jid") for item in answer[0]] == [carol.account.jid]


# covers: xml-13
@pytest.mark.prosody_differs("has no push notifications")
def test_xml_13_empty_body_raises_no_notification(server, enter):
    alice, bob, service = enter("alice"), enter("bob"), enter("service")
    enable = f"<enable xmlns='{PUSH}' jid='{service.jid}' node='device'/>"
    assert bob.request(enable, "set").get("type") == "result"
    account = bob.account
    bob.close()
    for text in ("<body/>", "<body></body>", "", "a word"):
        inner = f"<body>{text}</body>" if text == "a word" else text
        alice.write(f"<message to='{account.jid}' type='chat' id='m'>{inner}</message>")
        assert not [e for e in alice.ping() if e.get("type") == "error"]
    # What is told is told in order: of the last of them, and of that alone.
    told = service.wait(lambda e: e.tag == IQ and e.get("type") == "set")
    service.write(f"<iq type='result' id='{told.get('id')}' to='{told.get('from')}'/>")
    assert told.find(f".//{q(PUSH, 'notification')}") is not None
    values = {e.get("var"): e.findtext(q(FORMS, "value")) for e in told.iter(q(FORMS, "field"))}
    assert values["message-count"] == "1"
    alice.write(f"<message to='{account.jid}' type='chat'><body>another</body></message>")
    told = service.wait(lambda e: e.tag == IQ and e.get("type") == "set")
    values = {e.get("var"): e.findtext(q(FORMS, "value")) for e in told.iter(q(FORMS, "field"))}
    assert values["message-count"] == "2"


def test_xml_15_whitespace(server, enter):
    # covers: xml-15
    alice, bob = enter("alice"), enter("bob")
    text = "  two  \n\tlines\n "
    alice.write(" \n\t \r\n ")
    assert alice.ping() == [], "whitespace between stanzas is not answered"
    alice.write(f"\n<message\n\tto='{bob.jid}'\n id = 'w' ><body\n>{text}</body >\n</message\t>\n ")
    assert body(bob.wait(has_id("w"))) == text
    assert alice.ping() == []
    with RawStream(server) as stream:
        stream.open()
        stream.features()
        stream.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        assert stream.next().tag == "{urn:ietf:params:xml:ns:xmpp-tls}proceed"
        stream.write(" \n ")
        try:
            stream.wrap_tls()
        except OSError:
            pass
        else:
            stream.open()
            stream.features()
            stream.sign_in(alice.account)
            stream.bind()
            assert stream.ping() == []


ENTITIES = [
    "<message to='{to}'><body>&foo;</body></message>",
    "<message to='{to}' id='&foo;'><body>x</body></message>",
    "<!DOCTYPE x><message to='{to}'><body>x</body></message>",
    "<message to='{to}'><!DOCTYPE x [<!ENTITY a 'x'>]><body>x</body></message>",
]
LAUGHS = (
    "<!DOCTYPE l [<!ENTITY l0 'ha'>"
    + "".join(f"<!ENTITY l{n + 1} '{f'&l{n};' * 10}'>" for n in range(9))
    + "]>"
)


def test_xml_19_entities(server, enter):
    # covers: xml-19
    alice, bob = enter("alice"), enter("bob")
    alice.write(
        f"<message to='{bob.jid}' id='&lt;&#x41;&#66;&quot;'>"
        "<body>&lt;&gt;&amp;&apos;&quot;&#228;&#x1F600;</body></message>"
    )
    assert body(bob.wait(has_id('<AB"'))) == "<>&'\"\u00e4\U0001f600"
    for text in ENTITIES:
        stream = enter("mallory")
        stream.write(text.format(to=bob.jid))
        stream.expect_stream_error("restricted-xml", prosody="not-well-formed")
    with socket.create_server(("127.0.0.1", 0)) as web, server.memory_bounded(16 << 10):
        port = web.getsockname()[1]
        for doctype in (
            LAUGHS,
            "<!DOCTYPE x SYSTEM 'file:///etc/passwd'>",
            f"<!DOCTYPE x SYSTEM 'http://127.0.0.1:{port}/x.dtd'>",
            f"<!DOCTYPE x [<!ENTITY e SYSTEM 'http://127.0.0.1:{port}/'>]>",
            "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>",
        ):
            with RawStream(server, "tls") as stream:
                stream.write_carelessly(doctype + header(f"{server.domain}&e;&l9;"))
                stream.expect_stream_error("restricted-xml", prosody="not-well-formed")
                assert b"root:" not in stream.received
        web.setblocking(False)
        with pytest.raises(BlockingIOError):
            web.accept()
    assert delivered(alice, bob) == []


def test_xml_21_xml_declaration(server):
    alice = server.account("alice")
    bare = header(server.domain).partition("?>")[2]
    for declaration in (
        "<?xml version='1.0'?>",
        "<?xml version='1.0' encoding='UTF-8'?>",
        '<?xml version="1.0" encoding="utf-8" ?>',
        "<?xml version='1.0' encoding='Utf-8'?>\n",
        "",
    ):
        with RawStream(server) as stream:
            for step in (None, lambda: stream.start_tls(), lambda: stream.sign_in(alice)):
                if step:
                    step()
                    if stream.account:
                        stream.bind()
                        break
                stream.open(text=declaration + bare)
                assert stream.received.startswith(b"<?xml version="), bytes(stream.received[:60])
                assert b"standalone" not in stream.received
                stream.features()
    with RawStream(server, "tls") as stream:
        stream.write(" <?xml version='1.0'?>" + bare)
        stream.expect_stream_error("not-well-formed")
    with RawStream(server, "tls") as stream:
        stream.open(text="<?xml version='1.0' standalone='no'?>" + bare)
        first = stream.next()
        if first.tag == q(STREAM, "error"):
            stream.elements.appendleft(first)
            stream.expect_stream_error("restricted-xml")
        else:
            assert first.tag == q(STREAM, "features")


@pytest.mark.prosody_differs("says not-well-formed, or takes UTF-16")
def test_xml_23_utf16(server):
    declared = header(server.domain).replace("?>", " encoding='UTF-16'?>", 1)
    for data in (
        declared.encode(),
        declared.encode("utf-16"),
        declared.encode("utf-16-le"),
        declared.encode("utf-16-be"),
        header(server.domain).partition("?>")[2].encode("utf-16-be"),
    ):
        with RawStream(server, "tls") as stream:
            stream.write(data)
            stream.expect_stream_error("unsupported-encoding", secs=2)
            expect_own_header(stream, server)


def test_xml_24_wrong_root(server, enter):
    # covers: xml-24
    with RawStream(server, "tls") as stream:
        stream.write(f"<message xmlns='{CLIENT}'>")
        stream.expect_stream_error("invalid-namespace")
    with RawStream(server, "tls") as stream:
        stream.write(header(server.domain).replace("<stream:stream", "<stream:streams"))
        stream.expect_stream_error("bad-format", prosody="invalid-namespace")
    for text in (f"<pubsub xmlns='{CLIENT}'/>", "<foo xmlns='urn:example:z'/>"):
        alice = enter("alice")
        alice.write(text)
        alice.expect_stream_error("unsupported-stanza-type")
    for mode in ("plain", "tls"):
        with RawStream(server, mode) as stream:
            stream.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            stream.drain(secs=2)
    log = server.log_text().lower()
    assert "panicked" not in log and "backtrace" not in log and "traceback" not in log
