"""Stentor as the server under test. All that is known of its command line stands here."""

import dataclasses
import os
import shutil
from pathlib import Path

from .server import Account, Server, run_tool
from .settings import Unsupported

ROOT = Path(__file__).resolve().parents[2]


class Stentor(Server):
    """The built binary, or the one that STENTOR_BIN names."""

    name = "stentor"

    def prepare(self) -> None:
        self.binary = os.environ.get("STENTOR_BIN") or str(ROOT / "target/debug/stentor")
        assert shutil.which(self.binary), (
            f"no server at {self.binary}: build it, or set STENTOR_BIN"
        )
        self.config = self.folder / "stentor.toml"
        self.config.write_text(self._config())

    def _config(self) -> str:
        settings = self.settings
        for field in dataclasses.fields(settings):
            if field.name != "hosts" and getattr(settings, field.name) != field.default:
                raise Unsupported(f"no key is known for {field.name}")
        lines = [f'data_dir = "{self.folder}/data"']
        for kind, port in (("c2s", self.port), ("c2s-tls", self.tls_port)):
            lines += ["[[listen]]", f'kind = "{kind}"', f'address = "{self.address}:{port}"']
        for host in settings.hosts:
            lines += ["[[host]]", f'name = "{host}"']
        return "\n".join(lines) + "\n"

    def command(self) -> list[str]:
        return [self.binary, "--config", str(self.config)]

    @property
    def ca(self) -> Path:
        return self.folder / "data/tls/ca.pem"

    def create_account(self, account: Account) -> None:
        self._account("add", account, "--password", account.password)

    def delete_account(self, account: Account) -> None:
        self._account("remove", account)

    def suspend_account(self, account: Account, is_suspended: bool) -> None:
        self._account("suspend" if is_suspended else "resume", account)

    def _account(self, verb: str, account: Account, *more: str) -> None:
        run_tool(self.binary, "--config", self.config, "account", verb, account.jid, *more)
