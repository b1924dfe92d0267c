"""Namespaces, and how to look at parsed elements."""

from xml.etree.ElementTree import Element

CLIENT = "jabber:client"
STREAM = "http://etherx.jabber.org/streams"
STREAMS_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
TLS = "urn:ietf:params:xml:ns:xmpp-tls"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
SASL2 = "urn:xmpp:sasl:2"
FAST = "urn:xmpp:fast:0"
SM = "urn:xmpp:sm:3"
IAP = "urn:xmpp:iap:0"
BIND = "urn:ietf:params:xml:ns:xmpp-bind"
PING = "urn:xmpp:ping"
VERSION = "jabber:iq:version"
ROSTER = "jabber:iq:roster"
DELAY = "urn:xmpp:delay"
XML = "http://www.w3.org/XML/1998/namespace"


def q(namespace: str, name: str) -> str:
    return f"{{{namespace}}}{name}"


MESSAGE, PRESENCE, IQ = q(CLIENT, "message"), q(CLIENT, "presence"), q(CLIENT, "iq")


def child(element: Element, namespace: str, name: str) -> Element | None:
    return element.find(q(namespace, name))


def condition(element: Element, namespace: str) -> str | None:
    """The name of the defined condition inside an error or failure."""
    names = [e.tag.partition("}")[2] for e in element if e.tag.startswith(f"{{{namespace}}}")]
    names = [name for name in names if name != "text"]
    return names[0] if names else None


def body(element: Element) -> str | None:
    found = child(element, CLIENT, "body")
    return None if found is None else found.text or ""


def bodies(elements: list[Element]) -> list[str]:
    """Bodies of the messages among the elements, in order."""
    return [body(e) for e in elements if e.tag == MESSAGE and body(e) is not None]


def stanza_error(element: Element) -> tuple[str, str] | None:
    """Type and condition of a stanza's error."""
    error = child(element, CLIENT, "error")
    if element.get("type") != "error" or error is None:
        return None
    return error.get("type"), condition(error, STANZAS)


def push_item(element: Element) -> Element | None:
    """The item of a roster push."""
    query = child(element, ROSTER, "query")
    if element.tag != IQ or element.get("type") != "set" or query is None:
        return None
    return query[0]


def is_presence(element: Element, sender: str, kind: str | None = None) -> bool:
    return element.tag == PRESENCE and element.get("from") == sender and element.get("type") == kind


def presences(elements: list[Element]) -> list[tuple[str, str | None]]:
    """Sender and type of each presence among the elements."""
    return [(e.get("from"), e.get("type")) for e in elements if e.tag == PRESENCE]
