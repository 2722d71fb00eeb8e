"""`appliance certificate`: what gateway and console show where they speak TLS."""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from appliance.certificates.checks import read_file
from appliance.certificates.keeping import Keeping, event
from appliance.certificates.names import checked
from appliance.certificates.reading import MAKER, Certificate, due
from appliance.certificates.showing import Shown, shown
from appliance.cli.context import Box, pass_box
from appliance.errors import NotFound, UsageError
from appliance.ledger import open_ledger
from appliance.work import utcnow

NAME = click.option("--name", "names", multiple=True, help="Name or address people reach the box by. May be repeated.")


@click.group("certificate")
def command() -> None:
    """The certificate of gateway and console."""


@command.command()
@NAME
@click.option("--anew", is_flag=True, help="Replace certificate and CA; clients have to be given the new root.")
@pass_box
def create(box: Box, names: tuple[str, ...], anew: bool) -> None:
    """Make one, and the box's own CA with the first."""
    wanted = names or box.settings.console.reached_by
    _done(box, "created", keeping(box).create(wanted, utcnow(), anew))


@command.command()
@click.option("--due", "if_due", is_flag=True, help="Only if it is time to.")
@pass_box
def renew(box: Box, if_due: bool) -> None:
    """Make another one of the box's own CA, with a new key. Connections that are open go on."""
    kept = keeping(box).read()
    if if_due and kept is not None:
        time = due(kept, utcnow(), box.settings.certificate.renew_days)
        if not time.renew:
            box.emit({**_shown(box).model_dump(mode="json"), "why": time.why}, f"not renewed: {time.why}")
            return
    _done(box, "renewed", keeping(box).renew(utcnow()))


@command.command("import")
@click.option("--certificate", "file", type=Path, required=True, help="PEM file: the server's certificate, first.")
@click.option("--key", type=Path, required=True, help="PEM file: its private key, not locked.")
@click.option("--chain", type=Path, help="PEM file: all that is above it, the root included.")
@NAME
@pass_box
def import_(box: Box, file: Path, key: Path, chain: Path | None, names: tuple[str, ...]) -> None:
    """Take the site's certificate, once it was held to be good. It must be for --name (default: the box's names)."""
    pem = read_file(file, "the certificate"), read_file(key, "the key"), read_file(chain, "the chain") if chain else b""
    wanted = checked(names or box.settings.console.reached_by)
    if not wanted:
        raise UsageError("nobody said what the box is called", "--name FQDN, as people will type it")
    _done(box, "imported", keeping(box).take(*pem, wanted, utcnow()))


@command.command()
@pass_box
def show(box: Box) -> int:
    """What it says, who looks after it, and how long it is valid. Exit 1 when it does not serve."""
    box.require_home()
    kept = _shown(box)
    box.emit(kept.model_dump(mode="json"), "\n".join(in_words(kept)))
    return 1 if kept.verdict == "fail" else 0


@command.command()
@click.option("--out", type=Path, help="Write it there instead of printing it.")
@pass_box
def root(box: Box, out: Path | None) -> None:
    """The root that clients have to trust, as PEM."""
    pem, kept = keeping(box).root(), _shown(box)
    if out is not None:
        try:
            out.write_bytes(pem)
        except OSError as error:
            raise UsageError(f"cannot write {out}: {error.strerror}", "name a file in a folder of yours") from error
    told = f"written to {out}; compare its SHA-256 where it is taken in: {kept.root_fingerprint}"
    box.emit({"pem": pem.decode(), "fingerprint": kept.root_fingerprint}, told if out else pem.decode().rstrip())


def keeping(box: Box) -> Keeping:
    """The certificates of the home."""
    box.require_home()
    return Keeping(box.home, box.settings.certificate)


def in_words(kept: Shown) -> list[str]:
    """The certificate for people."""
    rows = {
        kept.verdict: f"{kept.found}{f'; {kept.fix}' if kept.fix else ''}",
        "names": ", ".join(kept.names),
        "kept by": f"{MAKER[kept.source]}; issued by {kept.issuer}, key {kept.key}",
        "valid": f"{kept.begins:%Y-%m-%d} to {kept.ends:%Y-%m-%d}",
        "SHA-256": kept.fingerprint,
        "root": kept.root_fingerprint or "not on the box",
        "shown by": " and ".join(kept.served_by) or "nobody: gateway.tls and console.tls in the settings turn TLS on",
    }
    return [f"{name:<9} {told}" for name, told in rows.items()]


def _shown(box: Box) -> Shown:
    found = shown(box.home, box.settings, utcnow())
    if found is None:
        raise NotFound("the box has no certificate", "`appliance certificate create --name FQDN`, or `import`")
    return found


def _done(box: Box, how: str, kept: Certificate) -> None:
    ledger = open_ledger(box.home)
    ledger.append(event(how, kept, f"cli:{getpass.getuser()}"))
    ledger.close()
    now = _shown(box)
    said = f"the certificate is {how}; new connections are shown it at once"
    box.emit(now.model_dump(mode="json"), "\n".join([said, *in_words(now)]))
