"""What many tests begin with or end on."""

from contextlib import contextmanager

from .names import MESSAGE, PRESENCE, body, is_presence, push_item
from .raw import RawStream, new_id


def subscribe(watcher: RawStream, watched: RawStream) -> None:
    """`watcher` becomes subscribed to `watched`; both have seen all of it when this returns."""
    watcher.write(f"<presence type='subscribe' to='{watched.account.jid}'/>")
    watched.wait(lambda e: is_presence(e, watcher.account.jid, "subscribe"))
    watched.write(f"<presence type='subscribed' to='{watcher.account.jid}'/>")
    watcher.wait(lambda e: is_presence(e, watched.jid))
    watched.barrier(watcher)
    watched.ping()


def befriend(one: RawStream, other: RawStream) -> None:
    """Subscription `both`."""
    subscribe(one, other)
    subscribe(other, one)


def chat(sender: RawStream, to: str, text: str, kind: str | None = "chat") -> str:
    """Sends a message with a body (already escaped); its id."""
    ident = new_id("m")
    typed = f" type='{kind}'" if kind else ""
    sender.write(f"<message to='{to}'{typed} id='{ident}'><body>{text}</body></message>")
    return ident


def has_id(ident: str):
    return lambda element: element.get("id") == ident


def is_chat(text: str):
    return lambda element: element.tag == MESSAGE and body(element) == text


def is_push(jid: str, subscription: str | None = None, **attributes: str | None):
    """A roster push about `jid`, with these attributes; None means absent."""

    def matches(element) -> bool:
        item = push_item(element)
        if item is None or item.get("jid") != jid:
            return False
        if subscription is not None and item.get("subscription") != subscription:
            return False
        return all(item.get(name) == value for name, value in attributes.items())

    return matches


def delivered(sender: RawStream, receiver: RawStream) -> list:
    """Messages and presence that `receiver` got of all `sender` did so far."""
    got = sender.barrier(receiver)[0]
    return [e for e in got if e.tag in (MESSAGE, PRESENCE)]


def flood(stream: RawStream, piece: bytes, total: int) -> int:
    """Writes pieces until the server has something to say or `total` is out; bytes written."""
    written = 0
    while written < total and not stream.elements and not stream.is_closed:
        try:
            stream.write(piece)
        except OSError:
            break
        written += len(piece)
        stream.peek()
    return written


@contextmanager
def undisturbed(*streams: RawStream):
    """The streams still answer pings after what is done inside."""
    yield
    for stream in streams:
        stream.ping()
