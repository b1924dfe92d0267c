"""Push notifications (XEP-0357): slixmpp plays the services, here and behind other servers."""

import contextlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.names import stanza_error
from harness.neighbours import Domain, Ejabberd, Prosody, Stentor, neighbourhood
from harness.people import Person
from harness.raw import login
from harness.scenes import chat
from harness.server import PASSWORD, free_ports
from harness.waiting import until

PUSH, FORM = "urn:xmpp:push:0", "jabber:x:data"
HERE = "push.localhost"
SECRET = "eruio234vzxc2kla-91"
OPTIONS = (
    f"<x xmlns='{FORM}' type='submit'><field var='FORM_TYPE'>"
    "<value>http://jabber.org/protocol/pubsub#publish-options</value></field>"
    f"<field var='secret'><value>{SECRET}</value></field></x>"
)
# A service that does not answer is soon given up, and soon asked again.
HASTE = ("retry_secs = 1", "tries_max = 2", "pause_secs = 1")


class Service:
    """The program, attached to a server; what it was told."""

    def __init__(self, server, domain: str, port: int):
        self.log = server.folder / "push.log"
        self.before = len(self.lines())
        program = Path(__file__).parent / "clients/slixmpp_push.py"
        with self.log.open("ab") as out:
            words = [sys.executable, str(program), domain, PASSWORD, str(port)]
            self.process = subprocess.Popen(words, stdout=out, stderr=out)

    def lines(self) -> list[dict]:
        text = self.log.read_text() if self.log.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def told(self, node: str = "") -> list[dict]:
        """What was published since it was started, on this node or on any."""
        found = [line for line in self.lines()[self.before :] if "node" in line]
        return [line for line in found if node in ("", line["node"])]

    def told_at(self, node: str, count: int, secs: float = 60) -> list[dict]:
        what = f"{node} is told {count} times; see {self.log}"
        return until(lambda: len(self.told(node)) >= count and self.told(node), what, secs)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def service(server, domain: str = HERE, port: int | None = None):
    made = Service(server, domain, port or server.component_port)
    try:
        until(lambda: {"attached": True} in made.lines()[made.before :], f"see {made.log}", 60)
        yield made
    finally:
        made.end()


def enable(stream, jid: str, node: str, options: str = "") -> None:
    payload = f"<enable xmlns='{PUSH}' jid='{jid}' node='{node}'>{options}</enable>"
    answer = stream.request(payload, "set")
    assert answer.get("type") == "result", stanza_error(answer)


def register(server, account, nodes: dict[str, str], jid: str = HERE) -> None:
    """An account with devices at these nodes, none of which is there."""
    with login(server, account) as stream:
        for node, options in nodes.items():
            enable(stream, jid, node, options)
        stream.close()


@pytest.fixture
def served(server_with):
    return server_with(components=(HERE,), push=HASTE)


def count_of(told: dict) -> str:
    return told["summary"]["message-count"]


def test_services_that_accept_and_that_misbehave(served):
    bob = served.account("bob")
    nodes = ["good", "slow", "mute", "busy", "gone", "secret-shown", "secret-not-shown"]
    with service(served) as push, login(served, served.account("alice")) as alice:
        register(served, bob, {node: OPTIONS if node == "secret-shown" else "" for node in nodes})
        chat(alice, bob.jid, "1")
        assert {line["node"] for node in nodes for line in push.told_at(node, 1)} == set(nodes)
        (good,) = push.told("good")
        assert (good["sender"], good["secret"]) == (served.domain, None)
        assert good["summary"] == {
            "FORM_TYPE": "urn:xmpp:push:summary",
            "message-count": "1",
            "last-message-body": "New message",
        }
        assert (good["headers"]["Urgency"], good["headers"]["Keywords"]) == ("high", "message")
        assert push.told("secret-shown")[0]["secret"] == SECRET
        # What may pass is tried again; at last it accepts, and then it is told no more.
        assert [count_of(told) for told in push.told_at("busy", 4)] == ["1"] * 4
        chat(alice, bob.jid, "2")
        # The slow one is told of both at once if it still had the first one.
        for node in ("good", "slow", "secret-shown", "busy"):
            until(lambda: count_of(push.told(node)[-1]) == "2", f"{node} is told of the second")
        # Who refuses is not told again.
        for node in ("gone", "secret-not-shown"):
            assert len(push.told(node)) == 1, node
        moments = [push.told(node)[0]["at"] for node in ("good", "slow", "mute", "secret-shown")]
        assert max(moments) - min(moments) < 2, "nobody waits for anybody else"


