"""Stentor as the server under test. All that is known of its command line stands here."""

import json
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from . import certs
from .clock import Clock
from .disk import Disk
from .server import PASSWORD, Account, Server, free_ports, run_tool, takes_commands
from .waiting import DEADLINE_SECS

ROOT = Path(__file__).resolve().parents[2]

# Limits against guessing passwords that no test reaches by chance.
FAR = 1_000_000


class Stentor(Server):
    """The built binary, or the one that STENTOR_BIN names."""

    name = "stentor"
    disk: Disk | None = None
    clock: Clock | None = None

    def prepare(self) -> None:
        self.binary = os.environ.get("STENTOR_BIN") or str(ROOT / "target/debug/stentor")
        assert shutil.which(self.binary), (
            f"no server at {self.binary}: build it, or set STENTOR_BIN"
        )
        if self.settings.certificate or self.settings.client_certificates:
            self.test_ca = certs.TestCa(self.folder / "certs")
        self.config = self.folder / "stentor.toml"
        self.config.write_text(self._config())
        self.data = self.folder / "data"
        if self.settings.has_own_clock or self.settings.has_fast_clock:
            self.clock = Clock(self.folder / "clock", self.settings.has_fast_clock)
        if self.settings.disk_mib:
            self.disk = Disk(self.data, self.settings.disk_mib)
            self.data = self.disk.seen_from_here

    def _config(self) -> str:
        settings = self.settings
        lines = [f'data_dir = "{self.folder}/data"']
        self.s2s_port, self.s2s_tls_port = free_ports(2)
        for kind, port in (
            ("c2s", self.port),
            ("c2s-tls", self.tls_port),
            ("s2s", self.s2s_port),
            ("s2s-tls", self.s2s_tls_port),
        ):
            lines += ["[[listen]]", f'kind = "{kind}"', f'address = "{self.address}:{port}"']
        for host in settings.hosts:
            lines += ["[[host]]", f'name = "{host}"']
        for host in settings.anonymous_hosts:
            lines += ["[[host]]", f'name = "{host}"', 'profile = "anonymous"']
        for host in settings.gone_hosts:
            lines += ["[[host]]", f'name = "{host}"', "gone = true"]
        if settings.components:
            (self.component_port,) = free_ports(1)
            lines += ["[[listen]]", 'kind = "component"']
            lines.append(f'address = "{self.address}:{self.component_port}"')
        for domain in settings.components:
            lines += ["[[component]]", f'domain = "{domain}"', f'secret = "{PASSWORD}"']
        lines += ["[profile.anonymous]", "anonymous = true"]
        lines += ["[profile.anonymous.modules.anonymous]", f"allow = {list(settings.hosts)}"]
        lines += ["[profile.default]"]
        if settings.delivery is not None:
            lines.append(f'delivery = "{settings.delivery}"')
        if settings.resource_conflict is not None:
            lines.append(f'resource_conflict = "{settings.resource_conflict}"')
        if settings.resume_secs is not None:
            lines.append(f"resume_secs = {settings.resume_secs}")
        if settings.sessions_per_account_max is not None:
            lines.append(f"sessions_max = {settings.sessions_per_account_max}")
        lines.append("[profile.default.modules.offline]")
        if settings.offline_messages_max is not None:
            lines.append(f"messages_max = {settings.offline_messages_max}")
        if settings.offline_days is not None:
            lines.append(f"expire_days = {settings.offline_days}")
        admins = json.dumps([f"xmpp:{a}@{settings.hosts[0]}" for a in settings.administrators])
        lines += ["[profile.default.modules.contact]", f"admin = {admins}"]
        if settings.push:
            lines += ["[profile.default.modules.push]", *settings.push]
        if settings.open_registration:
            lines += ["[profile.default.modules.register]", "open = true"]
        lines += self._tls() + self._limits() + self._sign_in()
        lines += ["[metrics]", 'address = ""', "[log]", 'level = "debug"']
        if settings.log_format is not None:
            lines.append(f'format = "{settings.log_format}"')
        return "\n".join(lines) + "\n"

    def _tls(self) -> list[str]:
        settings = self.settings
        lines = []
        if settings.certificate:
            for host in (*settings.hosts, *settings.anonymous_hosts):
                chain, key = self.test_ca.server(host, settings.certificate)
                lines += ["[[certificate]]", f'chain = "{chain}"', f'key = "{key}"']
        if settings.client_certificates:
            lines += ["[tls]", f'client_certificates = "{settings.client_certificates}"']
            lines.append(f'client_authority = "{self.test_ca.pem}"')
        return lines

    def _limits(self) -> list[str]:
        settings = self.settings
        lines = ["[limits]"]
        if settings.stanza_bytes_max is not None:
            lines.append(f"stanza_bytes_max = {settings.stanza_bytes_max}")
        if settings.idle_secs is not None:
            lines.append(f"idle_secs = {settings.idle_secs}")
        if settings.answer_wait_secs is not None:
            lines.append(f"answer_wait_secs = {settings.answer_wait_secs}")
        if settings.connections_per_minute is not None:
            lines.append(f"connections_per_source_per_minute = {settings.connections_per_minute}")
        if settings.negotiation_secs is not None:
            lines.append(f"header_wait_secs = {settings.negotiation_secs}")
            lines.append(f"sign_in_wait_secs = {settings.negotiation_secs}")
        return lines

    def _sign_in(self) -> list[str]:
        settings = self.settings

        def or_far(value: int | None) -> int:
            return FAR if value is None else value

        mechanisms = self.settings.mechanisms
        offered = [f"mechanisms = {json.dumps(mechanisms)}"] if mechanisms else []
        return [
            "[sign_in]",
            *offered,
            "iterations = 4096",
            f"source_failures_max = {or_far(settings.address_failures_max)}",
            f"source_block_secs = {settings.address_block_secs or 600}",
            f"account_failures_max = {or_far(settings.account_failures_max)}",
            f"account_lock_secs = {settings.account_lock_secs or 3600}",
            f"delay_after = {or_far(settings.login_delay_after)}",
        ]

    def command(self) -> list[str]:
        return [*self._prefix(), self.binary, "--config", str(self.config)]

    def _prefix(self) -> list[str]:
        parts = (self.disk, self.clock)
        return [word for part in parts if part for word in part.prefix]

    def _takes_commands(self) -> bool:
        return takes_commands(self.data)

    def dispose(self) -> None:
        super().dispose()
        if self.disk:
            self.disk.dispose()

    @property
    def ca(self) -> Path:
        if self.settings.certificate:
            return Path(self.test_ca.pem)
        return self.data / "tls/ca.pem"

    def certificate_of(self, host: str) -> tuple[Path, Path]:
        """The chain and the key that it shows for a host, where the test CA made them."""
        return self.test_ca.server(host, self.settings.certificate)

    def create_account(self, account: Account) -> None:
        self._account("add", account, "--password", account.password)

    def delete_account(self, account: Account) -> None:
        self._account("delete", account)

    def suspend_account(self, account: Account, is_suspended: bool) -> None:
        self._account("suspend" if is_suspended else "resume", account)

    def blocked_addresses(self) -> str:
        return self._tool("blocked", "list")

    def unblock(self, address: str) -> None:
        self._tool("blocked", "lift", address)

    def unlock(self, account: Account) -> None:
        self._account("unlock", account)

    def check_with(self, more: str = "", in_tls: str = "") -> tuple[int, str]:
        """Checks the configuration with more at its end or in `[tls]`: exit code, and what it said."""
        text = self.config.read_text().replace("[tls]\n", f"[tls]\n{in_tls}\n")
        other = self.folder / "checked.toml"
        other.write_text(f"{text}\n{more}\n")
        command = [self.binary, "--config", str(other), "check"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECS)
        return done.returncode, done.stdout + done.stderr

    def waiting_messages(self, account: Account) -> int:
        return json.loads(self._tool("--json", "account", "show", account.jid))["waiting_messages"]

    def back_up(self, name: str) -> None:
        self._tool("backup", str(self.folder / name))

    def restore(self, name: str) -> None:
        self.stop()
        for path in self.data.glob("stentor.db*"):
            path.unlink()
        shutil.copy(self.folder / name, self.data / "stentor.db")
        self.start()

    def reload(self) -> None:
        self._tool("reload")

    def counted(self) -> dict[str, int]:
        """What it has counted since its start."""
        return dict(json.loads(self._tool("--json", "status"))["counted"])

    def default_of(self, key: str) -> str:
        rows = [line.split("|") for line in self._tool("reference").splitlines()]
        (row,) = [row for row in rows if len(row) > 3 and row[1].strip() == f"`{key}`"]
        return row[3].strip(" `")

    def damage_offline_record(self, marker: bytes) -> None:
        with sqlite3.connect(self.data / "stentor.db") as database:
            changed = 0
            for table, column in (("offline", "stanza"), ("archive_messages", "body")):
                changed += database.execute(
                    f"UPDATE {table} SET {column} = substr({column}, 1, length({column}) / 2)"
                    f" WHERE instr({column}, ?) > 0",
                    (marker,),
                ).rowcount
        database.close()
        assert changed == 1, changed

    def records_put_aside(self) -> int:
        with sqlite3.connect(self.data / "stentor.db") as database:
            tables = ("offline_damaged", "archive_damaged")
            count = [database.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables]
        database.close()
        return sum(count)

    @contextmanager
    def slow_store(self, secs: float) -> Iterator[None]:
        """Every commit takes so long, as on a slow disk: the database is locked in between."""
        is_over = threading.Event()

        def hold():
            database = sqlite3.connect(self.data / "stentor.db", timeout=60, isolation_level=None)
            while not is_over.is_set():
                database.execute("BEGIN IMMEDIATE")
                locked.set()
                is_over.wait(secs)
                database.execute("ROLLBACK")
                # A moment in which what waits is written.
                is_over.wait(0.2)
            database.close()

        locked, thread = threading.Event(), threading.Thread(target=hold)
        thread.start()
        locked.wait()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def downgrade(self, version: int) -> list[str]:
        """Makes the database what an older release left: accounts and stored messages.

        The server is down. Stamps of the stored messages.
        """
        path = self.data / "stentor.db"
        newer = path.rename(path.with_name("newer.db"))
        scripts = sorted((ROOT / "crates/store-sqlite/src/migrations").glob("*.sql"))
        with sqlite3.connect(path) as database:
            database.execute("ATTACH ? AS newer", (str(newer),))
            program = database.execute("PRAGMA newer.application_id").fetchone()[0]
            database.execute(f"PRAGMA application_id = {program}")
            for script in scripts[:version]:
                database.executescript(script.read_text())
            database.execute(f"PRAGMA user_version = {version}")
            for table in ("accounts", "keys", "offline"):
                rows = database.execute(f"PRAGMA main.table_info({table})").fetchall()
                columns = ", ".join(row[1] for row in rows)
                database.execute(f"INSERT INTO {table} SELECT {columns} FROM newer.{table}")
            rows = database.execute("SELECT received_ms FROM offline ORDER BY id").fetchall()
        database.close()
        newer.unlink()
        return [_stamp(ms) for (ms,) in rows]

    def _account(self, verb: str, account: Account, *more: str) -> None:
        self._tool("account", verb, account.jid, *more)

    def _tool(self, *words: str) -> str:
        return run_tool(*self.command(), *words)


def _stamp(ms: int) -> str:
    """A time as XEP-0082 writes it."""
    text = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
