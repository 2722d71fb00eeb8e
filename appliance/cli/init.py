"""`appliance init`: make a home: folders, secrets, settings, rules, ledger, and what a bare box starts with."""

from __future__ import annotations

import getpass
import ipaddress
import secrets
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import click

from appliance.backup import binding
from appliance.certificates.keeping import Keeping, event
from appliance.certificates.names import checked
from appliance.certificates.reading import Certificate
from appliance.cli.context import Box, pass_box
from appliance.config import Home, render
from appliance.errors import ConfigError, Conflict, UsageError, VerificationFailed
from appliance.events import Event, Fact
from appliance.ledger import open_ledger
from appliance.ports import Progress
from appliance.private import replace_private
from appliance.repair.ngram import ensure_ngram
from appliance.settings import ConsoleSettings, GatewaySettings, Settings
from appliance.work import utcnow
from control.access import PLAYGROUND, ensure_code_key, ensure_session_key, ensure_token
from inference.keys import KeyStore, Terms
from models.card import WRITING
from models.minilm import ensure_default
from models.registry import Registry

SECURE_PORT = 8443
"""Of a console that speaks TLS."""
USUAL = Settings()


@click.command()
@click.option(
    "--new-secrets", is_flag=True, help="The secrets this ledger was made with are lost for good: begin with new ones."
)
@click.option("--name", "names", multiple=True, help="With TLS on both doors, by this name. May be repeated.")
@click.option("--listen", default="127.0.0.1", help="Where the doors listen, with --name.")
@pass_box
def command(box: Box, new_secrets: bool, names: tuple[str, ...], listen: str) -> None:
    """Set up the home. Safe to repeat: what is there stays as it is."""
    if new_secrets:
        give_up_secrets(box.home)
    made = set_up(box.home, box.say, secure_settings(names, listen) if names else Settings())
    box.emit(
        {"home": str(box.home.root), "made": made},
        f"the appliance's home is {box.home.root}" if made else f"{box.home.root} is set up already",
    )


def set_up(home: Home, progress: Progress, settings: Settings = USUAL) -> list[str]:
    """Make what is missing; returns the names of what was made. Raises as its two halves do."""
    return [*make_home(home, settings), *make_models(home, progress)]


def make_home(home: Home, settings: Settings = USUAL) -> list[str]:
    """Folders, secrets, settings, rules and ledger, in milliseconds; returns the names of what was made.

    With `settings` that speak TLS a certificate is made for their names, before they are written.

    Raises:
        ConfigError: the home cannot be written, or the clock is wrong for a certificate.
    """
    made: list[str] = []
    bound = binding.check(home)  # before a missing key is made anew, which would hide that it is missing
    try:
        home.root.mkdir(parents=True, exist_ok=True)
        for folder in home.folders:
            folder.mkdir(exist_ok=True)
        home.secrets.chmod(0o700)
        made += _secret(home.secrets / "audit.key", secrets.token_bytes(32))
        rules = resources.files("inference").joinpath("default_routes.toml").read_text(encoding="utf-8")
        made += _file(home.routes_file, rules)
        certificate = None if home.settings_file.exists() else make_certificate(home, settings)
        made += _file(home.settings_file, render(settings))
    except OSError as error:
        raise ConfigError(
            f"the home {home.root} cannot be written: {error.strerror}",
            "name a folder of your own with --home or APPLIANCE_HOME",
        ) from error
    ensure_token(home)
    ensure_session_key(home)
    ensure_code_key(home)
    keys = KeyStore(home.secrets / "keys.json")
    keys.ensure("line")
    keys.ensure(PLAYGROUND, scopes=("infer",), terms=Terms(tasks=WRITING))
    bind_secrets(home) if not bound else open_ledger(home).close()
    if certificate is not None:
        ledger = open_ledger(home)
        ledger.append(event("created", certificate, f"cli:{getpass.getuser()}"))
        ledger.close()
        made.append(home.certificate.name)
    return made


def bind_secrets(home: Home) -> None:
    """Let the ledger name the secrets it goes with, which are those that lie there now."""
    ledger = open_ledger(home)
    payload = {"fingerprints": binding.fingerprints(home)}
    ledger.append(Event(kind=Fact.SECRETS_BOUND, subject=binding.SUBJECT, payload=payload))
    ledger.close()


def give_up_secrets(home: Home) -> None:
    """Begin with new secrets where those of the ledger are missing or others; the audit chain tells of it. Raises
    Conflict when nothing is the matter: then nothing is changed."""
    binding.check_whole(home)
    try:
        binding.fits(home)
    except VerificationFailed:
        home.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home.secrets / "ledger.anchor").unlink(missing_ok=True)  # nobody can tell any more whether it is right
        _secret(home.secrets / "audit.key", secrets.token_bytes(32))
        ensure_code_key(home)
        bind_secrets(home)
    else:
        raise Conflict("the secrets are those of this ledger", "nothing is lost; leave --new-secrets out")


def make_certificate(home: Home, settings: Settings) -> Certificate | None:
    """What the doors will show, where they speak TLS; one that an interrupted run made is taken. Raises ConfigError."""
    if not settings.console.tls:
        return None
    kept = Keeping(home, settings.certificate)
    return kept.read() or kept.create(settings.console.host_names, utcnow())


def secure_settings(names: Sequence[str], listen: str) -> Settings:
    """Settings of a box that others reach by these names. Raises UsageError."""
    try:
        host, (first, *more) = str(ipaddress.ip_address(listen)), checked(names)
    except ValueError as error:
        raise UsageError(f"{listen!r} is no address", "--listen 0.0.0.0 listens everywhere") from error
    shown = f"[{first}]" if ":" in first else first
    return Settings(
        gateway=GatewaySettings(host=host, tls=True),
        console=ConsoleSettings(
            host=host, port=SECURE_PORT, tls=True, host_names=[first, *more], url=f"https://{shown}:{SECURE_PORT}"
        ),
    )


def make_models(home: Home, progress: Progress) -> list[str]:
    """What a bare box starts with: the embedding model, and a language model of Python; about ten seconds once."""
    made: list[str] = []
    registry = Registry(home.models)
    if not registry.list():
        progress("converting the embedding model all-MiniLM-L6-v2 to GGUF")
        made.append(f"model {ensure_default(registry, progress).id}")
    ensure_ngram(home.policy, progress)
    return made


def _file(path: Path, content: str) -> list[str]:
    if path.exists():
        return []
    temporary = path.with_suffix(".new")
    temporary.write_text(content, encoding="utf-8")
    temporary.replace(path)
    return [path.name]


def _secret(path: Path, content: bytes) -> list[str]:
    if path.exists():
        return []
    replace_private(path, content)
    return [path.name]
