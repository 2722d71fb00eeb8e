"""`appliance backup`: what the home holds, sealed for people who are not on the box, verified and brought back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from appliance.backup import binding
from appliance.backup.creating import create, folder_of, scratch_in, sometimes
from appliance.backup.keys import add_recipient
from appliance.backup.manifest import Manifest
from appliance.backup.noting import noted
from appliance.backup.restoring import restore as brought_back
from appliance.backup.sealing import identity_in, new_identity
from appliance.backup.vault import Vault
from appliance.backup.verifying import verify as proved
from appliance.cli.context import Box, pass_box, table
from appliance.config import Home
from appliance.errors import Conflict, FactoryError, NotFound
from appliance.events import Fact
from appliance.ledger import Ledger, open_ledger
from appliance.ledger.backups import failed

HELD = """# The private key of this appliance's backups. Carry it away, keep two copies, and never keep it on the box:
# whoever has it reads every backup, and without it none can be restored.
# public key: {public}
{private}
"""
IDENTITY = click.option(
    "--identity", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="File with the private key."
)
FOLDER = click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), help="Backup folder (default: backup.folder)."
)


@click.group()
def command() -> None:
    """Backups."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@pass_box
def keys(box: Box, file: Path) -> None:
    """Make a key pair: the private key goes to FILE (- prints it), to be carried away; the settings get the other."""
    box.require_home()
    where = file.absolute().resolve()
    if str(file) != "-" and where.is_relative_to(box.home.root.resolve()):
        raise Conflict("the private key must not lie on the box", "name a file on a medium that you take away")
    private, public = new_identity()
    text = HELD.format(private=private, public=public)
    if str(file) == "-":
        click.echo(text, nl=False)
    else:
        handle = os.open(where, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
    # the settings name it only once it is where it can be carried away
    add_recipient(box.home.settings_file, public)
    said = f"the public key {public} is in {box.home.settings_file}"
    if str(file) == "-":
        box.say(said)
    else:
        box.emit({"public": public, "file": str(where)}, f"the private key is in {where}: carry it away\n{said}")


@command.command("create")
@click.option("--background", is_flag=True, help="Give way to everything else.")
@pass_box
def create_(box: Box, background: bool) -> None:
    """Back up the home while the box runs; only what is new is written."""
    box.require_home()
    if background:
        os.nice(10)
    with opened(box.home) as ledger:
        try:
            made = create(box.home, box.settings, box.say)
        except Conflict:
            raise  # another one is under way, and will say how it ended
        except FactoryError as error:
            failed(ledger, error.message, error.hint)
            raise
        noted(ledger, made, folder_of(box.home, box.settings))
    one = made.manifest
    lines = [
        f"{one.name}: {one.content_bytes / 2**20:.1f} MiB in {len(one.parts)} parts, "
        f"{one.written_bytes / 2**20:.1f} MiB of them new, {one.seconds:.1f} s",
        f"its manifest's SHA-256: {made.sha256}",
        *(f"not in it: {name}" for name in (*made.lacking, *made.outside)),
        *([f"let go: {', '.join(made.dropped)}, {made.freed_bytes / 2**20:.1f} MiB"] if made.dropped else []),
    ]
    box.emit({**in_short(one), "manifest_sha256": made.sha256, "dropped": made.dropped, "lacking": made.lacking,
              "outside": made.outside}, "\n".join(lines))  # fmt: skip


@command.command("list")
@FOLDER
@pass_box
def list_(box: Box, folder: Path | None) -> None:
    """The backups there are, newest first."""
    vault = vault_of(box, folder)
    found, problems = vault.manifests(), vault.problems()
    rows = [(one.name, f"{one.content_bytes / 2**20:.1f} MiB", f"{one.written_bytes / 2**20:.1f} MiB", one.events,
             one.version) for one in found]  # fmt: skip
    for problem in problems:
        box.say(f"broken: {problem}")
    box.emit([in_short(one) for one in found], table("NAME", "HOLDS", "NEW WITH IT", "EVENTS", "VERSION", rows=rows)
             if rows else f"there is no backup in {vault.folder}")  # fmt: skip


@command.command()
@click.argument("name", default="")
@IDENTITY
@FOLDER
@click.option(
    "--scratch", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Folder for the test-restore."
)
@pass_box
def verify(box: Box, name: str, identity: Path | None, folder: Path | None, scratch: Path | None) -> None:
    """Prove that a backup (the newest, without NAME) can be restored; without the private key, that it is undamaged."""
    vault = vault_of(box, folder)
    manifest = vault.get(name)
    key = identity_in(identity) if identity else None
    with beside(box.home, scratch) as folder_of_it:
        done = proved(vault, manifest, key, folder_of_it, sometimes(box.say))
    known = ""
    if box.home.ledger.exists():
        with opened(box.home) as ledger:
            known = told_of(ledger, manifest.name, vault.manifest_digest(manifest.name))
            noted(ledger, done, vault.folder)
    lines = [f"{done.name}: {done.parts} parts as they were written", f"content: {done.content}: {done.why}"]
    lines += [f"not in it: {one}" for one in done.lacking] + ([known] if known else [])
    box.emit({**done.model_dump(mode="json"), "known": known}, "\n".join(lines))


@command.command()
@click.argument("name", default="")
@click.option("--identity", required=True, type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="File with the private key.")  # fmt: skip
@FOLDER
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), help="Another empty folder than the home.")
@pass_box
def restore(box: Box, name: str, identity: Path, folder: Path | None, into: Path | None) -> None:
    """Bring a backup (the newest, without NAME) back into an empty home; run again, it goes on where it was."""
    key = identity_in(identity)
    vault = vault_of(box, folder)
    done = brought_back(vault, vault.get(name), key, Home(into) if into else box.home, sometimes(box.say))
    lines = [f"{done.name} is back in {done.home}: {done.events} events, {done.files} files, "
             f"{done.repositories} repositories", *(f"not in it: {one}" for one in done.lacking), *done.notes,
             f"start it: appliance --home {done.home} up"]  # fmt: skip
    box.emit(done.model_dump(mode="json"), "\n".join(lines))


