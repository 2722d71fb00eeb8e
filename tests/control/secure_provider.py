"""An identity provider over TLS, whose certificate the site's own CA vouches for, in a process of its own:
`python -m tests.control.secure_provider PORT CERTIFICATE PERSON…`."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.e2e.world import free_port, until
from tests.mirror.site_ca import SiteCa


@contextmanager
def provider_over_tls(folder: Path, people: Sequence[Mapping[str, object]]) -> Iterator[tuple[str, Path]]:
    """Its address, and the file of the CA."""
    ca, port = SiteCa(folder / "ca"), free_port()
    words = [str(port), str(ca.issue()), *(json.dumps(person) for person in people)]
    with (folder / "provider.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.control.secure_provider", *words], stdout=log, stderr=log
        )
    address, trust = f"https://localhost:{port}", ssl.create_default_context(cafile=ca.file)

    def is_there() -> bool:
        assert process.poll() is None, (folder / "provider.log").read_text()
        try:
            found = httpx.get(f"{address}/.well-known/openid-configuration", trust_env=False, verify=trust)
        except httpx.TransportError:
            return False
        return found.is_success

    try:
        until(is_there, "the provider does not answer")
        yield address, ca.file
    finally:
        process.kill()
        process.wait()


def main(port: str, certificate: str, *people: str) -> None:
    """Serve until it is killed."""
    import uvicorn
    from oidc_provider_mock import app
    from oidc_provider_mock._storage import User

    told = [json.loads(person) for person in people]
    users = [User(sub=one["sub"], claims={name: what for name, what in one.items() if name != "sub"}) for one in told]
    uvicorn.run(
        app(user_claims=users), interface="wsgi", host="127.0.0.1", port=int(port), log_config=None,
        ssl_certfile=certificate, ssl_keyfile=certificate,
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
