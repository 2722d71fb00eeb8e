"""`appliance repo key`, `repo trust` and what `repo add` is given to reach a server: keys, host keys, tokens, CAs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import click
from cryptography import x509

from appliance.cli.context import Box, pass_box, table
from appliance.config import Home
from appliance.errors import PolicyRefused, UsageError
from appliance.ledger import open_ledger
from appliance.mirror import hosts, keys
from appliance.mirror.address import Address, ca_file, over_ssh
from appliance.private import replace_private


@click.command()
@click.argument("name")
@click.option("--rotate", is_flag=True, help="Make a new key; the old one is forgotten at once.")
@pass_box
def key(box: Box, name: str, rotate: bool) -> None:
    """Print the public deploy key of a repository, for its server."""
    box.require_home()
    open_ledger(box.home).repository(name)
    line = (keys.make if rotate else keys.public_line)(box.home.secrets, name)
    box.emit({"name": name, "public_key": line, "rotated": rotate}, line)


@click.command()
@click.argument("host")
@click.option("--port", type=click.IntRange(1, 65535), default=22, show_default=True, help="Of its ssh server.")
@click.option("--fingerprint", default="", help="SHA256:… as its administrator gives it; only that key is pinned.")
@click.option("--yes", is_flag=True, help="Pin all it shows, unseen.")
@pass_box
def trust(box: Box, host: str, port: int, fingerprint: str, yes: bool) -> None:
    """Show the host keys of an ssh server, and pin those that are confirmed."""
    box.require_home()
    shown = hosts.scan(host, port)
    if not fingerprint and not yes:
        raise PolicyRefused(
            f"{shown[0].host} shows " + ", ".join(f"{one.kind} {one.fingerprint}" for one in shown),
            "nothing is pinned; compare with what its administrator says, then repeat with --fingerprint SHA256:…",
        )
    chosen = hosts.confirmed(shown, fingerprint) if fingerprint else shown
    hosts.pin(box.home.secrets, chosen)
    box.emit(
        [{"host": one.host, "kind": one.kind, "fingerprint": one.fingerprint} for one in chosen],
        table("host", "kind", "fingerprint", rows=[(one.host, one.kind, one.fingerprint) for one in chosen]),
    )


def give_key(box: Box, name: str, url: str) -> str:
    """For an ssh address: the repository's public key, made when it has none, and told. Else ""."""
    if not over_ssh(url):
        return ""
    line = keys.ensure(box.home.secrets, name)
    box.say(f"add this deploy key on the server, with the right to write:\n{line}")
    return line


def lacks_login(url: str) -> bool:
    """Is it an http address without a name or token in it?"""
    return url.lower().startswith(("http://", "https://")) and not Address.read(url).credentials


def with_token(url: str, text: str) -> str:
    """The address with the login from a file: `TOKEN`, or `NAME:TOKEN`. Raises UsageError."""
    login = text.strip()
    if not url.lower().startswith(("http://", "https://")):
        raise UsageError("only http addresses take a token", "for ssh the box makes a deploy key")
    if not login or "\n" in login:
        raise UsageError("the token's file must hold one line", "TOKEN, or NAME:TOKEN")
    scheme, _, rest = url.partition("://")
    if not lacks_login(url):
        raise UsageError("the address has a login already", "leave it out of the address")
    return f"{scheme}://{quote(login if ':' in login else f'git:{login}', safe='')}@{rest}"


def keep_ca(home: Home, name: str, file: Path) -> Path:
    """Copy the CA of a repository's server; where it lies now. Raises UsageError for what is no certificate."""
    content = file.read_bytes()
    try:
        x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise UsageError(f"{file} holds no certificate", "give the CA's certificate in PEM form") from error
    kept = ca_file(home.secrets, name)
    replace_private(kept, content)
    return kept
