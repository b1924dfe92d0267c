"""What an administrator changes while messages wait (XEP-0160, RFC 6121 §8.5.2.2.1)."""

import json
import signal

from harness.clock import Clock
from harness.names import MESSAGE, bodies, stanza_error
from harness.neighbours import Prosody, Stentor, neighbourhood
from harness.people import Person
from harness.raw import login
from harness.scenes import chat, has_id
from harness.server import run_tool
from harness.waiting import until

OFFLINE = "[profile.default.modules.offline]\nmessages_max = 100\n"
DISCO_INFO = "http://jabber.org/protocol/disco#info"


class Changing(Stentor):
    """Ours, whose clock can be put forward and whose configuration changes while it runs."""

    def __init__(self, region, *domains):
        super().__init__(region, *domains, block=[], extra=OFFLINE)

    def prepare(self) -> None:
        super().prepare()
        self.clock = Clock(self.folder / "clock")
        self._rewrite('level = "info"', 'level = "info,stentor::offline=debug"')

    def command(self) -> list[str]:
        return [*self.clock.prefix, *super().command()]

    def change(self, old: str, new: str) -> None:
        """Puts one line in the place of another and tells the server."""
        self._rewrite(old, new)
        before = len(self.events("reloaded"))
        self.process.send_signal(signal.SIGHUP)
        until(lambda: len(self.events("reloaded")) > before, "it has read its configuration again")
        assert self.events("reloaded")[-1].get("need_restart", "") == ""

    def waiting(self, account) -> int:
        shown = run_tool(*self.command(), "--json", "account", "show", account.jid)
        return json.loads(shown)["waiting_messages"]

    def features(self, person: Person) -> set:
        answer = person.stream.request(f"<query xmlns='{DISCO_INFO}'/>", to=self.domain)
        return {e.get("var") for e in answer.iter(f"{{{DISCO_INFO}}}feature")}

    def _rewrite(self, old: str, new: str) -> None:
        text = self.config.read_text()
        assert text.count(f"{old}\n") == 1, old
        self.config.write_text(text.replace(f"{old}\n", f"{new}\n"))


def refusal(person: Person, to: str) -> tuple:
    """What comes back for a message."""
    ident = chat(person.stream, to, "refused")
    return stanza_error(person.stream.wait(has_id(ident)))


# covers: off-49
def test_off_49_policy_that_changes_while_messages_wait():
    with neighbourhood(Changing, Prosody) as (ours, prosody):
        alice, dora, bob = Person(ours, "alice"), Person(prosody, "dora"), ours.account("bob")
        process = ours.process.pid
        chat(dora.stream, bob.jid, "waiting 0")
        until(lambda: ours.waiting(bob) == 1, "hers is stored")
        for n in range(1, 10):
            if n == 5:
                ours.clock.put_forward(30)
            chat(alice.stream, bob.jid, f"waiting {n}")
            alice.stream.ping()
        assert ours.waiting(bob) == 10

        ours.change("messages_max = 100", "messages_max = 5")
        assert refusal(alice, bob.jid) == ("cancel", "service-unavailable")
        assert ours.waiting(bob) == 10, "those stored stay"

        ours.change("messages_max = 5", "messages_max = 100")
        ours.change("block = []", f'block = ["{prosody.domain}"]')
        # Once by the stream that stands, once by another.
        for _ in range(2):
            kind, condition = refusal(dora, bob.jid)
            assert kind in ("cancel", "wait"), condition
        assert refusal(alice, dora.jid)[1] == "not-allowed"
        assert ours.waiting(bob) == 10, "nothing of hers is new"

        ours.change("messages_max = 100", "messages_max = 100\nexpire_days = 1")
        until(lambda: ours.waiting(bob) == 5, "the older ones are purged")
        expired = ours.events("offline_expired")
        assert len(expired) == 5 and {e["account"] for e in expired} == {bob.jid}

        assert "msgoffline" in ours.features(alice)
        ours.change("expire_days = 1", "enabled = false")
        assert "msgoffline" not in ours.features(alice)
        assert refusal(alice, bob.jid) == ("cancel", "service-unavailable")
        with login(ours, bob) as stream:
            came = [e for e in stream.ping() + stream.ping() if e.tag == MESSAGE]
            assert bodies(came) == [f"waiting {n}" for n in range(5, 10)]
        assert ours.process.pid == process and ours.process.poll() is None
        assert len(ours.events("reloaded")) == 5