def in_short(one: Manifest) -> dict[str, Any]:
    """A manifest without its parts."""
    return {**one.model_dump(mode="json", exclude={"parts", "inventory"}), "parts": len(one.parts), "bytes": one.size}


def vault_of(box: Box, folder: Path | None) -> Vault:
    """The named folder, else the home's. Raises NotFound when it is not there."""
    found = folder or folder_of(box.home, box.settings)
    if not found.is_dir():
        raise NotFound(f"there is no backup folder {found}", "name it with --folder, or backup.folder; is it mounted?")
    return Vault(found.absolute())


def told_of(ledger: Ledger, name: str, sha256: str) -> str:
    """Whether the box made this very manifest, in words."""
    made = [one for one in ledger.history("backup") if one.kind == Fact.BACKUP_MADE and one.payload["name"] == name]
    if not made:
        return "this box's ledger does not tell of this backup"
    same = made[-1].payload["manifest_sha256"] == sha256
    return "its manifest is the one this box wrote" if same else "its manifest is NOT the one this box wrote"


@contextmanager
def beside(home: Home, named: Path | None) -> Iterator[Path]:
    """Where a test-restore is made: in the named folder, else on the home's disk, else where temporary files go."""
    if named is None and home.settings_file.exists():
        with scratch_in(home) as folder:
            yield folder
        return
    with tempfile.TemporaryDirectory(prefix="verifying-", dir=named) as made:
        yield Path(made)


@contextmanager
def opened(home: Home) -> Iterator[Ledger]:
    """The home's ledger. Raises as `binding.check` does."""
    binding.check(home)
    ledger = open_ledger(home)
    try:
        yield ledger
    finally:
        ledger.close()
