"""What a medium brings beside the appliance when its maker says so: models, repositories, advisories, vLLM, packages.

Each word of `--with` fills one folder of the medium. `models=`, `mirrors=` and `osv=` are what a running box takes in;
`vllm` is installed with the release; `debs` are for a person to install before it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from installer.bundle import seal
from installer.checkout import Checkout
from installer.errors import InstallError
from installer.terminal import Terminal, run
from installer.trust.manifest import NAME, Joined

PACKAGES = ("git", "bubblewrap", "libseccomp2", "libgomp1", "python3-venv", "openssl")
"""Debian packages that a minimal system lacks, of those that the box runs with."""
STARTER = "install-packages.sh"
START = """#!/bin/sh
# Installs what this system lacks from this folder alone; run it as root once the medium was verified.
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work/lists/partial"
ln -s "$here" "$work/debs"
echo "deb [trusted=yes] file:$work/debs ./" >"$work/sources.list"
apt() {{
    apt-get -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \\
        -o Dir::State::Lists="$work/lists" "$@"
}}
apt -qq update
apt install --yes --no-install-recommends {packages}
"""

Fetch = Callable[[str], Path]
"""Gives a folder with the wheels of a lock."""


def add(words: Sequence[str], folder: Path, checkout: Checkout, fetch: Fetch, terminal: Terminal) -> tuple[Joined, ...]:
    """Fill the medium in `folder`; returns the files that lie there in parts.

    Raises:
        InstallError: a word is unknown, something is not there, or has a name that not every medium can hold.
    """
    joined: list[Joined] = []
    for word in words:
        kind, _, source = word.partition("=")
        if kind in {"models", "mirrors", "osv"} and source:
            joined += _files(kind, Path(source), folder, terminal)
        elif word == "vllm":
            shutil.copytree(fetch("vllm"), folder / "vllm")
            write_requirements(folder / "vllm")
        elif word == "debs":
            packages(folder / "debs", checkout.log, terminal)
        else:
            raise InstallError(f"nothing is known of {word!r}", "models=DIR mirrors=DIR osv=FILE vllm debs")
    return tuple(joined)


def write_requirements(folder: Path) -> None:
    """Write the list that pip installs the wheels of a folder by, with their hashes."""
    lines = []
    for wheel in sorted(folder.glob("*.whl")):
        name, version, *_ = wheel.name.split("-")
        with wheel.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        lines.append(f"{name.replace('_', '-').lower()}=={version} --hash=sha256:{digest}\n")
    (folder / "requirements.txt").write_text("".join(lines), "utf-8")


def packages(folder: Path, log: Path, terminal: Terminal, wanted: Sequence[str] = PACKAGES) -> None:
    """Fetch Debian packages with all they need, each held to apt's signed lists, and make them a source for apt.

    A source and no mere files: so apt takes what a target lacks and leaves what is there in a newer version.

    Raises:
        InstallError: no apt, no package lists, or a file that is not what they name.
    """
    folder.mkdir()
    listed = _stanzas(_closure(wanted))
    hint = "apt-get update first, on a machine with the target's Debian"
    run(["apt-get", "download", *listed], terminal, "packages", log, cwd=folder, hint=hint)
    known = {_field(stanza, "SHA256"): stanza for stanza in listed.values()}
    index = []
    for file in sorted(folder.iterdir()):
        with file.open("rb") as stream:
            stanza = known.get(hashlib.file_digest(stream, "sha256").hexdigest())
        if stanza is None:
            raise InstallError(f"{file.name} is not what apt's lists name", hint)
        named = file.rename(file.with_name(re.sub(r"%3a|~", "+", file.name)))  # apt goes by the index, not by names
        index.append(re.sub(r"^Filename: .*$", f"Filename: ./{named.name}", stanza, flags=re.MULTILINE))
    (folder / "Packages").write_text("\n\n".join(index) + "\n", "utf-8")
    (folder / STARTER).write_text(START.format(packages=" ".join(wanted)), "utf-8")


def _files(kind: str, source: Path, folder: Path, terminal: Terminal) -> list[Joined]:
    if not source.exists():
        raise InstallError(f"there is no {source}", f"name it: {kind}=DIR")
    top = source.parent if source.is_file() else source
    files = [source] if source.is_file() else sorted(file for file in source.rglob("*") if file.is_file())
    files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(top).parts)]
    if not files:
        raise InstallError(f"{source} is empty", "leave it out, or put something there")
    joined = []
    for number, file in enumerate(files):
        name = f"{kind}/{file.relative_to(top).as_posix()}"
        if not all(NAME.fullmatch(part) for part in name.split("/")):
            raise InstallError(f"not every medium can hold the name {name}", "letters, digits and . _ + - only")
        terminal.working(kind, float(number), number / len(files), name)
        made = seal.bring(file, folder, name)
        joined += [made] if made else []
    return joined


def _closure(wanted: Sequence[str]) -> list[str]:
    """`package=version` of the packages and all they need, as if nothing were installed.

    By a simulated install: the list of addresses leaves out what lies in apt's cache.
    """
    words = ["apt-get", "install", "--simulate", "-qq", "-y", "--no-install-recommends"]
    said = _asked([*words, "-o", "Dir::State::status=/dev/null", *wanted])
    found = re.findall(r"^Inst (\S+) \((\S+) ", said, re.MULTILINE)
    if not found:
        raise InstallError("apt finds no packages", "apt-get update first")
    return [f"{name}={version}" for name, version in found]


def _stanzas(names: Sequence[str]) -> dict[str, str]:
    """What apt's signed lists say of each `package=version`."""
    found: dict[str, str] = {}
    for stanza in _asked(["apt-cache", "show", *names]).strip().split("\n\n"):
        name = f"{_field(stanza, 'Package')}={_field(stanza, 'Version')}"
        if _field(stanza, "SHA256"):
            found.setdefault(name, stanza.strip())
    missing = [name for name in names if name not in found]
    if missing:
        raise InstallError(f"apt's lists have no digest of {missing[0]}", "apt-get update first")
    return {name: found[name] for name in names}


def _field(stanza: str, name: str) -> str:
    said = re.search(rf"^{name}: (\S+)$", stanza, re.MULTILINE)
    return said[1] if said else ""


def _asked(words: Sequence[str]) -> str:
    try:
        said = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"{words[0]} does not answer: {error}", "build on a Debian like the target's") from error
    if said.returncode != 0:
        last = (said.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InstallError(f"{words[0]}: {last}", "apt-get update first")
    return said.stdout
