"""What was recorded on one connection is worth nothing on another."""

import ssl

from harness import sasl
from harness.names import SASL, SASL2, STREAM, bodies, condition, q
from harness.raw import RawStream, show
from harness.waiting import DEADLINE_SECS
from test_sasl2 import Device


class Taped:
    """A TLS connection whose records are kept as they go over the wire."""

    def __init__(self, sock, context, name):
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        self.tape = b""
        self._until_done(self.tls.do_handshake)

    def _until_done(self, act):
        while True:
            try:
                done = act()
                self._flush()
                return done
            except ssl.SSLWantReadError:
                self._flush()
                data = self.sock.recv(65536)
                if not data:
                    return b""
                self.incoming.write(data)

    def _flush(self):
        data = self.outgoing.read()
        self.tape += data
        self.sock.sendall(data)

    def sendall(self, data):
        self.tls.write(data)
        self._flush()

    def recv(self, size):
        return self._until_done(lambda: self.tls.read(size))

    def settimeout(self, secs):
        self.sock.settimeout(secs)

    def close(self):
        self.sock.close()


class TapedStream(RawStream):
    """A stream over such a connection."""

    def wrap_tls(self, sni=None, context=None):
        context = ssl.create_default_context(cafile=str(self.server.ca))
        self.sock.settimeout(DEADLINE_SECS)
        self.sock = Taped(self.sock, context, self.server.domain)

    def enter(self, account):
        self.open(account.domain)
        self.features()
        self.sign_in(account)
        self.bind()


def begin(server):
    stream = RawStream(server, "tls")
    stream.secure()
    return stream


# covers: sec-18
def test_replayed_sign_ins_and_records_are_refused(server):
    account = server.account("replay")

    # SCRAM: the server's nonce is another one each time.
    scram = sasl.Scram("SCRAM-SHA-256", account.local, account.password)
    with begin(server) as stream:
        answer = stream.auth("SCRAM-SHA-256", first := scram.first())
        final = scram.final(sasl.unb64(answer.text))
        assert stream.respond(final).tag == q(SASL, "success")
    with begin(server) as stream:
        assert stream.auth("SCRAM-SHA-256", first).tag == q(SASL, "challenge")
        refused = stream.respond(final)
        assert condition(refused, SASL) == "not-authorized", show(refused)
    with begin(server) as stream:
        other = sasl.Scram("SCRAM-SHA-256", account.local, account.password)
        challenge = sasl.unb64(stream.auth("SCRAM-SHA-256", other.first()).text)
        refused = stream.respond(other.final(challenge, nonce=scram.nonce + "changed"))
        assert condition(refused, SASL) == "not-authorized", show(refused)

    # Tokens: a count that was used, and a token that was given up.
    device = Device(server, account)
    device.sign_in().close()
    for count, expected in ((7, None), (7, "not-authorized"), (6, "not-authorized")):
        stream, answer = device.come_back(count=count)
        with stream:
            got = condition(answer, SASL) if answer.tag == q(SASL2, "failure") else None
            assert got == expected, show(answer)
    stream, answer = device.come_back(count=8, fast="invalidate='1'")
    stream.close()
    assert answer.tag == q(SASL2, "success")
    stream, answer = device.come_back(count=9)
    with stream:
        assert condition(answer, SASL) == "credentials-expired", show(answer)

    # TLS: records of one connection are noise on another.
    with begin(server) as friend:
        friend.sign_in(server.account("friend"))
        friend.bind()
        with TapedStream(server, "tls") as one, TapedStream(server, "tls") as two:
            one.enter(account)
            two.enter(account)
            one.sock.tape = b""
            one.write(f"<message to='{friend.jid}'><body>once</body></message>")
            record = one.sock.tape
            assert bodies(one.barrier(friend)[0]) == ["once"]
            two.sock.sock.sendall(record)
            assert not [e for e in two.drain() if not e.tag.startswith(q(STREAM, ""))]
            assert bodies(one.barrier(friend)[0]) == []
