"""A client that counts stanzas (XEP-0198), so that it may come back after a cut."""

from xml.etree.ElementTree import Element

from .names import q
from .raw import RawStream, show

SM = "urn:xmpp:sm:3"


class Counted:
    """A session of a raw stream: what it was sent, and how much of that it has said it has."""

    def __init__(self, stream: RawStream):
        """Turns counting on, on a stream that was bound and not read since."""
        self.seen: list[Element] = []
        self.acknowledged = 0
        self.stream = stream
        stream.write(f"<enable xmlns='{SM}' resume='true'/>")
        enabled = stream.wait(lambda e: e.tag.startswith(f"{{{SM}}}"))
        assert enabled.tag == q(SM, "enabled") and enabled.get("resume") == "true", show(enabled)
        self.id = enabled.get("id")

    def take(self) -> list[Element]:
        """What has come by now; requests for acknowledgements are left without an answer."""
        self.stream.peek()
        came = [e for e in self.stream.elements if not e.tag.startswith(f"{{{SM}}}")]
        self.stream.elements.clear()
        self.seen += came
        return came

    def wait(self, match) -> Element:
        """The first stanza, of those still to come, that matches."""
        while True:
            element = self.stream.next()
            if element.tag.startswith(f"{{{SM}}}"):
                continue
            self.seen.append(element)
            if match(element):
                return element

    def acknowledge(self) -> None:
        """Says that all that was taken is here."""
        self.acknowledged = len(self.seen)
        self.stream.write(f"<a xmlns='{SM}' h='{self.acknowledged}'/>")

    def be_heard(self) -> None:
        """Waits until the server has read what was written: a cut may take that with it."""
        self.stream.write(f"<r xmlns='{SM}'/>")
        while (element := self.stream.next()).tag != q(SM, "a"):
            if not element.tag.startswith(f"{{{SM}}}"):
                self.seen.append(element)

    def resume(self, stream: RawStream) -> None:
        """Goes on with the session on a stream that is signed in and not bound."""
        stream.write(f"<resume xmlns='{SM}' previd='{self.id}' h='{len(self.seen)}'/>")
        answer = stream.next()
        assert answer.tag == q(SM, "resumed"), show(answer)
        stream.jid, self.stream = self.stream.jid, stream
        self.acknowledged = len(self.seen)
