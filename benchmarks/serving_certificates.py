"""Certificates for a test of TLS: an authority, and what it signs."""

from __future__ import annotations

import datetime
import json
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from serving.client import Tls

_DAYS = datetime.timedelta(days=2)


class Authority:
    """An authority of its own, whose files lie in a folder.

    Args:
      folder: that is made.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        self._certificate = self._signed(self._name, self._key, authority=True)
        self.file = self._write("authority", self._certificate, None)[0]

    def server_config(self, host: str) -> str:
        """SSLConfig as text proto: a certificate of a host, and clients that must have one of this authority."""
        certificate, key = self._issue(host)
        parts = {"server_key": key, "server_cert": certificate, "custom_ca": self.file}
        lines = [f"{name}: {json.dumps(file.read_text())}" for name, file in parts.items()]
        return "\n".join([*lines, "client_verify: true"])

    def client(self, name: str, trusts: Authority | None = None) -> Tls:
        """A client with a certificate of this authority, which trusts a server of it, or of another one."""
        certificate, key = self._issue(name)
        return Tls((trusts or self).file, certificate, key)

    def anybody(self) -> Tls:
        """A client without a certificate."""
        return Tls(self.file)

    def _issue(self, name: str) -> tuple[pathlib.Path, pathlib.Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._write(name, self._signed(subject, key, authority=False), key)

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        host = subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAYS)
            .not_valid_after(now + _DAYS)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(str(host))]), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _write(
        self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | None
    ) -> tuple[pathlib.Path, pathlib.Path]:
        files = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        if key:
            plain = serialization.NoEncryption()
            kind = serialization.PrivateFormat.PKCS8
            files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, plain))
        return files
