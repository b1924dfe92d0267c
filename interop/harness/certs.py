"""A test CA, and certificates from it, made with the openssl command."""

import subprocess
from pathlib import Path

XMPP_ADDR = "1.3.6.1.5.5.7.8.5"


class TestCa:
    """A CA in a folder of its own."""

    __test__ = False

    def __init__(self, folder: Path, name: str = "Interop CA"):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.pem = folder / "ca.pem"
        self.key = folder / "ca.key"
        if not self.pem.exists():
            _new_key(self.key, "ecdsa")
            _openssl(
                "req",
                "-x509",
                "-new",
                "-key",
                self.key,
                "-days",
                "30",
                "-subj",
                f"/CN={name}",
                "-addext",
                "basicConstraints=critical,CA:TRUE",
                "-addext",
                "keyUsage=critical,keyCertSign,cRLSign",
                "-out",
                self.pem,
            )

    def server(self, domain: str, kind: str = "ecdsa") -> tuple[Path, Path]:
        """A certificate for one domain: its chain and its key. Servers connect with it, too."""
        return self._issue(f"{domain}-{kind}", kind, f"DNS:{domain}", "serverAuth,clientAuth")

    def client(self, name: str, addresses: list[str], kind: str = "ecdsa") -> tuple[Path, Path]:
        """A certificate with id-on-xmppAddr for each address (RFC 6120 §13.7.1.4)."""
        names = [f"otherName:{XMPP_ADDR};UTF8:{address}" for address in addresses]
        return self._issue(name, kind, ",".join(names), "clientAuth")

    def weak(self, domain: str, weakness: str) -> tuple[Path, Path]:
        """A certificate nobody should take: "rsa1024", or "sha1" for how it is signed."""
        kind, digest = ("rsa1024", "sha256") if weakness == "rsa1024" else ("rsa", "sha1")
        usage = "serverAuth,clientAuth"
        names = f"DNS:{domain},otherName:{XMPP_ADDR};UTF8:{domain}"
        return self._issue(f"{domain}-{weakness}", kind, names, usage, digest)

    def _issue(
        self, name: str, kind: str, alt_names: str, usage: str, digest: str = "sha256"
    ) -> tuple[Path, Path]:
        chain, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        if chain.exists():
            return chain, key
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extensions.write_text(
            f"subjectAltName={alt_names}\nbasicConstraints=CA:FALSE\n"
            f"keyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage={usage}\n"
        )
        _new_key(key, kind)
        _openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
        _openssl(
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            self.pem,
            "-CAkey",
            self.key,
            "-CAcreateserial",
            f"-{digest}",
            "-days",
            "20",
            "-extfile",
            extensions,
            "-out",
            chain,
        )
        return chain, key


def _new_key(path: Path, kind: str) -> None:
    options = {
        "ecdsa": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "rsa": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        "rsa1024": ["RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
    }[kind]
    _openssl("genpkey", "-algorithm", *options, "-out", path)


def _openssl(*words: object) -> None:
    command = ["openssl", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