# The server's half of push-32: keys and web push are another service's.
def test_what_was_not_told_when_the_server_was_killed_is_told_once(served):
    bob = served.account("bob")
    with service(served), login(served, served.account("alice")):
        register(served, bob, {"good": OPTIONS})
    with login(served, served.account("alice")) as alice:
        chat(alice, bob.jid, "while the service is away")
        alice.ping()
        served.kill()
    served.start()
    with service(served) as push:
        (told,) = push.told_at("good", 1, 90)
        assert (count_of(told), told["secret"]) == ("1", SECRET)
        with login(served, served.account("alice")) as alice:
            chat(alice, bob.jid, "marker")
            assert [count_of(t) for t in push.told_at("good", 2)] == ["1", "2"], "once each"
    assert "panicked" not in served.log_text()


class WithPush(Prosody):
    """Prosody with a push service behind it."""

    def prepare(self) -> None:
        super().prepare()
        (self.component_port,) = free_ports(1)
        self.service = Domain(f"push.{self.domain}")
        self.region.dns.server_of(
            self.service.name, self.s2s_port, self.s2s_tls_port, self.s2s_host
        )
        tls = self._tls(self.service)
        lines = [
            f"component_ports = {{ {self.component_port} }}",
            'component_interfaces = { "127.0.0.1" }',
            self.config.read_text(),
            f'Component "{self.service.name}"',
            f'  component_secret = "{PASSWORD}"',
            f"  ssl = {tls}",
            f"  s2s_direct_tls_ssl = {tls}",
        ]
        self.config.write_text("\n".join(lines) + "\n")


class EjabberdWithPush(Ejabberd):
    """ejabberd with one."""

    def prepare(self) -> None:
        (self.component_port,) = free_ports(1)
        self.service = Domain(f"push.{self.domain}")
        self.region.dns.server_of(
            self.service.name, self.s2s_port, self.s2s_tls_port, self.s2s_host
        )
        super().prepare()

    def _listeners(self) -> list[tuple[int, str, str]]:
        hosts = f'hosts: {{ "{self.service.name}": {{ password: "{PASSWORD}" }} }}'
        return [*super()._listeners(), (self.component_port, "ejabberd_service", hosts)]

    def _certified(self) -> list[Domain]:
        return [*super()._certified(), self.service]


class Talkative(Stentor):
    """Ours: it tells services who wrote and what, and its log why nobody was told."""

    def __init__(self, region, *domains):
        told = ("[profile.default.modules.push]", "with_sender = true", "with_body = true")
        super().__init__(region, *domains, extra="\n".join([*told, *HASTE]))

    def prepare(self) -> None:
        super().prepare()
        level = 'level = "info"'
        text = self.config.read_text()
        assert level in text
        self.config.write_text(text.replace(level, 'level = "info,stentor_modules=debug"'))

    def pushes(self, account, **fields) -> list[dict]:
        """What the log says of notifications to an account, or of some of them."""
        names = "due held published retried sent paused refused removed skipped".split()
        events = self.events(*(f"push_{name}" for name in names))
        events = [event for event in events if event["account"] == account.jid]
        return [e for e in events if all(e.get(key) == value for key, value in fields.items())]


@pytest.fixture(scope="module")
def pair():
    with neighbourhood(Talkative, WithPush) as servers:
        yield servers


@pytest.fixture(scope="module")
def pair_of_ejabberd():
    with neighbourhood(Talkative, EjabberdWithPush) as servers:
        yield servers


# covers: push-44
def test_messages_of_another_domain_wake_as_those_of_ours(pair):
    ours, theirs = pair
    bob, jid = ours.account("bob"), theirs.service.name
    dora, alice = Person(theirs, "dora"), Person(ours, "alice")
    with service(theirs, jid, theirs.component_port) as push:
        register(ours, bob, {"good": ""}, jid)
        for count, (sender, text) in enumerate([(alice, "of ours"), (dora, "of another")], 1):
            chat(sender.stream, bob.jid, text)
            summary = push.told_at("good", count)[-1]["summary"]
            assert summary["last-message-sender"] == sender.full
            assert summary["last-message-body"] == text
            assert summary["message-count"] == str(count)
        # A room of that server tells him that he was spoken of (XEP-0452).
        chat(dora.stream, jid, f"mention {bob.jid}")
        mention = push.told_at("good", 3)[-1]
        assert mention["headers"]["Keywords"] == "mention"
        assert mention["summary"]["last-message-sender"] == f"coven@{jid}/firstwitch"
        # Whom he blocks wakes nobody, wherever that is.
        with login(ours, bob) as stream:
            for blocked in (alice, dora):
                block = f"<block xmlns='urn:xmpp:blocking'><item jid='{blocked.jid}'/></block>"
                assert stream.request(block, "set").get("type") == "result"
            stream.close()
        for blocked in (alice, dora):
            chat(blocked.stream, bob.jid, "blocked")
        carl = Person(theirs, "carl")
        dora.asks(ours.domain)
        chat(carl.stream, bob.jid, "marker")
        told = push.told_at("good", 4)
        assert [t["summary"]["last-message-sender"] for t in told[3:]] == [carl.full]
    for person in (dora, alice, carl):
        person.leave()


