"""Builds a bundle from a commit: everything the box needs, listed in a manifest that is signed, with the key's owner.

Nothing comes from the working tree: the commit is exported, so what is not committed is not shipped. Names are sorted,
times are the commit's and modes are fixed, so that two builds of a commit are equal (`make verify-bundle`). The one
part that is taken as it was made before is the compiled llama.cpp wheel from the cache.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import shutil
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from installer import llama_wheel, pip
from installer.bundle import delta, extras, keys, papers, seal
from installer.checkout import Checkout
from installer.errors import InstallError
from installer.setup import setup
from installer.terminal import Terminal, elapsed, run
from installer.trust.chain import Trusted
from installer.trust.manifest import Joined, Manifest
from installer.wheel_slimming import note_of

LOCKS = ("runtime", "models")
NO_PROGRAM = "0" * 64
"""Stands in install.sh for the digest of the installer that it starts."""
VENDORED = Path("control") / "static" / "vendor"
NOT_SHIPPED = frozenset({"install.sh", ".gitignore", "integrity"})
ROOMS = ("appliance", "inference", "models", "control", "installer")


@dataclass(frozen=True)
class Commit:
    """What is built: the exported tree, the commit's time (seconds since the epoch), the version it says it is."""

    tree: Path
    built: int
    version: str


def build(
    checkout: Checkout, ring: Path, out: Path, terminal: Terminal, extra: Sequence[str] = (), since: Path | None = None
) -> Path:
    """Build the bundle of the checkout's commit into the folder `out`; returns the bundle's folder.

    Args:
        extra: what it brings beside the appliance, see `installer.bundle.extras`.
        since: an earlier bundle; what a box keeps of it is left out.

    Raises:
        InstallError: no keys, no index and no wheels, a file too large for FAT32, or a bundle of that name is there.
    """
    started = time.monotonic()
    known = keys.fingerprint(ring)
    setup(checkout, terminal, dev=False)
    with tempfile.TemporaryDirectory(prefix="appliance-bundle-") as work:
        commit = exported(checkout, Path(work) / "tree")
        base = delta.base_of(since, ring) if since else None
        after = f".since-{base.manifest.release}" if base else ""
        made = out / f"appliance-{commit.version}-{platform.machine()}{after}.bundle"
        if made.exists():
            raise InstallError(f"{made} is there already", "move it away, or name another folder: OUT=DIR")
        half = made.with_suffix(".part")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        llama = _wheels(checkout, commit, half / "wheels", terminal)
        papers.write(checkout, commit.tree, half, terminal)
        (half / "installer.pyz").write_bytes(program(commit.tree / "installer", commit.built))
        wheels = partial(_downloaded, checkout, terminal)
        joined = extras.add(extra, half, checkout, lambda lock: wheels([lock]), terminal)
        whole = sealed(half, commit, llama, ring, joined, base)
        half.replace(made)
    size = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
    terminal.say(f"{made}: {size / 1e6:.0f} MB in {elapsed(time.monotonic() - started)}")
    if whole is None:
        terminal.say(f"more people must sign it: make sign MEDIUM={made} KEYS=DIR, each with an own folder of keys")
    terminal.say(f"fingerprint of the keys, to be told by another way than the medium: {known}")
    return made


def exported(checkout: Checkout, tree: Path) -> Commit:
    """Write the checkout's commit to `tree`, with fixed modes."""
    archive = tree.with_suffix(".tar")
    run(["git", "-C", checkout.root, "archive", "-o", archive, "HEAD"], Terminal(), "the commit", checkout.log)
    with tarfile.open(archive) as members:
        built = int(max(member.mtime for member in members))  # git writes the commit's time
        if hasattr(tarfile, "data_filter"):
            members.extractall(tree, filter="data")
        else:  # Python before 3.11.4; git wrote the archive this instant
            members.extractall(tree)  # noqa: S202
    archive.unlink()
    vendored = checkout.root / VENDORED  # fetched by lock, so not in the commit
    if vendored.is_dir():
        shutil.copytree(vendored, tree / VENDORED)
    for place in [tree, *tree.rglob("*")]:
        if not place.is_symlink():
            place.chmod(0o755 if place.is_dir() else 0o644)
    said = re.search(r'^__version__ = "([^"]+)"', (tree / "appliance" / "__init__.py").read_text("utf-8"), re.MULTILINE)
    if said is None:
        raise InstallError("appliance/__init__.py says no version", "build from a checkout of the project")
    return Commit(tree, built, said[1])


def program(package: Path, built: int) -> bytes:
    """The installer as one file that Python runs: its own modules, and nothing else, in a fixed order."""
    held = io.BytesIO()
    start = b"import sys\n\nfrom installer.target.commands import main\n\nsys.exit(main(sys.argv[1:]))\n"
    sources = {f"installer/{file.relative_to(package).as_posix()}": file.read_bytes() for file in package.rglob("*.py")}
    stamp = time.gmtime(max(built, 315_532_800))[:6]  # a zip knows no time before 1980
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted({**sources, "__main__.py": start}.items()):
            member = zipfile.ZipInfo(name, stamp)
            member.create_system, member.external_attr = 3, 0o100644 << 16
            archive.writestr(member, content)
    return held.getvalue()


