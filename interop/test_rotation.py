"""Certificates that change while the server runs, as other servers see them."""

import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from harness.certs import TestCa
from harness.neighbours import Domain, Region, Stentor
from harness.peer import Peer
from harness.raw import login
from harness.scenes import chat
from harness.server import run_tool
from harness.waiting import until


@pytest.fixture
def region():
    with tempfile.TemporaryDirectory(prefix="interop-rotation-") as folder:
        region = Region(Path(folder))
        yield region
        region.dns.close()


@pytest.fixture
def ours(region):
    live = region.folder / "live"
    live.mkdir()
    extra = f"[tls]\ncertificate_folder = '{live}'"
    server = Stentor(region, Domain("a.example"), dialback=False, extra=extra).start()
    yield server
    server.dispose()


def shown_to(region: Region, name: str, stream) -> dict:
    """The certificate that a server sees to which a user of ours writes."""
    peer = Peer(name, region.ca.server(name), region.ca.pem)
    region.dns.server_of(name, None, peer.port)
    chat(stream, f"x@{name}", "hello")
    peer.next()
    peer.close()
    return peer.shown


def names(certificate: dict) -> list[str]:
    return [name for _, name in certificate["subjectAltName"]]


def test_outgoing_streams_show_the_certificate_of_today(region, ours):
    with login(ours, ours.account("alice")) as alice:
        first = shown_to(region, "one.example", alice)
        assert names(first) == ["a.example"]
        # A certificate of the same authority, in the same files.
        chain, key = ours.chain(ours.domains[0])
        again = TestCa(region.ca.folder)
        for old in (chain, key):
            shutil.move(old, old.with_suffix(".old"))
        again.server("a.example")
        _reload(ours, "reloaded")
        second = shown_to(region, "two.example", alice)
        assert names(second) == ["a.example"]
        assert second["serialNumber"] != first["serialNumber"]
        # What cannot be read changes nothing.
        chain.write_text("no certificate")
        _reload(ours, "not_reloaded")
        third = shown_to(region, "three.example", alice)
        assert third["serialNumber"] == second["serialNumber"]
        alice.ping()


def _reload(ours, event: str) -> None:
    before = len(ours.events(event))
    ours.process.send_signal(signal.SIGHUP)
    until(lambda: len(ours.events(event)) > before, event)


def test_a_domain_that_comes_later_shows_its_own_certificate(region, ours):
    folder = region.folder / "live/new.example"
    folder.mkdir()
    chain, key = region.ca.server("new.example")
    shutil.copy(chain, folder / "fullchain.pem")
    shutil.copy(key, folder / "privkey.pem")
    run_tool(ours.binary, "--config", ours.config, "domain", "add", "new.example")
    with login(ours, ours.account("bob", "new.example")) as bob:
        assert names(shown_to(region, "four.example", bob)) == ["new.example"]
