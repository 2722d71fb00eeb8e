"""Another box on the network: a llama-server of somebody else's with a key, behind TLS with a CA of its own."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from inference.engines.llamacpp import find_server
from inference.engines.openings import free_port
from tests.contracts.tls_front import TlsFront
from tests.inference.engines_process import until
from tests.inference.tiny_model import write_tiny_llama

KEY, NAME = "their-key", "upstream-model"


class OtherBox:
    """It can go away and come back at the same address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._weights = write_tiny_llama(folder / "theirs.gguf")
        self._port = free_port()
        self.ca = folder / "ca.pem"
        self.key_file = folder / "their.key"
        self.key_file.write_text(KEY + "\n")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate(folder, self.ca))
        self._front = TlsFront(context, self._port)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._front.port}"

    def start(self) -> None:
        argv = [
            str(find_server()), "--model", str(self._weights), "--alias", NAME, "--offline",
            "--host", "127.0.0.1", "--port", str(self._port), "--api-key", KEY, "--threads", "1",
            "--parallel", "2", "--ctx-size", "1024", "--no-ui",
        ]  # fmt: skip
        env = {"PATH": "/usr/bin:/bin", "OMP_WAIT_POLICY": "passive"}
        with (self._folder / "theirs.log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, env=env)
        until(self._front.reaches)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self._front.close()


def certificate(folder: Path, ca_file: Path) -> Path:
    """A CA, and a certificate for 127.0.0.1 signed by it, with its key; returns the latter's file."""
    now = datetime.datetime.now(datetime.UTC)
    ca_key, own_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA of another box")])
    own_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "another box")])

    def signed(name: x509.Name, key: ec.EllipticCurvePrivateKey, *more: x509.ExtensionType) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder().subject_name(name).issuer_name(ca_name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=1))
        )  # fmt: skip
        for extension in more:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(ca_key, hashes.SHA256())

    pem = serialization.Encoding.PEM
    ca_file.write_bytes(signed(ca_name, ca_key, x509.BasicConstraints(ca=True, path_length=None)).public_bytes(pem))
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    own = signed(own_name, own_key, here).public_bytes(pem)
    plain = own_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "server.pem"
    file.write_bytes(own + plain)
    return file
