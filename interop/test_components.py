"""Components of others attach themselves (XEP-0114), and chats cross them (XEP-0100)."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from harness.names import PRESENCE, body, child, is_presence, stanza_error
from harness.raw import login
from harness.scenes import chat
from harness.server import PASSWORD
from harness.waiting import until

DISCO_INFO, DISCO_ITEMS = (f"http://jabber.org/protocol/disco#{x}" for x in ("info", "items"))
REGISTER, MUC = "jabber:iq:register", "http://jabber.org/protocol/muc"
IRC, PARROTS = "irc.localhost", "parrots.localhost"


@contextlib.contextmanager
def running(*command, log):
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(word) for word in command], stdout=out, stderr=out, stdin=subprocess.DEVNULL
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def served(server_with):
    return server_with(components=(IRC, PARROTS))


@contextlib.contextmanager
def gateway(server):
    """The gateway of slixmpp, attached."""
    program = Path(__file__).parent / "clients/slixmpp_gateway.py"
    log = server.folder / "gateway.log"
    before = log.read_text().count("attached") if log.exists() else 0
    words = (sys.executable, program, PARROTS, PASSWORD, server.component_port)
    with running(*words, log=log) as process:
        until(lambda: log.read_text().count("attached") > before, f"it attaches; see {log}")
        yield process


def register(alice):
    form = alice.request(f"<query xmlns='{REGISTER}'/>", to=PARROTS)
    assert form.get("type") == "result"
    fields = "<username>alice</username><password>x</password>"
    done = alice.request(f"<query xmlns='{REGISTER}'>{fields}</query>", "set", PARROTS)
    assert done.get("type") == "result", done


def test_a_gateway_is_found_registered_with_and_talked_through(served):
    with gateway(served), login(served, served.account("alice")) as alice:
        alice.roster()
        items = alice.request(f"<query xmlns='{DISCO_ITEMS}'/>", to=served.domain)
        jids = {item.get("jid") for item in child(items, DISCO_ITEMS, "query")}
        assert {IRC, PARROTS} <= jids
        info = alice.request(f"<query xmlns='{DISCO_INFO}'/>", to=PARROTS)
        identity = child(child(info, DISCO_INFO, "query"), DISCO_INFO, "identity")
        assert (identity.get("category"), identity.get("type")) == ("gateway", "parrots")
        register(alice)
        alice.wait(lambda e: is_presence(e, PARROTS, "subscribe"))
        alice.write(f"<presence to='{PARROTS}' type='subscribed'/>")
        # XEP-0100 §4.4: it learns that she is there, and shows that it is.
        alice.wait(lambda e: is_presence(e, PARROTS))
        ara = f"ara@{PARROTS}"
        alice.write(f"<presence to='{ara}' type='subscribe'/>")
        alice.wait(lambda e: is_presence(e, ara, "subscribed"))
        chat(alice, ara, "Lorre!")
        said = alice.wait(lambda e: body(e) == "Lorre!")
        assert said.get("from") == ara
        alice.write(f"<presence to='{PARROTS}' type='unavailable'/>")
        done = alice.request(f"<query xmlns='{REGISTER}'><remove/></query>", "set", PARROTS)
        assert done.get("type") == "result"


def test_a_gateway_that_goes_is_seen_to_go_and_one_that_comes_back_is_reached(served):
    with login(served, served.account("alice")) as alice:
        ara = f"ara@{PARROTS}"
        with gateway(served):
            register(alice)
            alice.write(f"<presence to='{ara}' type='subscribe'/>")
            alice.wait(lambda e: is_presence(e, ara))
        alice.wait(lambda e: is_presence(e, ara, "unavailable"))
        ident = chat(alice, ara, "anybody there?")
        refused = alice.wait(lambda e: e.get("id") == ident)
        assert stanza_error(refused) == ("wait", "remote-server-timeout")
        with gateway(served):
            register(alice)
            chat(alice, ara, "again")
            alice.wait(lambda e: body(e) == "again" and e.get("type") == "chat")


def test_a_second_stream_and_a_wrong_secret_are_refused(served):
    def header(to):
        sock = socket.create_connection((served.address, served.component_port), timeout=30)
        sock.sendall(
            b"<stream:stream xmlns='jabber:component:accept'"
            b" xmlns:stream='http://etherx.jabber.org/streams' to='" + to.encode() + b"'>"
        )
        return sock

    def heard(sock):
        with sock:
            text = b""
            while b"</stream:stream>" not in text:
                text += sock.recv(4096) or b"</stream:stream>"
            return text.decode()

    assert "<host-unknown " in heard(header("news.localhost"))
    false = header(PARROTS)
    false.sendall(b"<handshake>" + b"0" * 40 + b"</handshake>")
    assert "<not-authorized " in heard(false)
    with gateway(served):
        log = served.folder / "second.log"
        program = Path(__file__).parent / "clients/slixmpp_gateway.py"
        words = (sys.executable, program, PARROTS, PASSWORD, served.component_port)
        with running(*words, log=log):
            until(lambda: "gone" in log.read_text(), "the second stream ends")
        assert "attached" not in log.read_text()


# Debian's names of the packages.
needs_irc = pytest.mark.skipif(
    not (shutil.which("biboumi") and shutil.which("ngircd")),
    reason="biboumi or ngircd is not installed: apt-get install biboumi ngircd",
)


class Irc:
    """Somebody on the IRC server."""

    def __init__(self, address, nick):
        self.sock = socket.create_connection((address, 6667), timeout=60)
        self.text = ""
        self.say(f"NICK {nick}", f"USER {nick} 0 * :{nick}")
        self.wait(" 001 ")

    def close(self):
        self.sock.close()

    def say(self, *lines):
        self.sock.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def wait(self, sign):
        while sign not in self.text:
            data = self.sock.recv(4096)
            assert data, f"no {sign} in {self.text}"
            for line in data.decode(errors="replace").splitlines(keepends=True):
                if line.startswith("PING"):
                    self.say("PONG" + line[4:].rstrip())
                self.text += line
        before, _, self.text = self.text.partition(sign)
        return before


@contextlib.contextmanager
def biboumi(server, address):
    folder = server.folder
    config = folder / "biboumi.cfg"
    config.write_text(
        f"hostname={IRC}\npassword={PASSWORD}\nxmpp_server_ip={server.address}\n"
        f"port={server.component_port}\ndb_name={folder}/biboumi.sqlite\n"
        f"log_file={folder}/biboumi.txt\nlog_level=0\nfixed_irc_server={address}\n"
        "identd_port=0\n"
    )
    count = server.log_text().count("component_in")
    with running("biboumi", config, log=folder / "biboumi.log") as process:
        until(lambda: server.log_text().count("component_in") > count, "biboumi attaches")
        yield process


@contextlib.contextmanager
def irc_server(folder):
    """An IRC server at the usual port of an address of its own."""
    number = os.getpid()
    address = f"127.{1 + number % 200}.{number // 200 % 250}.7"
    config = folder / "ngircd.conf"
    config.write_text(
        f"[Global]\nName = irc.verona.example\nInfo = Verona\nListen = {address}\nPorts = 6667\n"
        "[Options]\nDNS = no\nIdent = no\nPAM = no\n"
    )

    def listens():
        with contextlib.suppress(OSError), socket.create_connection((address, 6667), timeout=1):
            return True
        return False

    with running("ngircd", "-n", "-f", config, log=folder / "ngircd.log"):
        until(listens, "ngircd listens")
        yield address


def join(alice, room):
    alice.write(f"<presence to='{room}/juliet'><x xmlns='{MUC}'/></presence>")
    alice.wait(lambda e: is_presence(e, f"{room}/juliet"))


@needs_irc
def test_a_chat_crosses_biboumi_to_an_irc_channel(served):
    room = f"#verona@{IRC}"
    with (
        irc_server(served.folder) as address,
        login(served, served.account("alice")) as alice,
        contextlib.closing(Irc(address, "romeo")) as romeo,
    ):
        with biboumi(served, address):
            join(alice, room)
            romeo.say("JOIN #verona")
            alice.wait(lambda e: is_presence(e, f"{room}/romeo"))
            romeo.say("PRIVMSG #verona :But soft")
            said = alice.wait(lambda e: body(e) == "But soft")
            assert (said.get("from"), said.get("type")) == (f"{room}/romeo", "groupchat")
            alice.write(
                f"<message to='{room}' type='groupchat'><body>Ay me</body></message>"
                f"<message to='{room}/romeo' type='chat'><body>Who is there?</body></message>"
            )
            assert "juliet" in romeo.wait("PRIVMSG #verona :Ay me")
            assert "juliet" in romeo.wait("PRIVMSG romeo :Who is there?")
        # It died: she sees everybody leave, herself as well.
        alice.wait(lambda e: is_presence(e, f"{room}/juliet", "unavailable"))
        alice.write(f"<presence to='{room}/juliet'><x xmlns='{MUC}'/></presence>")
        refused = alice.wait(lambda e: e.tag == PRESENCE and e.get("type") == "error")
        assert stanza_error(refused) == ("wait", "remote-server-timeout")
        with biboumi(served, address):
            join(alice, room)
            alice.write(f"<message to='{room}' type='groupchat'><body>Romeo?</body></message>")
            assert "juliet" in romeo.wait("PRIVMSG #verona :Romeo?")
