"""Where an installed box has what: releases side by side, the links that choose one, the installer's own records."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from installer.errors import InstallError
from installer.trust.chain import Accepted

DURABLE = "the file system must keep files; mend it, then run this again"


@dataclass(frozen=True)
class Places:
    """`prefix` holds programs, `home` what the box keeps. Knows names only: nothing is created here."""

    prefix: Path
    home: Path

    @property
    def releases(self) -> Path:
        return self.prefix / "releases"

    @property
    def current(self) -> Path:
        """The link to the release that runs."""
        return self.prefix / "current"

    @property
    def previous(self) -> Path:
        """The link to the release before it."""
        return self.prefix / "previous"

    @property
    def staging(self) -> Path:
        return self.prefix / "staging"

    @property
    def snapshots(self) -> Path:
        """Ledger, secrets, settings and policy as they were before each upgrade."""
        return self.prefix / "snapshots"

    @property
    def state(self) -> Path:
        return self.prefix / "state"

    @property
    def log(self) -> Path:
        return self.state / "install.log"

    def release(self, name: str) -> Path:
        """The folder of the release of that name."""
        return self.releases / name

    def chosen(self, link: Path) -> str:
        """The release a link points to, or nothing."""
        try:
            return link.readlink().name
        except OSError:
            return ""

    def accepted(self) -> Accepted | None:
        """What the box took last, or None on a fresh machine. Raises InstallError when the record is damaged."""
        found = read(self.state / "trust.json")
        if found is None:
            return None
        if "fingerprint" in found:
            raise InstallError(
                "this box was installed from a medium with a single key, which is not taken any more",
                "uninstall (the data stay), then install with the fingerprint",
            )
        try:
            imports = {str(name): int(built) for name, built in found["imports"].items()}
            return Accepted(str(found["root"]), int(found["built"]), str(found["digest"]), imports)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InstallError(f"{self.state / 'trust.json'} is damaged", "restore it from a backup") from error

    def accept(self, took: Accepted) -> None:
        """Record what the box took."""
        write(self.state / "trust.json", asdict(took))


def point(link: Path, release: Path) -> None:
    """Point a link to a release, in one step that survives a power cut."""
    half = link.with_name(link.name + ".part")
    half.unlink(missing_ok=True)
    half.symlink_to(release)
    half.replace(link)
    settle(link.parent)


def write(file: Path, content: dict[str, Any]) -> None:
    """Replace a file of JSON, durable when this returns; for its owner alone. Raises InstallError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        half = file.with_name(file.name + ".part")
        with half.open("w", encoding="utf-8") as stream:
            half.chmod(0o600)
            json.dump(content, stream, indent=1, sort_keys=True)
            stream.flush()
            os.fsync(stream.fileno())
        half.replace(file)
        settle(file.parent)
    except OSError as error:
        raise InstallError(f"cannot write {file}: {error.strerror}", DURABLE) from error


def read(file: Path) -> dict[str, Any] | None:
    """A file of JSON, or None when there is none. Raises InstallError when it is damaged."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InstallError(f"{file} cannot be read: {error}", "restore it from a backup") from error
    if not isinstance(found, dict):
        raise InstallError(f"{file} is damaged", "restore it from a backup")
    return found


def settle(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
