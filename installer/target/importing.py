"""Takes in what a medium brings for a box that is installed: models, repositories, advisories.

Each thing is copied and checked by the medium's signed list first, then handed to the box's own commands, which look
into it once more (the gate of formats, the receipts of repositories). Again after a cut: it goes on.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from installer.errors import InstallError, Refused
from installer.target import running
from installer.target.media import IMPORTED
from installer.target.places import Places, settle
from installer.terminal import Terminal, elapsed
from installer.trust import payload
from installer.trust.chain import Trusted
from installer.trust.manifest import Manifest

Result = TypeVar("Result")
LONGEST_SECONDS = 24 * 3600.0
"""A command of the box on one thing: a large model is read twice and written once."""
RECEIPT, INCOMING = ".receipt", "incoming"


@dataclass(frozen=True)
class Thing:
    """A model, a repository or a file: its kind, its name, and which files it is, by the names they have joined."""

    kind: str
    name: str
    files: tuple[str, ...]


def things(manifest: Manifest) -> list[Thing]:
    """What there is to take in: a folder below `models/` is one model, a receipt goes with its repository."""
    parts = {part for one in manifest.joined for part in one.parts}
    names = [one.path for one in manifest.joined] + [one.path for one in manifest.files if one.path not in parts]
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted(names):
        kind, _, rest = path.partition("/")
        if kind in IMPORTED and rest:
            top = rest.removesuffix(RECEIPT) if kind == "mirrors" else rest.split("/")[0]
            found.setdefault((kind, top), []).append(path)
    return [Thing(kind, name, tuple(files)) for (kind, name), files in found.items()]


def take(medium: Path, found: Trusted, places: Places, terminal: Terminal, older: bool = False) -> int:
    """Take in everything that there is; the number of things the box refused, each of which was said.

    Args:
        older: also what is older than what was taken before.

    Raises:
        Refused: no box is installed, a kind was taken from a newer medium before, or a file is not what was signed.
    """
    accepted, manifest = places.accepted(), found.manifest
    release = places.release(places.chosen(places.current))
    if accepted is None or not release.is_dir():
        raise Refused("no box is installed here that could take it in", "install first")
    wanted = things(manifest)
    for kind in sorted({thing.kind for thing in wanted}):
        if not older and manifest.built < accepted.imports.get(kind, 0):
            raise Refused(
                f"{kind} were taken from a newer medium before", "give --older to take older ones all the same"
            )
    refused: set[str] = set()
    for thing in wanted:
        started = time.monotonic()
        try:
            said = _taken(medium, manifest, thing, places, release, terminal)
        except Refused:
            raise
        except InstallError as error:
            refused.add(thing.kind + thing.name)
            terminal.done(thing.name, f"{error.message} ({error.hint})" if error.hint else error.message)
        else:
            shutil.rmtree(places.prefix / INCOMING, ignore_errors=True)
            terminal.done(thing.name, f"{said} ({elapsed(time.monotonic() - started)})")
    if not refused:
        newest = {thing.kind: max(manifest.built, accepted.imports.get(thing.kind, 0)) for thing in wanted}
        places.accept(replace(accepted, imports={**accepted.imports, **newest}))
    return len(refused)


def _taken(medium: Path, manifest: Manifest, thing: Thing, places: Places, release: Path, terminal: Terminal) -> str:
    folder = places.prefix / INCOMING / thing.kind
    for path in thing.files:
        _copied(medium, manifest, path, folder, thing.name, terminal)
    if thing.kind == "osv":
        return _kept(folder / thing.name, places)
    words = {"models": ["model", "import"], "mirrors": ["repo", "import"]}[thing.kind]
    words += [str(folder / thing.name)]
    if thing.kind == "mirrors" and len(thing.files) == 1:  # the medium's signatures vouch for it
        words += ["--unsigned", "--name", Path(thing.name).name.partition(".")[0]]
    said = _working(lambda: running.command(places, release, words, LONGEST_SECONDS), thing.name, terminal)
    if said.returncode != 0:
        raise InstallError(*_error(said.stderr))
    return "imported"


def _copied(medium: Path, manifest: Manifest, path: str, folder: Path, name: str, terminal: Terminal) -> None:
    """A checked copy, which the box's user may read and only whoever installs may write."""
    started, read = time.monotonic(), 0
    joined = next((one for one in manifest.joined if one.path == path), None)
    entry = next((one for one in manifest.files if one.path == path), None)
    size = joined.size if joined else entry.size if entry else 0
    target = folder.parent / path
    for place in (folder.parent, folder, target.parent):
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o755)

    def report(count: int) -> None:
        nonlocal read
        read += count
        terminal.working(name, time.monotonic() - started, min(1.0, read / max(1, size)), f"{read / 1e6:.0f} MB copied")

    if joined is not None:
        payload.join(medium, joined, manifest, target, report)
    elif entry is not None:
        payload.stage(medium, entry, folder.parent, report)
    target.chmod(0o644)


def _kept(file: Path, places: Places) -> str:
    """Put a file where the site's tools find it, in the place of an older one."""
    kept = places.prefix / "received" / "osv"
    kept.mkdir(parents=True, exist_ok=True)
    for place in (kept.parent, kept):
        place.chmod(0o755)
    file.replace(kept / file.name)
    settle(kept)
    return f"kept as {kept / file.name}"


def _working(work: Callable[[], Result], name: str, terminal: Terminal) -> Result:
    """Show that something goes on until it is done."""
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(work)
        while not going.done():
            terminal.working(name, time.monotonic() - started, None, "the box looks into it")
            time.sleep(0.2)
        return going.result()


def _error(said: str) -> tuple[str, str]:
    try:
        error = json.loads(said)["error"]
        return str(error["message"]), str(error.get("hint", ""))
    except (ValueError, KeyError, TypeError):
        return (said.strip().splitlines() or ["no reason given"])[-1], ""