@pytest.mark.parametrize("fixture", ["pair", "pair_of_ejabberd"], ids=["prosody", "ejabberd"])
def test_a_service_of_another_domain_is_told_tried_again_and_left_alone(request, fixture):
    ours, theirs = request.getfixturevalue(fixture)
    bob, jid = ours.account("bob"), theirs.service.name
    alice = Person(ours, "alice")
    nodes = {"secret-shown": OPTIONS, "secret-not-shown": ""}
    with service(theirs, jid, theirs.component_port) as push:
        register(ours, bob, nodes, jid)
        chat(alice.stream, bob.jid, "over s2s")
        (told,) = push.told_at("secret-shown", 1)
        assert (told["sender"], told["secret"]) == (ours.domain, SECRET)
        (refused,) = push.told_at("secret-not-shown", 1)
        assert refused["secret"] is None
        until(lambda: ours.events("push_removed"), "a wrong secret ends it")

    # The service is away, and then its whole domain cannot be reached.
    before = ours.metrics()
    chat(alice.stream, bob.jid, "while it is away")
    paused = "stentor_pushes_paused_total"
    until(lambda: ours.metrics()[paused] > before[paused], "it is left alone", 60)
    assert ours.metrics()["stentor_pushes_retried_total"] > before["stentor_pushes_retried_total"]
    with service(theirs, jid, theirs.component_port) as push:
        (told,) = push.told_at("secret-shown", 1, 120)
        assert count_of(told) == "2"

    carl = ours.account("carl")
    register(ours, carl, {"n": ""}, "push.nowhere.example")
    silent = len(ours.events("push_service_silent"))
    chat(alice.stream, carl.jid, "to nowhere")
    until(lambda: len(ours.events("push_service_silent")) > silent, "it is left alone", 120)
    alice.leave()


# covers: push-39
def test_a_flood_becomes_one_and_what_is_urgent_passes(pair):
    ours, theirs = pair
    bob, carl, jid = ours.account("bob"), ours.account("carl"), theirs.service.name
    alice = Person(ours, "alice")
    with service(theirs, jid, theirs.component_port) as push:
        register(ours, bob, {"good": ""}, jid)
        register(ours, carl, {"other": ""}, jid)
        for count in range(20, 520, 20):
            before = len(push.told("good"))
            for _ in range(20):
                chat(alice.stream, bob.jid, "flood")
            alice.stream.ping()
            until(
                lambda: len(push.told("good")) > before or ours.pushes(bob, reason="rate"),
                f"something is told of {count} messages, or held back",
            )
        until(lambda: ours.pushes(bob, event="push_held", reason="rate"), "it is logged")
        assert len(push.told("good")) == 20
        # Neither another user nor a call is held up.
        chat(alice.stream, carl.jid, "to another")
        assert count_of(push.told_at("other", 1)[0]) == "1"
        alice.stream.write(
            f"<message to='{bob.jid}' type='chat' id='call'>"
            "<propose xmlns='urn:xmpp:jingle-message:0' id='c'/></message>"
        )
        call = push.told_at("good", 21)[-1]
        assert (call["headers"]["Keywords"], count_of(call)) == ("call", "500")
        # A mention passes as well, and a message waits for the minute to end.
        chat(alice.stream, bob.jid, "waits")
        chat(alice.stream, jid, f"mention {bob.jid}")
        mention = push.told_at("good", 22)[-1]
        assert (mention["headers"]["Keywords"], count_of(mention)) == ("mention", "502")
        chat(alice.stream, bob.jid, "waits")
        assert count_of(push.told_at("good", 23, 90)[-1]) == "503"
        # Single ones again.
        chat(alice.stream, bob.jid, "single")
        assert count_of(push.told_at("good", 24)[-1]) == "504"
    alice.leave()


