"""Users of several servers, who talk to each other."""

from .names import MESSAGE, PRESENCE, bodies, is_presence
from .peer import Caller
from .raw import RawStream, login
from .scenes import befriend
from .server import Server


class Person:
    """A user of one of the servers, with one client."""

    def __init__(
        self, server: Server, name: str = "user", resource: str = "here", mode: str = "tls"
    ):
        self.server, self.account, self.resource = server, server.account(name), resource
        self.mode = mode
        self.enter()

    def enter(self) -> None:
        self.stream = self.arriving(self.resource)

    def leave(self) -> None:
        self.stream.close()

    def arriving(self, resource: str) -> RawStream:
        """A client that has sent its first presence and has read nothing yet.

        Answers to probes, and with some servers what was kept for it, may come before its own
        presence comes back.
        """
        stream = login(self.server, self.account, resource, mode=self.mode, is_available=False)
        stream.write("<presence/>")
        return stream

    def another(self, resource: str, priority: int | None = None) -> RawStream:
        """One more client of the same user."""
        return login(self.server, self.account, resource, priority, mode=self.mode)

    @property
    def jid(self) -> str:
        return self.account.jid

    @property
    def full(self) -> str:
        return f"{self.jid}/{self.resource}"

    def gather(self, count: int, match) -> list:
        """The next elements that match."""
        return [self.stream.wait(match) for _ in range(count)]

    def sees(self, others, kind: str | None = None, status: str = "") -> None:
        """Presence of all the others has come, in whatever order."""
        left = {other.full for other in others}

        def is_last(element) -> bool:
            is_it = element.tag == PRESENCE and element.get("type") == kind
            if is_it and status in status_of(element):
                left.discard(element.get("from"))
            return not left

        if left:
            self.stream.wait(is_last)

    def hears(self, expected: list[tuple[str, str]]) -> list:
        """These senders' messages, and no others."""
        heard = self.gather(len(expected), lambda e: e.tag == MESSAGE and bodies([e]))
        assert sorted((e.get("from"), bodies([e])[0]) for e in heard) == sorted(expected)
        return heard

    def asks(self, domain: str) -> None:
        """A request to a domain, and its answer: what was sent there before has been dealt with."""
        self.stream.request("<query xmlns='http://jabber.org/protocol/disco#info'/>", to=domain)


def friends(*servers: Server) -> list[Person]:
    """A user of each server, all with subscriptions to all others."""
    people = [Person(server) for server in servers]
    for at, one in enumerate(people):
        for other in people[at + 1 :]:
            befriend(one.stream, other.stream)
    return people


def status_of(element) -> str:
    return next((e.text or "" for e in element if e.tag.endswith("}status")), "")


def text_of(element, name: str) -> str:
    """The text of a child in the content namespace."""
    return next((e.text or "" for e in element if e.tag == f"{{jabber:client}}{name}"), "")


def grant(person: Person, peer: Caller, jid: str) -> None:
    """Somebody at a server written by hand becomes a subscriber of hers."""
    peer.say("presence", f"{jid}/x", person.jid, kind="subscribe")
    person.stream.wait(lambda e: is_presence(e, jid, "subscribe"))
    person.stream.write(f"<presence type='subscribed' to='{jid}'/>")
    peer.wait(lambda e: e.get("type") == "subscribed")
    peer.wait(lambda e: e.get("from") == person.full and not e.get("type"))
