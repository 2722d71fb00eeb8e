"""Whether the box does what it is for: every process ready, a real embedding, a real answer, the audit chain whole."""

from __future__ import annotations

import json
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from installer.errors import InstallError
from installer.preflight import Row
from installer.target import running
from installer.target.places import Places

KEY = "installer-health"
SECONDS = 120.0


def look(places: Places, release: Path) -> list[Row]:
    """Every check. One that cannot be made is a warning that says so, never a pass."""
    running.command(places, release, ["key", "revoke", KEY])  # of a run that was killed
    made = running.command(places, release, ["key", "create", KEY, "--expires", "1"])
    if made.returncode != 0:
        return [Row("key", "fail", _last(made.stderr), "the box can make no key; see its logs")]
    try:
        ask = Door(_address(places.home / "appliance.toml"), json.loads(made.stdout)["token"])
        return [_processes(places), embedding(ask), answer(ask), _audit(places, release)]
    finally:
        running.command(places, release, ["key", "revoke", KEY])


class Door:
    """The gateway, asked with a key that is taken back afterwards."""

    def __init__(self, address: str, token: str) -> None:
        self.address, self._token = address, token

    def post(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """Ask, with a body or for what is there. Raises InstallError with what the gateway said."""
        head = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.address + path, data, head)  # noqa: S310
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(asked, timeout=SECONDS) as said:
                found = json.load(said)
        except urllib.error.HTTPError as error:
            raise InstallError(f"status {error.code}: {error.read(300).decode('utf-8', 'replace')}") from error
        except (OSError, ValueError) as error:
            raise InstallError(str(error)) from error
        return found if isinstance(found, dict) else {}


def embedding(ask: Door) -> Row:
    """One text as a vector of the box's own model."""
    try:
        vector = ask.post("/v1/embeddings", {"model": "auto", "input": "is anybody there?"})["data"][0]["embedding"]
    except (InstallError, LookupError, TypeError) as error:
        return Row("embedding", "fail", str(error), "see logs/gateway.log and logs/engines.log in the home")
    if not isinstance(vector, list) or not any(vector):
        return Row("embedding", "fail", "an empty vector", "see logs/engines.log in the home")
    return Row("embedding", "pass", f"a vector of {len(vector)} numbers")


def answer(ask: Door) -> Row:
    """One token of a model that writes; a bare box has none, and that is said."""
    body = {"model": "auto", "messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 1}
    try:
        used = ask.post("/v1/chat/completions", body)["usage"]["completion_tokens"]
    except InstallError as error:
        if "status 404" in error.message or "status 503" in error.message:
            return Row("answer", "warn", "not shown: no model that writes is here", "appliance model import FILE")
        return Row("answer", "fail", error.message, "see logs/gateway.log in the home")
    except (LookupError, TypeError) as error:
        return Row("answer", "fail", f"no usage in the answer: {error}", "see logs/gateway.log in the home")
    return Row("answer", "pass", f"{used} token") if used else Row("answer", "fail", "no token", "see logs/engines.log")


def _processes(places: Places) -> Row:
    if running.ready(places):
        return Row("processes", "pass", "all ready")
    return Row("processes", "fail", "not all are ready", "appliance status")


def _audit(places: Places, release: Path) -> Row:
    said = running.command(places, release, ["audit", "verify"])
    if said.returncode == 0:
        return Row("audit", "pass", "the chain is whole")
    return Row("audit", "fail", _last(said.stderr), "appliance audit verify")


def _address(settings: Path) -> str:
    found = tomllib.loads(settings.read_text("utf-8")).get("gateway", {})
    host = str(found.get("host", "127.0.0.1"))
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104
    return f"http://{host}:{int(found.get('port', 8080))}"


def _last(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1] if lines else "no reason given"