def sealed(
    folder: Path, commit: Commit, llama: Path, ring: Path, joined: tuple[Joined, ...] = (), base: Trusted | None = None
) -> Trusted | None:
    """Write the metadata of a release whose files lie in `folder`, install.sh first; None where more holders must sign.

    Raises:
        InstallError: no keys that may sign.
    """
    program = hashlib.sha256((folder / "installer.pyz").read_bytes()).hexdigest()
    starter = (commit.tree / "installer" / seal.STARTER).read_text("utf-8")
    (folder / seal.STARTER).write_text(starter.replace(NO_PROGRAM, program), "utf-8")
    note = note_of(llama, llama_wheel.NOTE)
    manifest = Manifest(
        version=commit.version,
        built=commit.built,
        arch=platform.machine(),
        python=f"{sys.version_info[0]}.{sys.version_info[1]}",
        processor=tuple(sorted(json.loads(note)["features"])) if note else (),
        joined=joined,
        files=seal.entries(folder),
    )
    if base is not None:
        manifest = delta.lightened(folder, manifest, base)
    return seal.seal(folder, manifest, ring)


def _wheels(checkout: Checkout, commit: Commit, folder: Path, terminal: Terminal) -> Path:
    """Fill the folder with every wheel and the one list that names them with their hashes; returns llama.cpp's."""
    shutil.copytree(_downloaded(checkout, terminal, LOCKS), folder)
    llama = llama_wheel.obtain(checkout, terminal, "llama.cpp")
    shutil.copyfile(llama, folder / llama.name)
    env = pip.environment(True) | {"SOURCE_DATE_EPOCH": str(commit.built)}
    options = ["wheel", "--no-index", "--no-deps", "--no-build-isolation", "--no-cache-dir", "--wheel-dir"]
    words: list[str | Path] = [checkout.python, "-m", "pip", *options, folder, commit.tree]
    mask = os.umask(0o022)  # the wheel's members get the modes of copies made on the way
    try:
        run(words, terminal, "the appliance itself", checkout.log, env=env)
    finally:
        os.umask(mask)
    _complete(next(folder.glob("appliance-*.whl")), commit.tree)
    extras.write_requirements(folder)
    return folder / llama.name


def _complete(wheel: Path, tree: Path) -> None:
    """See that no file of the commit stayed out of the wheel. Raises InstallError."""
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    wanted = {
        file.relative_to(tree).as_posix() for room in ROOMS for file in (tree / room).rglob("*")
        if file.is_file() and file.name not in NOT_SHIPPED
    }  # fmt: skip
    missing = sorted(wanted - held)
    if missing:
        message = f"{len(missing)} files would be missing from the box, {missing[0]} first"
        raise InstallError(message, "name their endings in pyproject.toml")


def _downloaded(checkout: Checkout, terminal: Terminal, locks: Sequence[str]) -> Path:
    """The wheels of locks, fetched once for each state of the locks and each Python."""
    mark = hashlib.sha256(b"".join(checkout.lock(lock).read_bytes() for lock in locks)).hexdigest()[:12]
    folder = checkout.cache / "bundle" / f"{mark}-{sys.version_info[0]}.{sys.version_info[1]}"
    if not folder.exists():
        half = folder.with_name(f"{folder.name}.{os.getpid()}")
        half.mkdir(parents=True)
        try:
            pip.download(checkout, locks, terminal, "wheels", half)
            half.replace(folder)
        finally:
            shutil.rmtree(half, ignore_errors=True)
    pip.check(checkout, locks, folder)
    return folder


def compared(checkout: Checkout, ring: Path, terminal: Terminal) -> list[str]:
    """Build twice, under another umask and time zone; the names of the files that differ, none when all are equal."""
    with tempfile.TemporaryDirectory(prefix="appliance-twice-") as work:
        one = build(checkout, ring, Path(work) / "one", terminal)
        mask, zone = os.umask(0o077), os.environ.get("TZ")
        os.environ["TZ"] = "Pacific/Auckland"
        time.tzset()
        try:
            other = build(checkout, ring, Path(work) / "a" / "longer" / "way" / "two", terminal)
        finally:
            os.umask(mask)
            os.environ.pop("TZ") if zone is None else os.environ.update(TZ=zone)
            time.tzset()
        return sorted({name for name, _ in _facts(one) ^ _facts(other)})


def _facts(folder: Path) -> set[tuple[str, tuple[int, int, str]]]:
    return {
        (
            place.relative_to(folder).as_posix(),
            (place.stat().st_mode, int(place.stat().st_mtime), llama_wheel.sha256(place) if place.is_file() else ""),
        )
        for place in folder.rglob("*")
    }
