"""`appliance repo hook`: the address and secret that a forge or an alert manager delivers with."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

import click

from appliance.cli.context import Box, pass_box
from appliance.errors import Conflict
from appliance.intake import hook_secrets
from appliance.intake.hook_secrets import HookSecrets
from appliance.ledger import open_ledger

LINES = {
    "gitea": "in app.ini, section [webhook]: ALLOWED_HOST_LIST = {host}; POST, application/json, secret as above",
    "forgejo": "in app.ini, section [webhook]: ALLOWED_HOST_LIST = {host}; POST, application/json, secret as above",
    "gitlab": "secret token as above; triggers push, comments, issues, merge request and pipeline events; in Admin, "
    "Settings, Network, Outbound requests: allow {host}:{port}",
    "github": "content type application/json, secret as above",
    "alertmanager": "webhook_configs: url as above, http_config: authorization: credentials: the secret",
    "generic": "X-Signature-256: sha256= and the body's HMAC-SHA256 in hex, or Authorization: Bearer with the secret",
}


@click.command()
@click.argument("name")
@click.option("--rotate", is_flag=True, help="Make a new secret; the old one counts for `intake.secret_hours` more.")
@pass_box
def command(box: Box, name: str, rotate: bool) -> None:
    """Make a repository's webhook secret and show it, once, with what to enter on the other side."""
    box.require_home()
    open_ledger(box.home).repository(name)
    known = hook_secrets.load(box.home, name)
    if known and not rotate:
        raise Conflict(f"{name} has a hook secret, which is shown only once", "--rotate makes a new one")
    kept = known.rotated(datetime.now(UTC), box.settings.intake.secret_hours) if known else None
    kept = kept or HookSecrets(current=hook_secrets.new())
    hook_secrets.save(box.home, name, kept)
    console = urlsplit(box.settings.console.address)
    host, port = console.hostname or "", console.port or (443 if console.scheme == "https" else 80)
    urls = {source: f"{console.geturl()}/hooks/{source}/{name}" for source in LINES}
    allow = {source: line.format(host=host, port=port) for source, line in LINES.items()}
    lines = [f"secret: {kept.current}", *(f"{source}: {urls[source]}\n  {allow[source]}" for source in LINES)]
    box.emit({"secret": kept.current, "urls": urls, "before_until": kept.before_until}, "\n".join(lines))
