"""A DNS server on loopback for the domains of the tests; everything else is not there.

It signs its answers (RFC 4035) when that is wanted, each as it is asked for.
"""

import socket
import struct
import threading

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .server import free_ports

SOA = "ns.example. hostmaster.example. 1 3600 600 86400 {ttl}"


APEX = dns.name.from_text("example")
DAY = 86400


class Dns:
    """Answers over UDP and TCP from a table of records that tests change at will."""

    def __init__(self, address: str = "127.0.0.1", ttl: int = 1):
        self.ttl = ttl
        self.records: dict[tuple[dns.name.Name, int], list[str]] = {}
        # Names that are not answered at all, and all names that were asked for.
        self.silent: set[dns.name.Name] = set()
        self.asked: list[tuple[str, str]] = []
        # What signs the zone `example`, and names whose answers get wrong signatures.
        self.key: Ed25519PrivateKey | None = None
        self.forged: set[dns.name.Name] = set()
        # A zone in it that nobody signs.
        self.plain: dns.name.Name | None = None
        self._sockets: list[socket.socket] = []
        self.address, (self.port,) = address, free_ports(1)
        self.listen(address, self.port)

    def listen(self, address: str, port: int, make=socket.socket) -> None:
        """Answers at one more address, for servers that ask no other port; `make` makes sockets."""
        udp, tcp = (make(socket.AF_INET, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM))
        udp.bind((address, port))
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((address, port))
        tcp.listen()
        self._sockets += [udp, tcp]
        for serve, on in ((self._serve_udp, udp), (self._serve_tcp, tcp)):
            threading.Thread(target=serve, args=(on,), daemon=True).start()

    def add(self, name: str, kind: str, *values: str) -> None:
        """Adds records: `add("a.example", "SRV", "0 0 5269 host.example.")`."""
        key = (_name(name), dns.rdatatype.from_text(kind))
        self.records.setdefault(key, []).extend(values)

    def silence(self, *names: str) -> None:
        """Questions about these names get no answer from now on."""
        self.silent.update(map(_name, names))

    def sign(self) -> str:
        """Everything is signed from now on; the key that a validator begins at."""
        self.key = Ed25519PrivateKey.generate()
        made = dns.dnssec.make_dnskey(self.key.public_key(), dns.dnssec.ED25519, flags=257)
        self.add("example", "DNSKEY", made.to_text())
        self.add("example", "NS", "ns.example.")
        return f"example. {DAY} IN DNSKEY {made.to_text()}"

    def leave_unsigned(self, zone: str) -> None:
        """A zone below `example` that has no signatures."""
        self.plain = _name(zone)
        self.add(zone, "NS", "ns.example.")

    def forge(self, name: str) -> None:
        """The answers about this name are signed wrongly from now on."""
        self.forged.add(_name(name))

    def remove(self, name: str, kind: str) -> None:
        self.records.pop((_name(name), dns.rdatatype.from_text(kind)), None)

    def server_of(
        self, domain: str, port: int | None, direct_port: int | None, host: str = "localhost"
    ) -> None:
        """Says where the server of a domain is; a port that is none has no record.

        ejabberd 23.01 asks DNS for services, but the system's library for addresses: the host must
        be one that both know.
        """
        for service, at in (("_xmpp-server", port), ("_xmpps-server", direct_port)):
            if at:
                self.add(f"{service}._tcp.{domain}", "SRV", f"0 0 {at} {host}.")

    def move(self, domain: str, port: int | None, direct_port: int | None) -> None:
        """Says that the server of a domain is somewhere else."""
        for service in ("_xmpp-server", "_xmpps-server"):
            self.remove(f"{service}._tcp.{domain}", "SRV")
        self.server_of(domain, port, direct_port)

    def close(self) -> None:
        for listening in self._sockets:
            listening.close()

    def _serve_udp(self, udp: socket.socket) -> None:
        while True:
            try:
                data, peer = udp.recvfrom(4096)
                answer = self._answer(data)
                if answer is not None:
                    udp.sendto(answer.to_wire(max_size=65535), peer)
            except OSError:
                return

    def _serve_tcp(self, tcp: socket.socket) -> None:
        while True:
            try:
                connection, _ = tcp.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    (size,) = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))
                    answer = self._answer(connection.recv(size, socket.MSG_WAITALL))
                    if answer is not None:
                        wire = answer.to_wire(max_size=65535)
                        connection.sendall(struct.pack("!H", len(wire)) + wire)
                except (OSError, struct.error):
                    continue

    def _answer(self, data: bytes) -> dns.message.Message | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name, question.rdtype
        self.asked.append((str(name).rstrip("."), dns.rdatatype.to_text(kind)))
        if name in self.silent:
            return None
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA | dns.flags.AA
        values = self.records.get((name, kind))
        if values:
            answer.answer += self._signed(dns.rrset.from_text(name, self.ttl, "IN", kind, *values))
            return answer
        is_plain = self._is_plain(name) and kind != dns.rdatatype.DS
        apex = self.plain if is_plain else APEX
        soa = dns.rrset.from_text(apex, self.ttl, "IN", "SOA", SOA.format(ttl=self.ttl))
        answer.authority += self._signed(soa)
        if self.key and not is_plain:
            # This name is there and has nothing of the kind.
            kinds = [dns.rdatatype.to_text(k) for known, k in self.records if known == name]
            following = "\\000." + name.to_text()
            nsec = f"{following} {' '.join([*kinds, 'RRSIG', 'NSEC'])}"
            answer.authority += self._signed(
                dns.rrset.from_text(name, self.ttl, "IN", "NSEC", nsec)
            )
        elif not any(known.is_subdomain(name) for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    def _is_plain(self, name: dns.name.Name) -> bool:
        return self.plain is not None and name.is_subdomain(self.plain)

    def _signed(self, rrset: dns.rrset.RRset) -> list[dns.rrset.RRset]:
        """The records, and their signature where there is one."""
        # What is said of a zone's keys is said above it.
        is_plain = self._is_plain(rrset.name) and rrset.rdtype != dns.rdatatype.NSEC
        if not self.key or is_plain or not rrset.name.is_subdomain(APEX):
            return [rrset]
        made = dns.dnssec.make_dnskey(self.key.public_key(), dns.dnssec.ED25519, flags=257)
        signature = dns.dnssec.sign(rrset, self.key, APEX, made, lifetime=DAY)
        if rrset.name in self.forged:
            wrong = bytes([signature.signature[0] ^ 1]) + signature.signature[1:]
            signature = signature.replace(signature=wrong)
        return [rrset, dns.rrset.from_rdata(rrset.name, self.ttl, signature)]


def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(text.encode("idna").decode())
