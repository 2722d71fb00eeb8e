"""`appliance repo hook`: the address and secret that a forge or an alert manager delivers with."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click

from appliance.cli.context import Box, pass_box
from appliance.errors import ConfigError, Conflict, UsageError
from appliance.intake import hook_secrets
from appliance.intake.hook_secrets import HookSecrets
from appliance.ledger import open_ledger

LINES = {
    "gitea": "in app.ini, section [webhook]: ALLOWED_HOST_LIST = {host}; POST, application/json, the hook's secret",
    "forgejo": "in app.ini, section [webhook]: ALLOWED_HOST_LIST = {host}; POST, application/json, the hook's secret",
    "gitlab": "secret token: the hook's secret, or the signing token that GitLab makes, given to the box with "
    "--secret-file; triggers push, comments, issues, merge request and pipeline events; in Admin, Settings, Network, "
    "Outbound requests: allow {host}:{port}",
    "github": "content type application/json, the hook's secret",
    "alertmanager": "webhook_configs: url: this address, http_config: authorization: credentials: the hook's secret",
    "generic": "X-Signature-256: sha256= and the body's HMAC-SHA256 in hex, or Authorization: Bearer with the secret",
}

SHORTEST_SECRET = 16
"""Characters of one that is given. The box's own have 43."""


@click.command()
@click.argument("name")
@click.option("--rotate", is_flag=True, help="Make a new secret; the old one counts for `intake.secret_hours` more.")
@click.option(
    "--secret-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the secret in this file (0600): one hook of several repositories, or a token that GitLab made.",
)  # fmt: skip
@pass_box
def command(box: Box, name: str, rotate: bool, secret_file: Path | None) -> None:
    """Make a repository's webhook secret and show it, once, with what to enter on the other side."""
    box.require_home()
    open_ledger(box.home).repository(name)
    given = _given(secret_file) if secret_file else ""
    known = hook_secrets.load(box.home, name)
    if known and not rotate and known.current != given:
        raise Conflict(f"{name} has a hook secret, which is shown only once", "--rotate makes a new one")
    secret = given or hook_secrets.new()
    kept = known or HookSecrets(current=secret)
    if kept.current != secret:
        kept = kept.rotated(secret, datetime.now(UTC), box.settings.intake.secret_hours)
    hook_secrets.save(box.home, name, kept)
    _show(box, name, kept, secret_file)


def _given(file: Path) -> str:
    """The secret in a file. Raises ConfigError for one that others can read, UsageError for one that holds none."""
    try:
        if file.stat().st_mode & 0o077:
            raise ConfigError(f"{file} can be read by others", f"`chmod 600 {file}`, and think of a new secret")
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the secret in {file}", "make it one line of ASCII that you can read") from error
    if not re.fullmatch(rf"[!-~]{{{SHORTEST_SECRET},}}", text):
        raise UsageError(
            f"{file} must hold the secret alone, {SHORTEST_SECRET} characters or more without blanks",
            "`openssl rand -base64 32` makes one",
        )
    return text


def _show(box: Box, name: str, kept: HookSecrets, secret_file: Path | None) -> None:
    console = urlsplit(box.settings.console.address)
    host, port = console.hostname or "", console.port or (443 if console.scheme == "https" else 80)
    urls = {source: f"{console.geturl()}/hooks/{source}/{name}" for source in LINES}
    allow = {source: line.format(host=host, port=port) for source, line in LINES.items()}
    shared = f"{console.geturl()}/hooks/SOURCE"
    lines = [
        f"secret: {f'as in {secret_file}' if secret_file else kept.current}",
        f"one hook of an organisation, for all repositories with its secret: {shared}",
        *(f"{source}: {urls[source]}\n  {allow[source]}" for source in LINES),
    ]
    secret = "" if secret_file else kept.current
    data = {"secret": secret, "urls": urls, "shared_url": shared, "before_until": kept.before_until}
    box.emit(data, "\n".join(lines))
