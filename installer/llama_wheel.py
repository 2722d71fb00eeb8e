"""Gives the llama-cpp-python wheel: from the wheelhouse, from the cache, or built, once for each recipe.

Order: a wheel in offline-wheels/ whose recorded SHA-256 holds and whose processor features this machine has; the
cached wheel of this machine's recipe; a build from the source distribution (minutes), cached for good. An interrupted
build goes on where it stopped. Two builds of one recipe at once: the second waits and takes the first one's result.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from installer import pip
from installer.checkout import Checkout, Pin, pins
from installer.errors import InstallError, Refused
from installer.llama_recipe import Recipe, for_this_machine, processor_features, trimmed
from installer.terminal import Terminal, run
from installer.wheel_slimming import note_of, slim

NOTE = "appliance-build.json"
BYTES_PER_JOB = 1 << 30
"""Memory one compiler may take at its worst."""


def pinned(checkout: Checkout) -> Pin:
    """The locked version, with the hashes of its source."""
    return pins(checkout.lock("llama").read_text("utf-8"))[0]


def recipe(checkout: Checkout) -> Recipe:
    """What this machine would build."""
    return for_this_machine(pinned(checkout).version)


def ready(checkout: Checkout) -> Path | None:
    """The wheel that needs no building, verified, or None.

    Raises:
        Refused: a wheel in offline-wheels/ has another hash than recorded, or needs a processor this is not.
    """
    for wheel in sorted(checkout.wheelhouse.glob(f"llama_cpp_python-{pinned(checkout).version}-*.whl")):
        _verify(wheel)
        _suits(wheel)
        return wheel
    for wheel in _cache_folder(checkout, recipe(checkout)).glob("*.whl"):
        if _holds(wheel):
            return wheel
    return None


def obtain(checkout: Checkout, terminal: Terminal, name: str) -> Path:
    """The wheel for this machine; builds it when there is none."""
    plan = recipe(checkout)
    work = checkout.cache / "build" / plan.key
    with _alone(work.with_suffix(".lock"), terminal):
        found = ready(checkout)
        if found is not None:
            return found
        work.mkdir(parents=True, exist_ok=True)
        terminal.say(f"  {name:<28} built once for this machine; takes some minutes")
        wheel = _keep(_build(checkout, plan, work, terminal, name), plan, _cache_folder(checkout, plan))
        shutil.rmtree(work)
        return wheel


def put_into_wheelhouse(checkout: Checkout, wheel: Path) -> Path:
    """Copy the wheel and its recorded hash beside the other wheels."""
    target = checkout.wheelhouse / wheel.name
    if wheel != target:
        shutil.copyfile(wheel, target)
        _record_hash(target)
    return target


def fetch_source(checkout: Checkout, terminal: Terminal, name: str) -> None:
    """See that the source lies in the wheelhouse, so that a machine with another processor can build from it."""
    pin = pinned(checkout)
    archive = checkout.wheelhouse / f"llama_cpp_python-{pin.version}.tar.gz"
    if archive.exists() and sha256(archive) in pin.hashes:
        return
    with tempfile.TemporaryDirectory() as folder:
        _download(checkout, checkout.wheelhouse, _build_tools(checkout, Path(folder), terminal, name), terminal, name)


def _build_tools(checkout: Checkout, work: Path, terminal: Terminal, name: str) -> Path:
    """The Python of a virtual environment with the pinned build back end, cmake and ninja."""
    python = work / "venv" / "bin" / "python"
    if not (work / "venv" / "ready").exists():
        run([sys.executable, "-m", "venv", "--clear", work / "venv"], terminal, name, checkout.log)
        pip.install(checkout, ["build"], terminal, name, python)
        (work / "venv" / "ready").touch()
    return python


def _build(checkout: Checkout, plan: Recipe, work: Path, terminal: Terminal, name: str) -> Path:
    python = _build_tools(checkout, work, terminal, f"{name}: tools")
    source = _unpacked(_source(checkout, work, python, terminal, name), work)
    tools = source / "vendor" / "llama.cpp" / "tools" / "CMakeLists.txt"
    tools.write_text(trimmed(tools.read_text("utf-8")), "utf-8")
    environment = pip.environment(True) | {
        "CMAKE_ARGS": plan.cmake_arguments(ccache=shutil.which("ccache") is not None),
        "CMAKE_BUILD_PARALLEL_LEVEL": str(_jobs()),
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "CCACHE_BASEDIR": str(work),  # a compiler cache then helps wherever the build folder lies
        "CCACHE_NOHASHDIR": "1",
    }
    options = ["wheel", "--no-index", "--no-deps", "--no-build-isolation", "--verbose"]
    settings = ["--config-settings", f"build-dir={work / 'cmake'}", "--wheel-dir", str(work / "out")]
    run(
        [python, "-m", "pip", *options, *settings, source],
        terminal, f"{name}: compile", checkout.log, progress=compiled_share, detail=compiled_file, env=environment,
        hint=f"the compiler's output: {checkout.log}; running the same command again goes on where this stopped",
    )  # fmt: skip
    return next((work / "out").glob("*.whl"))


def _source(checkout: Checkout, work: Path, python: Path, terminal: Terminal, name: str) -> Path:
    """The source distribution, its hash checked."""
    pin = pinned(checkout)
    for folder in (checkout.wheelhouse, work):
        for archive in folder.glob(f"llama_cpp_python-{pin.version}.tar.gz"):
            if sha256(archive) in pin.hashes:
                return archive
    _download(checkout, work, python, terminal, f"{name}: source")
    return next(work.glob(f"llama_cpp_python-{pin.version}.tar.gz"))


def _download(checkout: Checkout, folder: Path, python: Path, terminal: Terminal, name: str) -> None:
    """Fetch the source into `folder`. `python` must have the build tools: pip asks them for the metadata."""
    options = ["download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--require-hashes"]
    run(
        [python, "-m", "pip", *options, "--progress-bar", "off", "--dest", folder, "-r", checkout.lock("llama")],
        terminal, name, checkout.log, env=pip.environment(False),
        hint="fill offline-wheels/ with `make wheels` where an index is reached, or mend pip's configuration",
    )  # fmt: skip


def _unpacked(archive: Path, work: Path) -> Path:
    folder = work / archive.name.removesuffix(".tar.gz")
    if not (folder / ".unpacked").exists():
        shutil.rmtree(folder, ignore_errors=True)
        with tarfile.open(archive) as members:
            if hasattr(tarfile, "data_filter"):
                members.extractall(work, filter="data")
            else:  # Python before 3.11.4; the archive's hash is pinned
                members.extractall(work)  # noqa: S202
        (folder / ".unpacked").touch()
    return folder


def compiled_share(line: str) -> float | None:
    """The share a line like `[12/240] Building CXX object …` tells."""
    found = re.match(r"\s*\[(\d+)/(\d+)\]", line)
    return int(found[1]) / int(found[2]) if found else None


def compiled_file(line: str) -> str:
    """The step's count and the name of its source, out of a compiler's whole command; any other line as it is."""
    found = re.match(r"\s*(\[\d+/\d+\]).*? -c (\S+)\s*$", line)
    return f"{found[1]} {found[2].rpartition('/')[2]}" if found else line.strip()


def _jobs() -> int:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(len(os.sched_getaffinity(0)), memory // BYTES_PER_JOB))


def _keep(built: Path, plan: Recipe, folder: Path) -> Path:
    """Slim the built wheel into the cache. The hash file comes last: without it a wheel does not count."""
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / f".{built.name}.{os.getpid()}"
    note = json.dumps({**asdict(plan), "flags": plan.flags}, indent=1, sort_keys=True).encode()
    try:
        slim(built, half, (NOTE, note))
        half.replace(folder / built.name)
    finally:
        half.unlink(missing_ok=True)
    _record_hash(folder / built.name)
    return folder / built.name


def _cache_folder(checkout: Checkout, plan: Recipe) -> Path:
    return checkout.cache / "wheels" / plan.key


def _hash_file(wheel: Path) -> Path:
    return wheel.with_name(wheel.name + ".sha256")


def _record_hash(wheel: Path) -> None:
    half = _hash_file(wheel).with_suffix(".part")
    half.write_text(f"{sha256(wheel)}  {wheel.name}\n", "utf-8")
    half.replace(_hash_file(wheel))


def _holds(wheel: Path) -> bool:
    try:
        return _hash_file(wheel).read_text("utf-8").split()[0] == sha256(wheel)
    except (OSError, IndexError):
        return False


def _verify(wheel: Path) -> None:
    if not _holds(wheel):
        raise Refused(
            f"{wheel.name} is not the file that was recorded in {_hash_file(wheel).name}", "fill offline-wheels/ again"
        )


def _suits(wheel: Path) -> None:
    note = note_of(wheel, NOTE)
    lacking = set(json.loads(note)["features"]) - processor_features() if note else set()
    if lacking:
        raise Refused(
            f"{wheel.name} needs processor features this machine lacks: {', '.join(sorted(lacking))}",
            "delete it from offline-wheels/: one that suits is then built here from the source beside it",
        )


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _alone(lock: Path, terminal: Terminal) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = lock.open("w")
    except OSError as error:
        raise InstallError(
            f"cannot write {lock}: {error.strerror}", "name a writable folder in APPLIANCE_CACHE"
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            terminal.say("  another set-up builds this wheel; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
