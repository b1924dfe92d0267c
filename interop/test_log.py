"""What the log says of those who sign in (RFC 6120 §13): all to operators, nothing to guessers."""

import configparser
import json
import re
from pathlib import Path

import pytest

from harness import sasl
from harness.names import SASL, condition, q
from harness.raw import RawStream
from harness.server import Account
from harness.waiting import until

FILTER = Path(__file__).parent.parent / "contrib/fail2ban/filter.d/stentor.conf"
RIGHT, WRONG = "xq7-parola", "xq7-falsa"
FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)')
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")


def fields(line):
    """The fields of a line, in either form."""
    if line.startswith("{"):
        record = json.loads(line)
        return {**record, "time": record["timestamp"]}
    found = {name: json.loads(v) if v[0] == '"' else v for name, v in FIELD.findall(line)}
    return {**found, "time": (TIME.search(line) or [""])[0]}


def records(server):
    """Everything that the log says of sign-ins."""
    lines = map(fields, filter(lambda line: "event" in line, server.log_text().splitlines()))
    return [r for r in lines if r.get("event") in ("signed_in", "sign_in_failed")]


class Attempts:
    """Attempts, each from an address of its own."""

    def __init__(self, server):
        self.server, self.sources = server, (f"127.0.1.{n}" for n in range(1, 250))
        self.secrets = {RIGHT, WRONG}

    def one(self, act, expected):
        """Makes an attempt; what the client was told. The log has one record of it."""
        source = next(self.sources)
        with RawStream(self.server, "tls", source) as stream:
            stream.secure()
            told = act(stream)
        (record,) = until(
            lambda: [r for r in records(self.server) if r["source"] == source], f"{source} is told"
        )
        for name, value in expected.items():
            assert record.get(name) == value, (name, record)
        assert TIME.fullmatch(record["time"]) and record["tls"].startswith("TLS 1."), record
        return told

    def by_plain(self, local, password):
        first = sasl.plain(local, password)
        self.secrets.add(sasl.b64(first))
        return lambda stream: said(stream.auth("PLAIN", first))

    def by_scram(self, local, password, mechanism="SCRAM-SHA-256"):
        def act(stream):
            scram = sasl.Scram(mechanism, local, password)
            challenge = stream.auth(mechanism, scram.first())
            final = scram.final(sasl.unb64(challenge.text))
            self.secrets |= {sasl.b64(final), final.decode().partition(",p=")[2]}
            return said(stream.respond(final))

        return act


def said(answer):
    return "success" if answer.tag == q(SASL, "success") else condition(answer, SASL)


def failed(account, mechanism, reason, told):
    record = {"event": "sign_in_failed", "account": account, "mechanism": mechanism}
    return {**record, "reason": reason, "condition": told}


def found_by_fail2ban(log):
    """The sources that the shipped filter finds, as fail2ban looks: without the time."""
    config = configparser.ConfigParser()
    config.read(FILTER)
    rules = config["Definition"]["failregex"].replace("<ADDR>", "(?P<ip>[0-9.]+)").splitlines()
    time = re.compile(r'^(\{"timestamp":")?' + TIME.pattern)
    lines = [time.sub("", line) for line in log.splitlines()]
    found = (re.search(rule, line) for rule in rules for line in lines)
    return [match["ip"] for match in found if match]


# covers: sec-27
@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.prosody_differs("logs in words of its own")
def test_sec_27_authentication_log(server_with, form):
    server = server_with(account_failures_max=5, log_format=form)
    alice, bob, locked = (server.account(n, password=RIGHT) for n in ("alice", "bob", "locked"))
    server.suspend_account(bob, True)
    attempts = Attempts(server)
    refused, guesses = "not-authorized", 0
    for way, mechanism in ((attempts.by_plain, "PLAIN"), (attempts.by_scram, "SCRAM-SHA-256")):
        expected = {"event": "signed_in", "account": alice.jid, "mechanism": mechanism}
        assert attempts.one(way(alice.local, RIGHT), expected) == "success"
        for account, password, reason, told in (
            (alice, WRONG, "wrong-password", refused),
            (Account("nobody", server.domain), WRONG, "unknown-user", refused),
            (bob, WRONG, "wrong-password", refused),
            (bob, RIGHT, "suspended", "account-disabled"),
        ):
            expected = failed(account.jid, mechanism, reason, told)
            assert attempts.one(way(account.local, password), expected) == told
            guesses += reason != "suspended"
    # Whoever knows the password of a suspended account has not guessed.
    for _ in range(5):
        expected = failed(bob.jid, "PLAIN", "suspended", "account-disabled")
        attempts.one(attempts.by_plain(bob.local, RIGHT), expected)
    expected = failed(bob.jid, "PLAIN", "wrong-password", refused)
    attempts.one(attempts.by_plain(bob.local, WRONG), expected)
    assert "account_locked" not in server.log_text()
    for _ in range(5):
        expected = failed(locked.jid, "PLAIN", "wrong-password", refused)
        attempts.one(attempts.by_plain(locked.local, WRONG), expected)
    for way, mechanism in ((attempts.by_plain, "PLAIN"), (attempts.by_scram, "SCRAM-SHA-256")):
        expected = failed(locked.jid, mechanism, "locked", "account-disabled")
        assert attempts.one(way(locked.local, RIGHT), expected) == "account-disabled"
    guesses += 8
    not_guessed(attempts, alice)

    log = server.log_text()
    for secret in attempts.secrets:
        assert secret and secret not in log
    found = found_by_fail2ban(log)
    assert len(found) == len(set(found)) == guesses
    by_source = {r["source"]: r for r in records(server)}
    words = {by_source[source]["reason"] for source in found}
    assert words == {"wrong-password", "unknown-user", "locked"}


def not_guessed(attempts, alice):
    """Attempts of which nobody can say whether they would have succeeded."""

    def begin(stream, and_then):
        stream.auth("SCRAM-SHA-1", sasl.Scram("SCRAM-SHA-1", alice.local, RIGHT).first())
        return and_then(stream)

    def abort(stream):
        stream.write(f"<abort xmlns='{SASL}'/>")
        return said(stream.next())

    expected = failed(alice.jid, "SCRAM-SHA-1", "aborted", "aborted")
    assert attempts.one(lambda stream: begin(stream, abort), expected) == "aborted"
    expected = failed(alice.jid, "SCRAM-SHA-1", "broken-off", "none")
    attempts.one(lambda stream: begin(stream, RawStream.cut), expected)
    expected = failed(None, "DIGEST-MD5", "unknown-mechanism", "invalid-mechanism")
    attempts.one(lambda stream: said(stream.auth("DIGEST-MD5", "")), expected)
