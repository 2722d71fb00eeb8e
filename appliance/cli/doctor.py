"""`appliance doctor`: check everything the box stands on, each with its fix."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

import click
import psutil

from appliance.backup import binding
from appliance.certificates.showing import doors, shown
from appliance.cli import standing
from appliance.cli.context import Box, pass_box
from appliance.cli.route import catalogue
from appliance.cli.status import read, running
from appliance.computers.probe import probe
from appliance.errors import FactoryError, of_system
from appliance.ledger import open_ledger
from appliance.ledger.audit import read_anchor
from appliance.ledger.backups import standing as standing_of_backups
from appliance.ledger.backups import warning
from appliance.ledger.database import SAFE_SQLITE, sqlite_version
from appliance.mirror.mirror import Mirror
from appliance.tls import served_by
from appliance.work import MirrorHealth, utcnow
from inference import rules
from models.registry import Registry


class Check(NamedTuple):
    """One finding: verdict is pass, warn or fail."""

    name: str
    verdict: str
    found: str
    fix: str = ""


@click.command()
@pass_box
def command(box: Box) -> int:
    """Check the box and the machine. Exit 0 when nothing failed."""
    box.require_home()
    rows = [row for check in CHECKS for row in guarded(check, box)]
    box.emit([row._asdict() for row in rows], lambda: "\n".join(in_words(rows)))
    return 1 if any(row.verdict == "fail" for row in rows) else 0


def in_words(rows: list[Check]) -> list[str]:
    """The findings for people."""
    lines = []
    for row in rows:
        lines.append(f"{row.verdict:<5} {row.name:<12} {row.found}")
        if row.fix:
            lines.append(f"{'':<18} fix: {row.fix}")
    return lines


def guarded(check: Callable[[Box], Iterator[Check]], box: Box) -> list[Check]:
    """A check that itself fails is a finding too."""
    try:
        return list(check(box))
    except (FactoryError, OSError) as error:
        said = of_system(error) if isinstance(error, OSError) else error
        return [Check(check.__name__, "fail", said.message, said.hint)]


def settings(box: Box) -> Iterator[Check]:
    """The settings file."""
    yield Check("settings", "pass", f"{box.home.settings_file} is valid, {box.settings.line.workers} workers")


def python(box: Box) -> Iterator[Check]:  # noqa: ARG001 - every check is called alike
    """Python and SQLite."""
    yield Check("python", "pass", sys.version.split()[0])
    safe = tuple(int(part) for part in sqlite_version().split(".")) >= SAFE_SQLITE
    yield Check("sqlite", "pass" if safe else "fail", f"{sqlite_version()} (bundled with pysqlite3)")


def machine(box: Box) -> Iterator[Check]:
    """Disk and memory."""
    disk = shutil.disk_usage(box.home.root)
    free = disk.free / 2**30
    verdict = "pass" if free > 5 else "warn" if free > 1 else "fail"
    yield Check("disk", verdict, f"{free:.1f} GiB free", "" if verdict == "pass" else "free space on the home's disk")
    memory = psutil.virtual_memory()
    enough = memory.available / 2**20 > 2 * box.settings.computers.memory_mb
    yield Check("memory", "pass" if enough else "warn", f"{memory.available / 2**30:.1f} GiB available",
                "" if enough else "lower computers.memory_mb or line.workers")  # fmt: skip


def sandbox(box: Box) -> Iterator[Check]:
    """Which sandbox tier this machine offers, found out by running in it."""
    result = probe(box.home, box.settings.computers.python)
    verdict = {"A": "pass", "B": "warn", "C": "fail"}[result.tier]
    yield Check("sandbox", verdict, f"tier {result.tier}")
    for tier in result.tiers:
        yield Check(f"  tier {tier.tier}", "pass" if tier.usable else "warn", tier.detail, tier.fix)


def git(box: Box) -> Iterator[Check]:
    """Git, and how every repository's mirror stands; a server is asked where the line has not done so lately."""
    found = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False)
    yield Check("git", "pass" if found.returncode == 0 else "fail", found.stdout.strip() or "not found")
    ledger, now = open_ledger(box.home), utcnow()
    known, lately = ledger.forges.all_health(), timedelta(seconds=2 * box.settings.line.hooked_seconds)
    for tracked in ledger.repositories():
        health = known.get(tracked.name, MirrorHealth())
        if health.tried is None or now - health.tried > lately:
            try:
                Mirror.of(box.home, tracked, box.settings.mirror).behind()
            except FactoryError as error:
                yield Check(f"  {tracked.name}", "fail", error.message, error.hint)
            else:
                yield Check(f"  {tracked.name}", "pass", "its server answers; the line has not polled it lately")
            continue
        verdict = "fail" if health.error else "warn" if health.api_error else "pass"
        said = standing.in_short(health, now)
        yield Check(f"  {tracked.name}", verdict, said, health.hint or health.api_hint)


