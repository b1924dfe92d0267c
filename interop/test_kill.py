"""SIGKILL in the middle of traffic: what was acknowledged is there afterwards."""

import random
import threading

from harness.names import MESSAGE, body
from harness.raw import login
from harness.server import Account
from harness.waiting import until

ROUNDS = 20
SEED = 9


class Traffic(threading.Thread):
    """Does `step` again and again until the server is gone; counts what was acknowledged."""

    def __init__(self, step):
        super().__init__()
        self.step, self.acknowledged, self.failure = step, 0, None

    def run(self):
        try:
            while True:
                self.acknowledged += self.step()
        except (AssertionError, OSError) as failure:
            self.failure = failure


class Roster:
    """One account's roster: what it must hold, and the one change whose answer is awaited."""

    def __init__(self, server):
        self.account = server.account("roster")
        self.items: dict[str, str | None] = {}
        self.pending: tuple[str, str | None] | None = None
        self.dice = random.Random(SEED)
        self.count = 0

    def change(self, stream):
        self.count += 1
        jid = f"contact{self.dice.randrange(60)}@contact.example"
        is_removal = self.items.get(jid) is not None and self.dice.random() < 0.3
        name = None if is_removal else f"name {self.count}"
        how = "subscription='remove'" if is_removal else f"name='{name}'"
        self.pending = (jid, name)
        query = f"<query xmlns='jabber:iq:roster'><item jid='{jid}' {how}/></query>"
        answer = stream.request(query, "set")
        assert answer.get("type") == "result"
        self.items[jid], self.pending = name, None
        return 1

    def check(self, server):
        with login(server, self.account) as stream:
            found = {jid: item.get("name") for jid, item in stream.roster().items()}
        jid, name = self.pending or ("", None)
        if self.pending and found.get(jid) == name:
            self.items[jid] = name
        self.pending = None
        assert found == {jid: name for jid, name in self.items.items() if name is not None}


class Mail:
    """Messages to an account that is offline, acknowledged by the answer to a later ping."""

    def __init__(self, server, sender):
        self.sender, self.receiver = sender, server.account("offline")
        self.sent = self.known = 0

    def send(self, stream):
        for _ in range(3):
            stream.write(
                f"<message to='{self.receiver.jid}' type='chat'><body>{self.sent}</body></message>"
            )
            self.sent += 1
        goal = self.sent
        stream.ping()
        new, self.known = goal - self.known, goal
        return new

    def check(self, server):
        with login(server, self.receiver, is_available=False) as stream:
            stream.write("<presence/>")
            got = []
            while len(got) < self.known:
                got.append(body(stream.wait(lambda e: e.tag == MESSAGE)))
            got += [body(e) for e in stream.ping() + stream.ping() if e.tag == MESSAGE]
            stream.close()
        assert got == [str(n) for n in range(len(got))], "in order, without gaps, none twice"
        assert self.known <= len(got) <= self.sent


class Accounts:
    """Accounts made by the command line, acknowledged by its exit code."""

    def __init__(self):
        self.made: list[Account] = []
        self.count = 0
        self.stop = False

    def make(self, server):
        if self.stop:
            raise AssertionError("told to stop")
        self.count += 1
        account = Account(f"made{self.count}", server.domain, f"word {self.count}")
        server.create_account(account)
        self.made.append(account)
        return 1

    def check(self, server):
        for account in self.made:
            login(server, account, is_available=False).cut()
        self.made.clear()


def test_acknowledged_work_survives_sigkill(server_with):
    server = server_with()
    dice = random.Random(SEED)
    roster, accounts = Roster(server), Accounts()
    sender = server.account("sender")
    for _ in range(ROUNDS):
        mail = Mail(server, sender)
        changing, sending = login(server, roster.account), login(server, sender)
        accounts.stop = False
        traffic = [
            Traffic(lambda: roster.change(changing)),
            Traffic(lambda: mail.send(sending)),
            Traffic(lambda: accounts.make(server)),
        ]
        for lane in traffic:
            lane.start()
        goals = [dice.randint(3, 30), dice.randint(3, 60), dice.randint(1, 3)]
        until(
            lambda: all(
                lane.acknowledged >= goal or lane.failure for lane, goal in zip(traffic, goals)
            ),
            "every lane was acknowledged something",
        )
        assert not any(lane.failure for lane in traffic), [lane.failure for lane in traffic]
        server.kill()
        accounts.stop = True
        for lane in traffic:
            lane.join()
        changing.cut(), sending.cut()
        server.start()
        roster.check(server)
        mail.check(server)
        accounts.check(server)
    assert "panicked" not in server.log_text()
