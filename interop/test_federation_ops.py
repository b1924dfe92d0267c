"""What an operator sees of streams between servers, and does about them."""

import subprocess

from harness.names import MESSAGE, bodies
from harness.neighbours import Ejabberd, Prosody, Stentor, neighbourhood
from harness.people import friends
from harness.scenes import chat
from harness.waiting import until

PREFIX = "stentor_federation_"


# covers: fed-44
def test_figures_and_lists_are_what_the_system_says_and_streams_can_be_closed():
    with neighbourhood(Stentor, Prosody, Ejabberd) as (ours, prosody, ejabberd):
        alice, dora, emil = friends(ours, prosody, ejabberd)
        _is_as_the_system_says(ours, prosody, ejabberd)
        # One domain's streams are closed, and the next stanza takes another.
        ended = ours.command_line("s2s", "close", prosody.domain)
        assert ended["streams"] > 0
        until(lambda: not _rows(ours, prosody.domain), "they are closed")
        _is_as_the_system_says(ours, prosody, ejabberd)
        assert _rows(ours, ejabberd.domain)
        assert ours.command_line("s2s", "close", "nowhere.example")["streams"] == 0
        for one, two in ((alice, dora), (dora, alice)):
            chat(one.stream, two.jid, "again")
            two.hears([(one.full, "again")])
        _is_as_the_system_says(ours, prosody, ejabberd)
        # What waits for one that is down.
        label = f'{{domain="{ejabberd.domain}"}}'
        assert f"{PREFIX}queued_stanzas{label}" not in ours.metrics()
        ejabberd.stop()
        until(lambda: not _rows(ours, ejabberd.domain), "its streams are gone")
        for n in range(3):
            chat(alice.stream, emil.jid, f"{n}")
        unreachable = f'{PREFIX}failed_total{{cause="unreachable"}}'
        until(lambda: ours.metrics().get(unreachable, 0) >= 1, "an attempt fails")
        assert ours.metrics()[f"{PREFIX}queued_stanzas{label}"] == 3
        age = f"{PREFIX}oldest_queued_secs{label}"
        until(lambda: ours.metrics()[age] >= 1, "they grow old")
        [waits] = ours.command_line("s2s", "list", ejabberd.domain)["waiting"]
        assert waits["pair"] == {"local": ours.domain, "remote": ejabberd.domain}
        assert (waits["stanzas"], waits["trouble"]) == (3, "remote-server-timeout")
        assert waits["oldest_secs"] >= 1 and waits["bytes"] > 0
        ejabberd.start()
        emil.enter()
        heard = emil.gather(3, lambda e: e.tag == MESSAGE and bodies([e]))
        assert bodies(heard) == ["0", "1", "2"]
        until(lambda: f"{PREFIX}queued_stanzas{label}" not in ours.metrics(), "none waits")
        _is_as_the_system_says(ours, prosody, ejabberd)
        # Other causes have their own name.
        alice.stream.write("<iq type='get' id='x' to='nowhere.example'><x xmlns='x'/></iq>")
        alice.stream.wait(lambda e: e.get("id") == "x")
        assert ours.metrics()[f'{PREFIX}failed_total{{cause="not-found"}}'] == 1


def _rows(ours: Stentor, domain: str) -> list[dict]:
    return ours.command_line("s2s", "list", domain)["streams"]


def _is_as_the_system_says(ours: Stentor, *others) -> None:
    """The command line and the metrics page show the connections that the kernel has."""
    until(lambda: _listed(ours) == _connected(ours, *others), "the list is what there is")
    metrics = ours.metrics()
    for direction, ends in zip(("in", "out"), _connected(ours, *others), strict=True):
        assert metrics[f'{PREFIX}streams{{direction="{direction}"}}'] == len(ends)


def _listed(ours: Stentor) -> tuple[set[str], set[str]]:
    rows = ours.command_line("s2s", "list")["streams"]
    for row in rows:
        assert (row["tls"], row["how"], row["certificate"]) == ("TLS 1.3", "external", "valid")
        assert row["cipher"].startswith("TLS") and row["since_ms"] > 0
    ends = {
        direction: {row["peer"] for row in rows if row["direction"] == direction}
        for direction in ("in", "out")
    }
    return ends["in"], ends["out"]


def _connected(ours: Stentor, *others) -> tuple[set[str], set[str]]:
    """The other ends of connections that others have with ours, and ours with others."""
    words = ["ss", "-tnpH", "state", "established"]
    table = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in table.splitlines() if f"pid={ours.process.pid}," in line]
    at = lambda *servers: {f":{p}" for s in servers for p in (s.s2s_port, s.s2s_tls_port)}  # noqa: E731
    into = {far for _, _, near, far, *_ in rows if near.endswith(tuple(at(ours)))}
    out = {far for _, _, _, far, *_ in rows if far.endswith(tuple(at(*others)))}
    return into, out
