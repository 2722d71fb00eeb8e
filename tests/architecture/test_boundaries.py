"""Where the outside may be touched: the environment in one place, outside addresses nowhere."""

from __future__ import annotations

import ast
import re

from tests.architecture.tree import ROOT, SANDBOXED, parsed, sources

READERS = ("appliance/config.py", "installer/", "inference/engines/within_vllm/", *SANDBOXED)
"""The configuration; the installer, which runs before it; what runs in other programs, told by their environment."""
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
TEXTS = {".py", ".toml", ".html", ".css", ".js", ".svg", ".json", ".md", ".lock", ".in", ".txt", ".mako", ""}
NAMES_OF_SCHEMAS = ("http://www.w3.org/2000/svg",)
OWN = re.compile(
    r"^(\{|\$|<|127\.|localhost\b|\[::1\]|0\.0\.0\.0|HOST|BOX|([\w-]+\.)*(example|invalid|test|internal|local)\b)"
)
"""Hosts of this box, placeholders, and names reserved for examples."""


def test_only_the_configuration_reads_the_environment() -> None:
    for name in sources():
        if name.startswith(READERS):
            continue
        read = [
            node.lineno
            for node in ast.walk(parsed(name))
            if isinstance(node, ast.Attribute)
            and node.attr in ENVIRONMENT
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
        ]
        assert read == [], f"{name} reads the environment in lines {read}"


def test_no_code_names_an_outside_address() -> None:
    folders = ["appliance", "inference", "models", "control", "installer", "offline-wheels", ".ci"]
    files = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.is_file()]
    files += [ROOT / "Makefile", ROOT / "pyproject.toml"]
    found = []
    for file in files:
        if (
            file.suffix not in TEXTS
            or "__pycache__" in file.parts
            or file.parent.name == "data"
            or "vendor" in file.parts
        ):
            continue
        for host in re.findall(r"https?://(?:[^\s/@'\"]*@)?([^\s'\"`)]*)", _without_schemas(file.read_text("utf-8"))):
            if host and not OWN.match(host):
                found.append(f"{file.relative_to(ROOT)}: {host}")
    assert found == []


def test_no_lock_names_where_files_come_from() -> None:
    for lock in (ROOT / "offline-wheels").glob("*.lock"):
        text = lock.read_text("utf-8")
        assert (
            "://" not in text and "--index" not in text and "--extra-index" not in text and "--find-links" not in text
        )


def _without_schemas(text: str) -> str:
    for name in NAMES_OF_SCHEMAS:
        text = text.replace(name, "")
    return text
