"""Prosody as the server under test: it shows that the tests ask for what servers do."""

from pathlib import Path

from .certs import TestCa
from .server import Account, Server, run_tool
from .settings import Unsupported

MODULES = """roster saslauth tls disco ping offline message presence iq private vcard_legacy pep
lastactivity version time blocklist carbons posix websocket smacks""".split()


class Prosody(Server):
    """Debian's Prosody with a configuration of its own."""

    name = "prosody"
    has_websocket = True

    def prepare(self) -> None:
        settings = self.settings
        for name in (
            "offline_messages_max",
            "offline_days",
            "delivery",
            "disk_mib",
            "has_own_clock",
            "resource_conflict",
            "sessions_per_account_max",
            "address_failures_max",
            "account_failures_max",
            "login_delay_after",
            "client_certificates",
            "mechanisms",
            "push",
            "components",
        ):
            if getattr(settings, name):
                raise Unsupported(f"prosody has no {name}")
        if settings.gone_hosts:
            raise Unsupported("prosody has no hosts that are gone")
        self._ca = TestCa(self.folder / "ca")
        (self.folder / "data").mkdir()
        self.config = self.folder / "prosody.cfg.lua"
        self.config.write_text(self._config())

    def _config(self) -> str:
        settings = self.settings
        modules = "; ".join(f'"{module}"' for module in MODULES)
        first = self._certificate(settings.hosts[0])
        lines = [
            "run_as_root = true",
            f'data_path = "{self.folder}/data"',
            f'pidfile = "{self.folder}/prosody.pid"',
            f"modules_enabled = {{ {modules} }}",
            'modules_disabled = { "s2s" }',
            f'log = {{ {{ levels = {{ min = "info" }}, to = "file", filename = "{self.log}" }} }}',
            'authentication = "internal_hashed"',
            'interfaces = { "127.0.0.1" }',
            f"c2s_ports = {{ {self.port} }}",
            f"c2s_direct_tls_ports = {{ {self.tls_port} }}",
            f"c2s_direct_tls_ssl = {first}",
            "http_ports = { }",
            f"https_ports = {{ {self.web_port} }}",
            f"https_ssl = {first}",
            f"c2s_timeout = {settings.negotiation_secs or 30}",
        ]
        if settings.stanza_bytes_max:
            lines.append(f"c2s_stanza_size_limit = {settings.stanza_bytes_max}")
        for host in settings.hosts:
            lines += [f'VirtualHost "{host}"', f"  ssl = {self._certificate(host)}"]
        for host in settings.anonymous_hosts:
            lines += [f'VirtualHost "{host}"', f"  ssl = {self._certificate(host)}"]
            lines += ['  authentication = "anonymous"']
        return "\n".join(lines) + "\n"

    def _certificate(self, host: str) -> str:
        chain, key = self._ca.server(host, self.settings.certificate or "ecdsa")
        return f'{{ certificate = "{chain}"; key = "{key}"; }}'

    def command(self) -> list[str]:
        return ["prosody", "-F", "--config", str(self.config)]

    @property
    def ca(self) -> Path:
        return self._ca.pem

    def _ports_needed(self) -> list[int]:
        return [self.port, self.tls_port, self.web_port]

    def certificate_of(self, host: str) -> tuple[Path, Path]:
        return self._ca.server(host, self.settings.certificate or "ecdsa")

    def create_account(self, account: Account) -> None:
        self._control("register", account.local, account.domain, account.password)

    def delete_account(self, account: Account) -> None:
        self._control("deluser", account.jid)

    def suspend_account(self, account: Account, is_suspended: bool) -> None:
        raise Unsupported("prosody 0.12 suspends no accounts")

    def _control(self, *words: str) -> None:
        run_tool("prosodyctl", "--config", self.config, "--root", *words)
