"""A DNS server on loopback for the domains of the tests; everything else is not there."""

import socket
import struct
import threading

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from .server import free_ports

SOA = "ns.example. hostmaster.example. 1 3600 600 86400 {ttl}"


class Dns:
    """Answers over UDP and TCP from a table of records that tests change at will."""

    def __init__(self, address: str = "127.0.0.1", ttl: int = 1):
        self.ttl = ttl
        self.records: dict[tuple[dns.name.Name, int], list[str]] = {}
        # Names that are not answered at all, and all names that were asked for.
        self.silent: set[dns.name.Name] = set()
        self.asked: list[tuple[str, str]] = []
        self._sockets: list[socket.socket] = []
        self.address, (self.port,) = address, free_ports(1)
        self.listen(address, self.port)

    def listen(self, address: str, port: int) -> None:
        """Answers at one more address, for servers that ask no other port."""
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((address, port))
        tcp = socket.create_server((address, port))
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
            answer.answer.append(dns.rrset.from_text(name, self.ttl, "IN", kind, *values))
            return answer
        if not any(known.is_subdomain(name) for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        soa = SOA.format(ttl=self.ttl)
        answer.authority.append(dns.rrset.from_text("example.", self.ttl, "IN", "SOA", soa))
        return answer


def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(text.encode("idna").decode())