def models(box: Box) -> Iterator[Check]:
    """The models on the box."""
    cards = Registry(box.home.models).list()
    yield Check("models", "pass" if cards else "fail", ", ".join(card.id for card in cards) or "none",
                "" if cards else "`appliance init` makes the embedding model")  # fmt: skip


def routes(box: Box) -> Iterator[Check]:
    """The routing rules: with wrong ones a gateway that runs keeps those before, one that starts refuses calls."""
    found = rules.load(box.home.routes_file, catalogue(box))
    yield Check("routes", "pass", f"{len(found.rule)} rules, all valid")


def ledger(box: Box) -> Iterator[Check]:
    """The ledger's newest event against the anchor (the whole chain: `appliance audit verify`)."""
    opened = open_ledger(box.home)
    events, _ = opened.tip()
    anchored, tip = read_anchor(box.home.secrets / "ledger.anchor", (box.home.secrets / "audit.key").read_bytes())
    good = anchored == 0 or opened.hash_of(anchored) == tip
    yield Check("ledger", "pass" if good else "fail", f"{events} events, {anchored} anchored",
                "" if good else "`appliance audit verify`, then compare with a backup")  # fmt: skip


def secrets(box: Box) -> Iterator[Check]:
    """Whether the secrets are those that the ledger was made with."""
    if binding.check(box.home):
        yield Check("secrets", "pass", "those that this ledger was made with")
    else:
        yield Check("secrets", "warn", "the ledger does not name its secrets yet", "`appliance init` notes them")


def backups(box: Box) -> Iterator[Check]:
    """How old the newest backup is."""
    seen = standing_of_backups(open_ledger(box.home))
    found, fix = warning(utcnow(), box.settings.backup, seen)
    newest = f"{seen.name} is the newest" if seen.name else "nobody is to be warned of their age"
    yield Check("backup", "warn" if found else "pass", found or newest, fix)


def certificate(box: Box) -> Iterator[Check]:
    """The certificate of the doors that speak TLS."""
    on, kept = doors(box.settings), shown(box.home, box.settings, utcnow())
    if not on:
        yield Check("certificate", "pass", "none is needed: gateway and console speak no TLS")
        return
    served_by(box.home, box.settings.certificate, True)
    if kept is not None:
        yield Check("certificate", kept.verdict, kept.found, kept.fix)


def processes(box: Box) -> Iterator[Check]:
    """What runs."""
    found = running(box.home)
    if not found:
        yield Check("processes", "warn", "the box is not running", "`appliance up`")
        return
    for process in found:
        good = process["state"] == "ready"
        fix = "" if good else f"see {box.home.logs / process['name']}.log"
        yield Check(f"  {process['name']}", "pass" if good else "fail", f"{process['state']} {process['reason']}", fix)


def engines(box: Box) -> Iterator[Check]:
    """The loaded models whose engines do not run."""
    for row in (read(box.home.run / "engines.json") or ()) if running(box.home) else ():
        if row["state"] == "failed":
            fix = f"`appliance model show {row['model']}` has the end of its log, `appliance model load` tries it anew"
            yield Check(f"  {row['model']}", "warn", f"engine failed: {row['reason']}", fix)


CHECKS: tuple[Callable[[Box], Iterator[Check]], ...] = (
    settings, python, machine, sandbox, git, models, routes, ledger, secrets, backups, certificate, processes, engines,
)  # fmt: skip
