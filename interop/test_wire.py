"""What somebody sees who listens on the wire."""

import hashlib
import os
import secrets
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from harness.names import CLIENT, q, stanza_error
from harness.neighbours import Prosody, Stentor, neighbourhood
from harness.people import Person, status_of
from harness.raw import RawStream, header
from harness.scenes import befriend, chat, has_id
from harness.server import PASSWORD, free_ports
from harness.sniffer import Sniffer
from harness.waiting import DEADLINE_SECS

COMPONENT = "jabber:component:accept"
# Domains of components, and the kinds of port at which they attach themselves.
PARROTS, OWLS = ("parrots.example", "component"), ("owls.example", "component-tls")


class ByStartTls(Prosody):
    """Prosody, to which nobody is told to speak TLS from the first byte."""

    def __init__(self, region, domain, **options):
        super().__init__(region, replace(domain, has_direct_tls=False), **options)


class InClear(ByStartTls):
    """Prosody without TLS between servers."""

    MODULES = [name for name in Prosody.MODULES if name not in ("tls", "s2s_auth_certs")]

    def __init__(self, region, domain):
        extra = ["c2s_require_encryption = false", "s2s_require_encryption = false"]
        super().__init__(region, domain, extra=extra)


class Attached(RawStream):
    """A component."""

    def __init__(self, server: Stentor, domain: str, port: int, is_direct: bool):
        self.server = server
        self.sock = socket.create_connection((server.address, port), DEADLINE_SECS)
        self._reset()
        if is_direct:
            self.wrap_tls()
        ident = self.open(text=header(domain, "").replace(CLIENT, COMPONENT)).get("id")
        proof = hashlib.sha1((ident + PASSWORD).encode()).hexdigest()
        self.write(f"<handshake>{proof}</handshake>")
        assert self.next().tag == q(COMPONENT, "handshake")


def word(what: str) -> str:
    """What stands nowhere else."""
    return f"{what}{secrets.token_hex(8)}"


# covers: sec-22
@pytest.mark.parametrize("other", [Prosody, ByStartTls])
def test_sec_22_presence_is_seen_on_no_wire(tmp_path, other):
    at = dict(zip((PARROTS, OWLS), free_ports(2)))
    extra = "".join(
        f'[[listen]]\nkind = "{kind}"\naddress = "127.0.0.1:{port}"\n'
        f'[[component]]\ndomain = "{domain}"\nsecret = "{PASSWORD}"\n'
        for (domain, kind), port in at.items()
    )
    with neighbourhood(Stentor, other, extra=extra) as (ours, theirs):
        of_clients = [ours.port, ours.tls_port]
        of_servers = [ours.s2s_port, ours.s2s_tls_port, theirs.s2s_port, theirs.s2s_tls_port]
        with Sniffer(tmp_path / "wire.pcapng", [*of_clients, *of_servers, *at.values()]) as wire:
            said = show_all(ours, theirs, at)
            heard = wire.stop(ours.address, ours.port)
        # There is no other link that presence could go by.
        assert listening(ours) == {*of_clients, *of_servers[:2], *at.values(), ours.metrics_port}
    # This one does not leave the machine; and so the recorder is known to hear.
    in_clear = heard.pop(at[PARROTS]).decode()
    assert said[0] in in_clear and said[1] in in_clear
    used = {port for port, data in heard.items() if data}
    assert {*of_clients, at[OWLS]} < used and used & set(of_servers), used
    assert b"<proceed" in heard[ours.port]
    seen = [(port, text) for port, data in heard.items() for text in said if text.encode() in data]
    assert seen == []


def show_all(ours, theirs, at):
    """Presence to clients, another server and components; what must not be seen of it."""
    status = word("status")
    alice = Person(ours, word("alice"), word("balcony"), "tls")
    carol = Person(ours, word("carol"), word("garden"), "starttls")
    dora = Person(theirs, word("dora"), word("street"))
    for one, two in ((alice, carol), (alice, dora), (carol, dora)):
        befriend(one.stream, two.stream)
    for person in (carol, dora, alice):
        person.stream.write(f"<presence><status>{status}</status></presence>")
        for other in {alice, carol, dora} - {person}:
            other.sees([person], status=status)
    for (domain, kind), port in at.items():
        with Attached(ours, domain, port, kind.endswith("-tls")) as component:
            alice.stream.write(f"<presence to='x@{domain}'><status>{status}</status></presence>")
            shown = component.wait(lambda e: e.tag == q(COMPONENT, "presence"))
            assert (shown.get("from"), status_of(shown)) == (alice.full, status)
    people = (alice, carol, dora)
    names = [part for person in people for part in (person.account.local, person.resource)]
    return [status, *names]


# covers: sec-22
def test_sec_22_nothing_goes_in_clear_to_other_servers(tmp_path):
    # Messages would be tried again for half an hour.
    with neighbourhood(Stentor, InClear, hold_secs=0) as (ours, theirs):
        alice, dora = Person(ours, word("alice")), Person(theirs, word("dora"))
        ports = [ours.s2s_port, ours.s2s_tls_port, theirs.s2s_port, theirs.s2s_tls_port]
        with Sniffer(tmp_path / "wire.pcapng", ports) as wire:
            text = word("text")
            alice.stream.write(
                f"<presence type='subscribe' to='{dora.jid}'/>"
                f"<iq type='get' id='asked' to='{dora.jid}'><x xmlns='urn:example:{text}'/></iq>"
            )
            chat(alice.stream, dora.jid, text)
            for _ in ("presence", "iq", "message"):
                refused = alice.stream.wait(lambda e: e.get("type") == "error")
                assert refused.get("from") == dora.jid
                assert stanza_error(refused) == ("wait", "remote-server-timeout")
            dora.stream.write(f"<presence type='subscribe' to='{alice.jid}'/>")
            ident = chat(dora.stream, alice.jid, text)
            assert stanza_error(dora.stream.wait(has_id(ident)))
            assert not [e for e in alice.stream.ping() if e.get("type") == "subscribe"]
            heard = wire.stop(ours.address, ours.s2s_port)
        # They have met, and not got beyond that.
        assert b"starttls" in heard[ours.s2s_port] and b"<stream:stream" in heard[theirs.s2s_port]
        secret = [text, alice.account.local, dora.account.local]
        assert not [s for data in heard.values() for s in secret if s.encode() in data]


# covers: sec-22
def test_sec_22_components_in_clear_stay_on_the_machine(server):
    for address, code in (("127.0.0.1", 0), ("0.0.0.0", 1), ("[::]", 1)):
        listen = f'[[listen]]\nkind = "component"\naddress = "{address}:5347"'
        outcome, told = server.check_with(listen)
        assert outcome == code, told
        assert code == 0 or "not on the loopback interface" in told


def listening(server: Stentor) -> set[int]:
    """The ports on which the process takes connections, proc(5)."""
    links = [os.readlink(fd) for fd in Path(f"/proc/{server.process.pid}/fd").iterdir()]
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    rows += [row.split() for row in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    # 0A: listening.
    ours = [row for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in links]
    return {int(row[1].rpartition(":")[2], 16) for row in ours}
