"""Certificates as servers should not have them."""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .certs import TestCa

KINDS = ("valid", "self-signed", "expired", "wrong-name")


def certificate(ca: TestCa, domain: str, kind: str) -> tuple[Path, Path]:
    """A certificate for a domain, good or bad in one way: its chain and its key."""
    if kind == "valid":
        return ca.server(domain)
    chain, key_file = ca.folder / f"{domain}.pem", ca.folder / f"{domain}.key"
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domain)])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    named = "elsewhere.example" if kind == "wrong-name" else domain
    issuer, signer = subject, key
    if kind != "self-signed":
        issuer = x509.load_pem_x509_certificate(ca.pem.read_bytes()).subject
        signer = serialization.load_pem_private_key(ca.key.read_bytes(), None)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 30 * day)
        .not_valid_after(now - day if kind == "expired" else now + 10 * day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(named)]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .sign(signer, hashes.SHA256())
    )
    chain.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return chain, key_file
