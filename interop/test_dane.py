"""Certificates that signed records of DNS tell of (RFC 6698, RFC 7673, RFC 7712)."""

import contextlib
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from harness.names import MESSAGE, stanza_error
from harness.neighbours import Domain, Prosody, Region, Stentor
from harness.people import Person
from harness.raw import login
from harness.scenes import chat, has_id
from harness.waiting import until

OURS = "ours.example"
# A certificate that proves nothing to who knows no record of it.
SELF_SIGNED = "self-signed"


@dataclass(frozen=True)
class Case:
    """A domain of Prosody's. `record` makes its TLSA record; `host` is the name of its server."""

    name: str
    certificate: str
    record: str | None = None
    host: str = ""
    forged: str = ""
    is_plain: bool = False

    @property
    def domain(self) -> str:
        return f"{self.name}.plain.example" if self.is_plain else f"{self.name}.example"

    @property
    def server(self) -> str:
        return self.host or f"server.{self.domain}"


MATCHES, CONTRADICTS = "3 1 1 its", "3 1 1 other"

CASES = {
    case.name: case
    for case in (
        Case("matching", SELF_SIGNED, MATCHES),
        Case("whole", "expired", "3 0 0 its"),
        Case("issued", "valid", "2 0 1 authority"),
        Case("contradicted", "valid", CONTRADICTS),
        Case("elsewhere", SELF_SIGNED, "2 0 1 authority"),
        Case("forged-record", "valid", MATCHES, forged="record"),
        Case("forged-service", "valid", forged="service"),
        Case("named-by-host", "wrong-name", host="elsewhere.example"),
        Case("unsigned", "valid", CONTRADICTS, is_plain=True),
        Case("unsigned-unproven", SELF_SIGNED, MATCHES, is_plain=True),
        Case("unsigned-host", "wrong-name", host="elsewhere.example", is_plain=True),
    )
}
NOT_BELIEVED = "its certificate is not believed: no TLSA record matches it"
BOGUS = "the signatures of DNS are wrong (DNSSEC: bogus)"

# What becomes of our stream to them: their certificate, or the error and its reason.
WE_CONNECT = {
    "matching": "dane",
    "whole": "dane",
    "issued": "dane",
    "contradicted": ("remote-server-timeout", NOT_BELIEVED),
    "elsewhere": ("remote-server-timeout", NOT_BELIEVED),
    "forged-record": ("remote-server-not-found", BOGUS),
    "forged-service": ("remote-server-not-found", BOGUS),
    "named-by-host": "valid",
    "unsigned": "valid",
    "unsigned-unproven": "unproven",
    # The name that an unsigned record leads to is none to be proven.
    "unsigned-host": "unproven",
}

# What becomes of theirs to us: how they prove themselves and by what, or why they do not.
THEY_CONNECT = {
    "matching": ("external", "dane"),
    "whole": ("external", "dane"),
    "contradicted": "no TLSA record matches it",
    "forged-record": BOGUS,
    "named-by-host": ("external", "valid"),
    "unsigned": ("external", "valid"),
    "unsigned-unproven": ("dialback", "unproven"),
}


@pytest.fixture(scope="module")
def servers():
    """Ours, and a Prosody whose domains have these records and which has a stream for each way."""
    with tempfile.TemporaryDirectory(prefix="interop-dane-") as folder:
        region = Region(Path(folder))
        anchor = region.folder / "anchor"
        anchor.write_text(region.dns.sign() + "\n")
        region.dns.leave_unsigned("plain.example")
        options = {"dnssec": True, "trust_anchor": str(anchor)}
        ours = Stentor(region, Domain(OURS), **options)
        cases = [Domain(case.domain, case.certificate, True, False) for case in CASES.values()]
        theirs = Prosody(region, *cases, bidi=False)
        for case, domain in zip(CASES.values(), cases, strict=True):
            _publish(region, theirs, case, domain)
        with contextlib.ExitStack() as stack:
            stack.callback(region.dns.close)
            for server in (ours, theirs):
                stack.callback(server.dispose)
                server.start()
            yield ours, theirs


def _publish(region: Region, theirs: Prosody, case: Case, domain: Domain) -> None:
    dns = region.dns
    service = f"_xmpp-server._tcp.{case.domain}"
    dns.remove(service, "SRV")
    dns.server_of(case.domain, theirs.s2s_port, None, case.server)
    dns.add(case.server, "A", "127.0.0.1")
    record = f"_{theirs.s2s_port}._tcp.{case.server}"
    if case.record:
        fields, _, whose = case.record.rpartition(" ")
        own = theirs.chain(domain)[0]
        of = {"its": own, "authority": region.ca.pem, "other": region.ca.pem}[whose]
        dns.add(record, "TLSA", f"{fields} {_data(fields, of)}")
    if case.forged:
        dns.forge({"record": record, "service": service}[case.forged])


def _data(fields: str, path: Path) -> str:
    """The certificate association data of RFC 6698 §2.1.4."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    _, selector, matching = fields.split()
    selected = certificate.public_bytes(Encoding.DER)
    if selector == "1":
        key = certificate.public_key()
        selected = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return selected.hex() if matching == "0" else hashlib.sha256(selected).hexdigest()


@pytest.mark.parametrize("name", WE_CONNECT)
def test_signed_records_decide_whom_we_speak_to(servers, name):
    """Signed records decide against authorities and for who has none; wrong signatures make a domain
    unusable; without signatures all is as without DANE. The validator's own anchor is that of the
    zone, which stands for a validating resolver: ours validates itself."""
    ours, theirs = servers
    case, expected = CASES[name], WE_CONNECT[name]
    alice = Person(ours, f"alice-{name}")
    with login(theirs, theirs.account("dora", case.domain), "here", mode="starttls") as dora:
        ident = chat(alice.stream, dora.account.jid, "hello")
        if isinstance(expected, str):
            assert dora.wait(has_id(ident)).tag == MESSAGE
            [stream] = [e for e in ours.events("s2s_out") if e["remote"] == case.domain]
            assert (stream["certificate"], stream["tls"]) == (expected, "TLS 1.3")
            found = [e for e in ours.events("s2s_found") if e["remote"] == case.domain]
            assert ("TLSA" in found[0]["servers"]) == (case.record is not None and not case.is_plain)
            return
        condition, reason = expected
        assert stanza_error(alice.stream.wait(has_id(ident)))[1] == condition
        failed = {e["reason"] for e in ours.events("s2s_failed") if e["remote"] == case.domain}
        assert failed == {reason}
        assert not [e for e in ours.events("s2s_out") if e["remote"] == case.domain]


@pytest.mark.parametrize("name", THEY_CONNECT)
def test_signed_records_decide_who_speaks_to_us(servers, name):
    """RFC 7712 §4.2: who calls shows the certificate of one of its domain's servers."""
    ours, theirs = servers
    case, expected = CASES[name], THEY_CONNECT[name]
    alice = Person(ours, f"bob-{name}")
    with login(theirs, theirs.account("emil", case.domain), "here", mode="starttls") as emil:
        ident = chat(emil, alice.jid, "hello")

        def of(*events: str) -> list[dict]:
            return [e for e in ours.events(*events) if e["remote"] == case.domain]

        if isinstance(expected, tuple):
            assert alice.stream.wait(has_id(ident)).tag == MESSAGE
            assert {(e["how"], e["certificate"]) for e in of("s2s_in")} == {expected}
            return
        until(lambda: of("s2s_in_refused"), "they are refused")
        assert {e["certificate"] for e in of("s2s_in_refused")} == {expected}
        assert not of("s2s_in")
