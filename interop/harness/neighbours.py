"""Servers that speak to each other: ours, Prosody, ejabberd, each with many domains."""

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import urllib.request
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

from .bad_certs import certificate
from .certs import TestCa
from .dns import Dns
from .far import Far
from .server import Account, Server, free_ports, run_tool, takes_commands
from .settings import Settings
from .stentor import ROOT
from .waiting import DEADLINE_SECS


@dataclass(frozen=True)
class Domain:
    """A domain of a server, how it is reached, and what its certificate is like."""

    name: str
    certificate: str = "valid"
    has_starttls: bool = True
    has_direct_tls: bool = True


@dataclass
class Region:
    """What servers share: a DNS server and an authority."""

    folder: Path
    dns: Dns = field(default_factory=Dns)

    def __post_init__(self):
        self.ca = TestCa(self.folder / "ca")
        self.folder.chmod(0o755)


@contextlib.contextmanager
def neighbourhood(*kinds, certificate: str = "valid", **ours):
    """Started servers of these kinds, each with a domain named after it, or as a pair says.

    `ours` are options of our own, whose certificate may be a bad one.
    """
    with tempfile.TemporaryDirectory(prefix="interop-federation-") as folder:
        region = Region(Path(folder))
        made = []
        try:
            for kind in kinds:
                kind, name = kind if isinstance(kind, tuple) else (kind, f"{kind.name}.example")
                is_ours = issubclass(kind, Stentor)
                domain = Domain(name, certificate if is_ours else "valid")
                made.append(kind(region, domain, **(ours if is_ours else {})))
            yield [server.start() for server in made]
        finally:
            for server in made:
                server.dispose()
            region.dns.close()


