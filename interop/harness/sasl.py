"""The client's side of SASL PLAIN and SCRAM (RFC 4616, RFC 5802), as plain functions."""

import base64
import functools
import hashlib
import hmac
import os
import stringprep
import unicodedata


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def unb64(text: str | None) -> bytes:
    return base64.b64decode(text or "", validate=True)


def plain(local: str, password: str, authzid: str = "") -> bytes:
    return f"{authzid}\0{local}\0{password}".encode()


def token_mac(token: str, word: bytes) -> bytes:
    """What an end of HT-SHA-256-NONE shows of a token."""
    return hmac.digest(token.encode(), word, "sha256")


class Scram:
    """One SCRAM exchange without channel binding."""

    def __init__(self, mechanism: str, local: str, password: str, nonce: str | None = None):
        self.hash = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}[
            mechanism
        ]
        self.password = password
        name = local.replace("=", "=3D").replace(",", "=2C")
        self.nonce = nonce or b64(os.urandom(18))
        self.first_bare = f"n={name},r={self.nonce}"
        self.server_signature = b""

    def first(self) -> bytes:
        return f"n,,{self.first_bare}".encode()

    def final(self, challenge: bytes, nonce: str | None = None) -> bytes:
        """Answer to the server's first message; `nonce` replaces the right one."""
        fields = dict(part.split("=", 1) for part in challenge.decode().split(","))
        assert fields["r"].startswith(self.nonce), "the server must keep the client's nonce"
        assert len(fields["r"]) > len(self.nonce), "the server must add a nonce of its own"
        assert int(fields["i"]) >= 4096, "RFC 5802 §5.1: at least 4096 iterations"
        salted = _salted(self.hash, self.password, fields["s"], int(fields["i"]))
        without_proof = f"c=biws,r={nonce or fields['r']}"
        message = f"{self.first_bare},{challenge.decode()},{without_proof}".encode()
        client_key = self._mac(salted, b"Client Key")
        stored_key = hashlib.new(self.hash, client_key).digest()
        signature = self._mac(stored_key, message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.server_signature = self._mac(self._mac(salted, b"Server Key"), message)
        return f"{without_proof},p={b64(proof)}".encode()

    def check_success(self, data: bytes) -> None:
        assert data == f"v={b64(self.server_signature)}".encode(), "wrong server signature"

    def _mac(self, key: bytes, data: bytes) -> bytes:
        return hmac.digest(key, data, self.hash)


@functools.lru_cache(maxsize=4096)
def _salted(name: str, password: str, salt: str, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac(name, _saslprep(password).encode(), unb64(salt), iterations)


def _saslprep(text: str) -> str:
    kept = [" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c)]
    return unicodedata.normalize("NFKC", "".join(kept))
