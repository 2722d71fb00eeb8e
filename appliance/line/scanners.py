"""Scanners that always run: ruff's security rules, bandit, detect-secrets. Each in the sandbox, each judged by its
parsed result: an exit code alone proves nothing."""

from __future__ import annotations

import json
import posixpath
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import Unavailable
from appliance.ports import Limits, Sandbox
from appliance.work import Finding

LIMITS = Limits(seconds=120, cpu_seconds=120, memory_mb=1024, disk_mb=128, output_kb=8192)


@dataclass(frozen=True)
class CommandScanner:
    """A scanner that is a command: how to call it on files, and how to read its JSON."""

    name: str
    sandbox: Sandbox
    arguments: tuple[str, ...]
    read: Callable[[Any], list[Finding]]
    python_only: bool = True

    def scan(self, tree: Path, files: Sequence[str]) -> tuple[Finding, ...]:
        """See ports.Scanner."""
        wanted = [path for path in files if path.endswith(".py") or not self.python_only]
        if not wanted:
            return ()
        argv = [sys.executable, "-I", "-m", *self.arguments, *(f"./{path}" for path in wanted)]
        done = self.sandbox.run(argv, tree=tree, limits=LIMITS)
        try:
            found = self.read(json.loads(done.stdout))
            return tuple(one.with_(path=known_as(one.path, wanted)) for one in found)
        except (ValueError, KeyError, TypeError) as error:
            tail = done.stderr.decode(errors="replace").strip()[-300:]
            raise Unavailable(
                f"{self.name} gave no result (exit {done.exit_code}{', ' + done.limit if done.limit else ''}): {tail}",
                "`appliance doctor` checks the scanners",
            ) from error


def known_as(path: str, wanted: Sequence[str]) -> str:
    """A scanner's name for a file as the repository knows it. Some name the place inside the sandbox, which differs
    from run to run, so the longest asked-for name that ends it is the one."""
    whole = f"/{posixpath.normpath(path)}"
    return max((name for name in wanted if whole.endswith(f"/{name}")), key=len, default=path)


def read_ruff(result: Any) -> list[Finding]:
    """ruff --output-format json: a list of diagnostics."""
    return [
        Finding(
            rule=one["code"] or "syntax",
            path=one["filename"],
            line=one["location"]["row"],
            message=one["message"],
            tool="ruff",
        )
        for one in result
    ]


def read_bandit(result: Any) -> list[Finding]:
    """bandit -f json: `results`; a file it could not read is a missing result, not a pass."""
    if result["errors"]:
        raise ValueError(str(result["errors"][:1]))
    return [
        Finding(
            rule=one["test_id"],
            path=one["filename"],
            line=one["line_number"],
            message=one["issue_text"],
            severity={"HIGH": "error", "MEDIUM": "warning"}.get(one["issue_severity"], "note"),
            tool="bandit",
        )
        for one in result["results"]
    ]


def read_secrets(result: Any) -> list[Finding]:
    """detect-secrets scan: `results` by file. The secret itself is only there as a hash, and is not kept."""
    return [
        Finding(
            rule=one["type"],
            path=path,
            line=one["line_number"],
            message=f"possible secret ({one['hashed_secret'][:12]})",
            severity="error",
            tool="detect-secrets",
        )
        for path, found in result["results"].items()
        for one in found
    ]


def usual(sandbox: Sandbox) -> tuple[CommandScanner, ...]:
    """The scanners every box runs."""
    ruff = (
        "ruff",
        "check",
        "--isolated",
        "--no-cache",
        "--select",
        "S",
        "--output-format",
        "json",
        "--exit-zero",
        "--",
    )
    return (
        CommandScanner("ruff", sandbox, ruff, read_ruff),
        CommandScanner("bandit", sandbox, ("bandit", "-f", "json", "-q", "--exit-zero"), read_bandit),
        CommandScanner("detect-secrets", sandbox, ("detect_secrets", "scan", "--no-verify"), read_secrets, False),
    )