class Neighbour(Server):
    """A server of other servers. Clients reach it by `port` and `tls_port` as ever."""

    # Where it listens for others, and the name of that.
    s2s_address, s2s_host = "127.0.0.1", "localhost"

    def __init__(self, region: Region, *domains: Domain, **options):
        self.region, self.domains, self.options = region, domains, options
        self.s2s_port, self.s2s_tls_port = free_ports(2)
        super().__init__(Settings(hosts=tuple(domain.name for domain in domains)))
        self.folder.chmod(0o755)
        for domain in domains:
            region.dns.server_of(
                domain.name,
                self.s2s_port if domain.has_starttls else None,
                self.s2s_tls_port if domain.has_direct_tls else None,
                self.s2s_host,
            )

    @property
    def ca(self) -> Path:
        return self.region.ca.pem

    def client_context(self) -> ssl.SSLContext:
        """Clients of these servers take every certificate: servers are judged, not they."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def chain(self, domain: Domain) -> tuple[Path, Path]:
        ascii_name = domain.name.encode("idna").decode()
        return certificate(self.region.ca, ascii_name, domain.certificate)

    def delete_account(self, account: Account) -> None:
        raise NotImplementedError

    def suspend_account(self, account: Account, is_suspended: bool) -> None:
        raise NotImplementedError

    def _needed(self) -> list[tuple[str, int]]:
        of_servers = [(self.s2s_address, port) for port in (self.s2s_port, self.s2s_tls_port)]
        return [*super()._needed(), *of_servers]


def near(far: Far, kind: type[Neighbour]) -> type[Neighbour]:
    """Such a server, whose streams with others go over the cable."""

    class Near(kind):
        s2s_address, s2s_host = far.address, "near.example"

        def prepare(self) -> None:
            self.region.dns.add(self.s2s_host, "A", self.s2s_address)
            super().prepare()

    return Near


def beyond(far: Far, kind: type[Neighbour]) -> type[Neighbour]:
    """Such a server at the far end of the cable, with its clients and its DNS server."""

    class Beyond(kind):
        s2s_address, s2s_host = far.far_address, "far.example"

        def prepare(self) -> None:
            dns = self.region.dns
            dns.listen(dns.address, dns.port, far.socket)
            dns.add(self.s2s_host, "A", self.s2s_address)
            super().prepare()

        def command(self) -> list[str]:
            return far.command(*super().command())

        def client_socket(self) -> socket.socket:
            return far.socket()

        def _is_listening(self) -> bool:
            with self.client_socket() as probe:
                is_there = probe.connect_ex((self.address, self.tls_port)) == 0
            return is_there and super()._is_listening()

        def _needed(self) -> list[tuple[str, int]]:
            return [(self.s2s_address, port) for port in (self.s2s_port, self.s2s_tls_port)]

    return Beyond


class Stentor(Neighbour):
    """Ours. `options` are keys of `[federation]`; `extra` is more of the configuration."""

    name = "stentor"

    def prepare(self) -> None:
        self.binary = os.environ.get("STENTOR_BIN") or str(ROOT / "target/debug/stentor")
        assert shutil.which(self.binary), f"no server at {self.binary}"
        dns, options = self.region.dns, dict(self.options)
        extra = options.pop("extra", "")
        lines = [f'data_dir = "{self.folder}/data"']
        for kind, address, port in (
            ("c2s", self.address, self.port),
            ("c2s-tls", self.address, self.tls_port),
            ("s2s", self.s2s_address, self.s2s_port),
            ("s2s-tls", self.s2s_address, self.s2s_tls_port),
        ):
            at = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            lines += ["[[listen]]", f'kind = "{kind}"', f'address = "{at}"']
        for domain in self.domains:
            chain, key = self.chain(domain)
            lines += ["[[host]]", f'name = "{domain.name}"']
            lines += ["[[certificate]]", f'chain = "{chain}"', f'key = "{key}"']
        lines += ["[federation]", f'dns = "{dns.address}:{dns.port}"']
        lines += [f'authority = "{self.region.ca.pem}"']
        lines += [f"{key} = {json.dumps(value)}" for key, value in options.items()]
        lines += ["[sign_in]", "iterations = 4096", "source_failures_max = 1000000"]
        (self.metrics_port,) = free_ports(1)
        lines += ["delay_after = 1000000", "[metrics]"]
        lines += [f'address = "{self.address}:{self.metrics_port}"']
        lines += ["[log]", 'level = "info"', 'format = "json"', extra]
        self.config = self.folder / "stentor.toml"
        self.config.write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [self.binary, "--config", str(self.config)]

    def _takes_commands(self) -> bool:
        return takes_commands(self.folder / "data")

    def create_account(self, account: Account) -> None:
        words = ("account", "add", account.jid, "--password", account.password)
        run_tool(self.binary, "--config", self.config, *words)

    def command_line(self, *words: str) -> dict:
        """What a command answers."""
        return json.loads(run_tool(self.binary, "--config", self.config, "--json", *words))

    def metrics(self) -> dict[str, float]:
        """What the page for Prometheus says, by the name with its labels."""
        with contextlib.closing(HTTPConnection(self.address, self.metrics_port)) as page:
            page.sock = self.client_socket()
            page.sock.settimeout(DEADLINE_SECS)
            page.sock.connect((self.address, self.metrics_port))
            page.request("GET", "/metrics")
            lines = page.getresponse().read().decode().splitlines()
        values = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in values}

    def events(self, *names: str) -> list[dict]:
        """What the log says of these events."""
        found = []
        for line in self.log_text().splitlines(keepends=True):
            # The last one may still be being written.
            if line.startswith("{") and line.endswith("\n"):
                entry = json.loads(line)
                if entry.get("event") in names:
                    found.append(entry)
        return found


class Prosody(Neighbour):
    """Debian's Prosody."""

    name = "prosody"

    MODULES = """admin_shell roster saslauth tls dialback disco ping offline message presence iq private
    vcard_legacy pep blocklist carbons posix smacks s2s s2s_auth_certs""".split()

    def prepare(self) -> None:
        modules = [*self.MODULES]
        if self.options.get("bidi", True):
            modules.append("s2s_bidi")
        dns = self.region.dns
        first = self._tls(self.domains[0])
        listed = "; ".join(f'"{module}"' for module in modules)
        log = f'{{ levels = {{ min = "debug" }}, to = "file", filename = "{self.log}" }}'
        lines = [
            "run_as_root = true",
            f'data_path = "{self.folder}/data"',
            f'pidfile = "{self.folder}/prosody.pid"',
            f"modules_enabled = {{ {listed} }}",
            f"log = {{ {log} }}",
            'authentication = "internal_hashed"',
            'interfaces = { "127.0.0.1" }',
            f"c2s_ports = {{ {self.port} }}",
            f"c2s_direct_tls_ports = {{ {self.tls_port} }}",
            f"s2s_ports = {{ {self.s2s_port} }}",
            f's2s_interfaces = {{ "{self.s2s_address}" }}',
            f's2s_direct_tls_interfaces = {{ "{self.s2s_address}" }}',
            f"s2s_direct_tls_ports = {{ {self.s2s_tls_port} }}",
            f"c2s_direct_tls_ssl = {first}",
            f"s2s_direct_tls_ssl = {first}",
            "http_ports = { }",
            "https_ports = { }",
            # Otherwise the library asks no server on this machine.
            f'unbound = {{ resolvconf = false; forward = "{dns.address}@{dns.port}"; '
            'options = { ["do-not-query-localhost:"] = "no"; ["cache-max-ttl:"] = "1"; '
            '["cache-max-negative-ttl:"] = "1" } }',
            f'ssl = {{ cafile = "{self.region.ca.pem}" }}',
            "smacks_s2s_resend = true",
            *self.options.get("extra", ()),
        ]
        for domain in self.domains:
            tls = self._tls(domain)
            lines += [f'VirtualHost "{domain.name}"', f"  ssl = {tls}"]
            lines += [f"  s2s_direct_tls_ssl = {tls}"]
        (self.folder / "data").mkdir()
        self.config = self.folder / "prosody.cfg.lua"
        self.config.write_text("\n".join(lines) + "\n")

    def _tls(self, domain: Domain) -> str:
        chain, key = self.chain(domain)
        files = f'certificate = "{chain}"; key = "{key}"; cafile = "{self.region.ca.pem}"'
        return f"{{ {files} }}"

    def command(self) -> list[str]:
        return ["prosody", "-F", "--config", str(self.config)]

    def create_account(self, account: Account) -> None:
        words = ("register", account.local, account.domain, account.password)
        run_tool("prosodyctl", "--config", self.config, "--root", *words)

    def close_streams(self, domain: str) -> None:
        """Ends the streams with another domain by the command line."""
        words = ("shell", "s2s", "close", domain, self.domain)
        run_tool("prosodyctl", "--config", self.config, "--root", *words)