COMMANDS, NODE = "http://jabber.org/protocol/commands", "https://stentor.im/protocol/push"


def choose(stream, **fields: str) -> None:
    """Fills in the form of an account's command."""
    begun = stream.request(f"<command xmlns='{COMMANDS}' node='{NODE}'/>", "set")
    session = begun[0].get("sessionid")
    filled = "".join(
        f"<field var='{var}'><value>{value}</value></field>"
        for var, value in {"FORM_TYPE": NODE, **fields}.items()
    )
    done = stream.request(
        f"<command xmlns='{COMMANDS}' node='{NODE}' sessionid='{session}' action='complete'>"
        f"<x xmlns='{FORM}' type='submit'>{filled}</x></command>",
        "set",
    )
    assert done[0].get("status") == "completed", stanza_error(done)


def wish(stream, contact: str, setting: str) -> None:
    """Says how much of a chat is to be told (XEP-0492)."""
    answer = stream.request(
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:bookmarks:1'>"
        f"<item id='{contact}'><conference xmlns='urn:xmpp:bookmarks:1'><extensions>"
        f"<notify xmlns='urn:xmpp:notification-settings:1'>{setting}</notify></extensions>"
        "</conference></item></publish></pubsub>",
        "set",
    )
    assert answer.get("type") == "result", stanza_error(answer)


# covers: push-34
def test_the_log_follows_each_notification(pair):
    ours, theirs = pair
    bob, jid, secret = ours.account("bob"), theirs.service.name, "xq7-not-for-the-log"
    alice = Person(ours, "alice")

    def say() -> str:
        ident = chat(alice.stream, bob.jid, secret)
        alice.stream.ping()
        return ident

    def decided(ident: str) -> dict:
        """Why nobody was told of a message, or what the log calls its notification."""
        return until(lambda: ours.pushes(bob, id=ident), f"{ident} is in the log")[0]

    def followed(ident: str, last: str) -> list[str]:
        """The events of a message's notification, up to this one."""
        mark = decided(ident)["mark"]
        until(lambda: ours.pushes(bob, mark=mark, event=last), f"{last} of {ident}", 60)
        return [event["event"].removeprefix("push_") for event in ours.pushes(bob, mark=mark)]

    with service(theirs, jid, theirs.component_port) as push:
        nodes = {f"good-{secret}": OPTIONS, f"busy-{secret}": "", f"gone-{secret}": ""}
        register(ours, bob, {f"good-{secret}": OPTIONS}, jid)
        assert followed(say(), "push_sent") == ["due", "published", "sent"]
        register(ours, bob, {f"gone-{secret}": ""}, jid)
        first = say()
        done = sorted(followed(first, "push_refused") + followed(first, "push_sent"))
        assert {"due", "published", "sent", "refused"} == set(done)
        assert ours.pushes(bob, event="push_removed", condition="item-not-found")
        register(ours, bob, {f"busy-{secret}": ""}, jid)
        second = say()
        push.told_at(f"busy-{secret}", 4)
        mark = decided(second)["mark"]
        until(lambda: len(ours.pushes(bob, mark=mark, event="push_sent")) == 2, "both took it")
        refusals = ours.pushes(bob, mark=mark, condition="resource-constraint")
        assert {event["event"] for event in refusals} == {"push_retried", "push_paused"}

        # Why nobody is told, or not yet.
        with login(ours, bob) as stream:
            assert decided(say())["why"] == "active client"
            choose(stream, quiet="true")
            wish(stream, alice.jid, "<never/>")
            stream.close()
        assert decided(say())["why"] == "muted"
        with login(ours, bob) as stream:
            wish(stream, alice.jid, "")
            stream.close()
        day = (datetime.now(UTC) + timedelta(days=3)).strftime("%a")
        for fields, reason in (
            ({"quiet": "true"}, "do not disturb"),
            ({"quiet": "false", "hours": f"{day} 08:00-18:00 Europe/Berlin"}, "hours"),
        ):
            with login(ours, bob) as stream:
                choose(stream, **fields)
                stream.close()
            mark = decided(say())["mark"]
            held = until(lambda: ours.pushes(bob, mark=mark, event="push_held"), reason)
            assert held[0]["reason"] == reason

        # What was published is what the service was told, and nothing gives anything away.
        published = ours.pushes(bob, event="push_published")
        until(lambda: len(push.told()) == len(published), "the service has been told as often")
        assert {event["service"] for event in published} == {jid}
        assert len({event["device"] for event in published}) == len(nodes)
        assert secret not in ours.log_text()
    alice.leave()
