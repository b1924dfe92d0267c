"""A thousand malformed inputs, while others talk on undisturbed."""

import collections
import threading
from concurrent.futures import ThreadPoolExecutor

import malformed
from harness.names import (
    CLIENT,
    MESSAGE,
    PING,
    SASL,
    STREAM,
    STREAMS_ERRORS,
    body,
    condition,
    q,
    stanza_error,
)
from harness.raw import RawStream, header, login, show

WORKERS = 3


class Talk(threading.Thread):
    """Two sessions that exchange messages until told to stop; `wrong` says what went wrong."""

    def __init__(self, one, other):
        super().__init__()
        self.one, self.other = one, other
        self.count, self.wrong = 0, ""
        self.stop = threading.Event()

    def run(self):
        while not self.stop.is_set() and not self.wrong:
            for sender, receiver in ((self.one, self.other), (self.other, self.one)):
                text = f"talk {self.count}"
                sender.write(
                    f"<message to='{receiver.jid}' type='chat'><body>{text}</body></message>"
                )
                try:
                    got = receiver.next()
                except AssertionError as failure:
                    self.wrong = repr(failure)
                    return
                if got.tag != MESSAGE or body(got) != text:
                    self.wrong = f"instead of {text}: {show(got)}"
                    return
                self.count += 1


class Judge:
    """Writes cases and says what was wrong about the answers."""

    def __init__(self, server, account):
        self.server, self.account = server, account
        self.shared = None
        self.wrong = []

    def judge(self, case):
        stream = None
        try:
            stream = self._stream(case)
            stream.write_carelessly(case.data + self._probe(case))
            got = self._answer(case, stream)
            if not self._is_right(case, got):
                self.wrong.append(f"{case.name}: {got}, not {case.conditions}: {case.data[:120]}")
        except AssertionError as failure:
            self.wrong.append(f"{case.name}: {failure}: {case.data[:120]}")
            self.shared = None
        finally:
            if stream is not None and stream is not self.shared:
                stream.sock.close()

    def _is_right(self, case, got):
        return got in case.conditions or (self.server.name == "prosody" and got is not None)

    def _stream(self, case):
        if case.answer == "stanza":
            if self.shared is None:
                self.shared = login(self.server, self.account)
            return self.shared
        if case.when == "bound":
            return login(self.server, self.account)
        stream = RawStream(self.server, "tls")
        if case.when == "secured":
            stream.secure()
        return stream

    def _probe(self, case):
        """What is answered only where the malformed input was taken."""
        if case.answer != "stream":
            return b""
        if case.when == "opening":
            return header(self.server.domain).encode()
        return f"<iq type='get' id='after'><ping xmlns='{PING}'/></iq>".encode()

    def _answer(self, case, stream):
        """The condition that came, after all that belongs to such an error was seen."""
        if case.answer == "stanza":
            answer = stream.wait(lambda e: e.get("id") == "bad" or e.tag == q(STREAM, "error"))
            assert answer.tag != q(STREAM, "error"), show(answer)
            error = stanza_error(answer)
            assert error is not None and answer.tag.startswith(q(CLIENT, "")), show(answer)
            assert error[0] in ("auth", "cancel", "continue", "modify", "wait"), error
            stream.ping()
            return error[1]
        if case.answer == "sasl":
            answer = stream.next()
            if answer.tag == q(STREAM, "error"):
                return f"stream error {condition(answer, STREAMS_ERRORS)}"
            assert answer.tag == q(SASL, "failure"), show(answer)
            return condition(answer, SASL)
        error = stream.wait(
            lambda e: e.tag in (q(STREAM, "error"), q(STREAM, "features")) or e.get("id") == "after"
        )
        assert error.tag == q(STREAM, "error"), "taken"
        stream.expect_end()
        return condition(error, STREAMS_ERRORS)


def test_malformed_inputs_get_errors(server_with, enter, prosody_differs):
    server = server_with(stanza_bytes_max=malformed.STANZA_BYTES_MAX)
    victim = enter("victim", at=server)
    talk = Talk(enter("one", at=server), enter("other", at=server))
    talk.start()
    cases = malformed.cases(victim.jid, server.domain)
    assert len(cases) == 1000 and len({case.data for case in cases}) == 1000
    lanes = [cases[n::WORKERS] for n in range(WORKERS)]
    judges = [Judge(server, server.account("mallory")) for _ in lanes]

    def work(judge, lane):
        for case in lane:
            judge.judge(case)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, judges, lanes))
    before = talk.count
    talk.stop.set()
    talk.join()
    wrong = [line for judge in judges for line in judge.wrong]
    kinds = collections.Counter(line.partition(": ")[2].partition(":")[0] for line in wrong)
    print(f"{len(wrong)} of {len(cases)} wrong, {before} messages meanwhile: {kinds}")
    print(*wrong[:200], sep="\n")
    assert not talk.wrong, talk.wrong
    assert before > len(cases) // 10, "the others were held up"
    assert "panicked" not in server.log_text()
    with prosody_differs("leaves many unanswered, and delivers some"):
        assert wrong == [], f"{len(wrong)} cases: {dict(kinds)}"
        came = [e.tag for e in victim.ping()]
        assert came == [], "nothing of it is delivered"