class Ejabberd(Neighbour):
    """Debian's ejabberd."""

    name = "ejabberd"

    def prepare(self) -> None:
        folder, dns = self.folder, self.region.dns
        (folder / "spool").mkdir()
        self.node = f"{folder.name.replace('-', '_')}@localhost"
        files = []
        for domain in self._certified():
            chain, key = self.chain(domain)
            both = folder / f"{domain.name}.both.pem"
            both.write_bytes(chain.read_bytes() + key.read_bytes())
            files.append(str(both))
        lines = [
            f"hosts: {json.dumps([domain.name for domain in self.domains])}",
            "loglevel: debug",
            f"certfiles: {json.dumps(files)}",
            f'ca_file: "{self.region.ca.pem}"',
            "s2s_use_starttls: required",
            "auth_password_format: scram",
            "listen:",
        ]
        for port, module, more in self._listeners():
            more = f", {more}" if more else ""
            lines.append(f'  - {{ port: {port}, ip: "127.0.0.1", module: {module}{more} }}')
        lines.append(
            f'  - {{ port: {self.web_port}, ip: "127.0.0.1", module: ejabberd_http, '
            'request_handlers: { "/api": mod_http_api } }'
        )
        lines += ["api_permissions:"]
        lines += ['  "tests": { from: [mod_http_api], who: all, what: [register, stop] }']
        lines += ["modules:"]
        lines += [f"  mod_{name}: {{}}" for name in self.MODULES]
        (folder / "ejabberd.yml").write_text("\n".join(lines) + "\n")
        (folder / "ejabberdctl.cfg").write_text("")
        address = dns.address.replace(".", ",")
        (folder / "inetrc").write_text(
            # Naming no file forgets the servers named before it.
            '{lookup, [file, dns]}.\n{resolv_conf, ""}.\n{cache_size, 0}.\n'
            f'{{nameserver, {{{address}}}, {dns.port}}}.\n'
        )
        self.log = folder / "ejabberd.log"
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "ejabberd", folder], check=True)
            for path in self.region.ca.folder.glob("*"):
                path.chmod(0o644)

    def _listeners(self) -> list[tuple[int, str, str]]:
        tls = f'tls: true, cafile: "{self.region.ca.pem}"'
        return [
            (self.port, "ejabberd_c2s", "starttls: true"),
            (self.tls_port, "ejabberd_c2s", "tls: true"),
            (self.s2s_port, "ejabberd_s2s_in", ""),
            (self.s2s_tls_port, "ejabberd_s2s_in", tls),
        ]

    def _certified(self) -> list[Domain]:
        return [domain for domain in self.domains if domain.certificate != "wrong-name"]

    MODULES = """adhoc blocking caps carboncopy disco last offline ping privacy private roster
    s2s_dialback stream_mgmt vcard version""".split()

    def _ctl(self, *words: str) -> list[str]:
        folder = str(self.folder)
        command = ["ejabberdctl", "--node", self.node, "--config-dir", folder]
        return [*command, "--logs", folder, "--spool", f"{folder}/spool", *words]

    def command(self) -> list[str]:
        return self._ctl("foreground")

    def _ports_needed(self) -> list[int]:
        return [*super()._ports_needed(), self.web_port]

    def create_account(self, account: Account) -> None:
        words = {"user": account.local, "host": account.domain, "password": account.password}
        self._api("register", words)

    def _api(self, command: str, words: dict) -> None:
        url = f"http://{self.address}:{self.web_port}/api/{command}"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(words).encode(), headers)
        with urllib.request.urlopen(request, timeout=DEADLINE_SECS) as answer:
            answer.read()

    def _end(self, sign) -> None:
        if self.process is not None and self.process.poll() is None:
            # The process is a shell round the node, which no signal reaches.
            with contextlib.suppress(OSError):
                self._api("stop", {})
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=20)
        super()._end(sign)
