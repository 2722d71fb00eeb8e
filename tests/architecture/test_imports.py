"""Who may import whom, and what an import may do: nothing."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

from tests.architecture.tree import PACKAGES, ROOT, SANDBOXED, imports, module, parsed, sources

CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CONTRACTS = CONFIGURATION["tool"]["importlinter"]["contracts"]

PROVIDED = {
    "_pytest": "pytest", "argon2": "argon2-cffi", "markdown_it": "markdown-it-py",
    "prometheus_client": "prometheus-client",
}  # fmt: skip
"""Import names that differ from the distribution's."""

START = ("__init__", "__main__", "cli", "sample")
"""Parts of `appliance` that are no rooms: how it starts, and data."""

WATCHED = r"""
import sys
done = []
def watch(event, arguments):
    if event in {"socket.bind", "socket.connect", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "subprocess.Popen",
                 "os.fork", "os.exec", "os.posix_spawn", "os.system", "sqlite3.connect", "os.putenv", "os.unsetenv"}:
        done.append((event, repr(arguments)))
    elif event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        done.append((event, repr(arguments)))
sys.dont_write_bytecode = True
import importlib, threading
for name in sys.argv[1:]:  # what a foreign package does while it is loaded is not ours
    importlib.import_module(name)
names = sys.stdin.read().split()
threads = threading.active_count()
sys.addaudithook(watch)
for name in names:
    before = len(done)
    importlib.import_module(name)
    for event, arguments in done[before:]:
        print(name, event, arguments)
    if threading.active_count() != threads:
        print(name, "started a thread")
"""


def test_the_import_contracts_hold() -> None:
    command = "from importlinter.cli import lint_imports_command as check; check()"
    said = subprocess.run([sys.executable, "-c", command, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


def test_every_room_is_held_by_a_contract() -> None:
    keys = ("source_modules", "modules", "layers")
    held = {name for contract in CONTRACTS for key in keys for name in contract.get(key, ())}
    held = {part.strip() for name in held for part in name.split("|")}
    rooms = set(PACKAGES[1:])
    for entry in (ROOT / "appliance").iterdir():
        if (entry.suffix == ".py" or (entry / "__init__.py").exists()) and entry.stem not in START:
            rooms.add(f"appliance.{entry.stem}")
    assert rooms - held == set()


def test_the_installer_uses_the_standard_library_alone() -> None:
    for name in sources():
        if name.startswith("installer/"):
            foreign = imports(name) - sys.stdlib_module_names - {"installer"}
            assert foreign == set(), f"{name} imports {foreign}"


def test_everything_imported_is_declared() -> None:
    declared = {re.split(r"[\[<>=!~ ]", line)[0] for line in CONFIGURATION["project"]["dependencies"]}
    for name in sources():
        if name.startswith(SANDBOXED):
            continue
        foreign = {PROVIDED.get(top, top) for top in imports(name) - sys.stdlib_module_names - set(PACKAGES)}
        assert foreign <= declared, f"{name} imports {foreign - declared}, which pyproject.toml does not name"


def test_importing_a_module_does_nothing() -> None:
    ours = [name for name in sources() if not name.startswith((*SANDBOXED, "appliance/ledger/migrations/"))]
    ours = [name for name in ours if not name.endswith("__main__.py")]
    tops = {top for name in ours for top in imports(name)} - sys.stdlib_module_names - set(PACKAGES)
    foreign = sorted(_foreign_modules(ours, tops))
    said = subprocess.run(
        [sys.executable, "-c", WATCHED, *foreign], input="\n".join(map(module, ours)),
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert said.stdout == "" and said.stderr == ""


def _foreign_modules(names: list[str], tops: set[str]) -> set[str]:
    """Every foreign module that our files name at their top level, in full."""
    found: set[str] = set()
    for name in names:
        for node in parsed(name).body:
            if node.__class__.__name__ == "Import":
                found |= {alias.name for alias in node.names if alias.name.split(".")[0] in tops}
            elif node.__class__.__name__ == "ImportFrom" and node.module and node.module.split(".")[0] in tops:
                found.add(node.module)
    return found
