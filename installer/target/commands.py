"""The verbs on the target: verify, preflight, install (which also upgrades), rollback, status, uninstall."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from installer import preflight
from installer.diode import commands as diode
from installer.errors import InstallError
from installer.llama_recipe import processor_features
from installer.preflight import Row
from installer.target import answers, first, importing, media, naming, receipt, running, site, surroundings, upkeep
from installer.target.journal import Change, Journal, carry_out, take_back
from installer.target.places import Places
from installer.target.snapshots import revision
from installer.target.steps import steps
from installer.target.work import Work, whole
from installer.terminal import Terminal, elapsed
from installer.trust import payload
from installer.trust.chain import took
from installer.trust.manifest import Manifest

ROOM = 2.5
"""Times the medium's size that must be free: the copy, the unpacked release, and what it writes first."""


def main(words: list[str]) -> int:
    """Do what the words ask; the exit status."""
    try:
        words = answers.expanded(words)
    except InstallError as error:
        return _failed(error)
    asked = _parser().parse_args(words, argparse.Namespace(words=words))
    places, terminal = Places(asked.prefix.absolute(), asked.home.absolute()), Terminal()
    try:
        verb = {"verify": _verify, "preflight": _preflight, "install": _install, "upgrade": _upgrade, "import": _import,
                "rollback": _rollback, "status": _status, "uninstall": _uninstall, "repair": _repair,
                "export": _carry, "receive": _carry, "units": upkeep.show_units,
                "firewall": upkeep.show_firewall}[asked.verb]  # fmt: skip
        return verb(asked, places, terminal)
    except InstallError as error:
        return _failed(error)
    except OSError as error:
        print(f"error: {error.strerror}: {error.filename}", file=sys.stderr)
        print("hint: mend that, then run the same command again: it goes on or goes back", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; running the same command again goes on from here", file=sys.stderr)
        return 130


def _failed(error: InstallError) -> int:
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    return error.exit_status


def _verify(asked: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    found, decision = media.judged(asked.medium, asked.fingerprint, places, terminal)
    manifest = found.manifest
    payload.listed(asked.medium, manifest)
    started = time.monotonic()
    read = 0
    there = [one for one in manifest.files if one.path not in manifest.absent or (asked.medium / one.path).is_file()]
    for entry in there:
        payload.check(asked.medium, entry)
        read += entry.size
        terminal.working("verify", time.monotonic() - started, read / max(1, manifest.size), entry.path)
    took = time.monotonic() - started
    terminal.say(f"{len(there)} files, {read / 1e6:.0f} MB are what was signed ({elapsed(took)})")
    if manifest.base is not None:
        rest = len(manifest.files) - len(there)
        terminal.say(f"the other {rest} come from {manifest.base.release}, as this box has it")
    terminal.say(f"release {manifest.release}: {decision.kind}, {decision.reason}")
    return 0


def _preflight(asked: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    found, _ = media.judged(asked.medium, asked.fingerprint, places, terminal)
    rows = [*look(found.manifest, places), *naming.rows(naming.naming(asked, places), time.time())]
    if asked.json:
        print(json.dumps([row.as_dict() for row in rows], indent=1))
    else:
        _show(rows, terminal)
    return 1 if any(row.verdict == "fail" for row in rows) else 0


def look(manifest: Manifest, places: Places) -> list[Row]:
    """Every check of this machine against the release."""
    there = next(folder for folder in (places.prefix, *places.prefix.parents) if folder.exists())
    wanted, free = manifest.size * ROOM / 1e9, shutil.disk_usage(there).free / 1e9
    running_python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    lacking = sorted(set(manifest.processor) - processor_features())
    debs = "in the medium's folder: sh debs/install-packages.sh" if manifest.below("debs") else ""
    rows = [
        Row("python", "pass", running_python) if running_python == manifest.python else
        Row("python", "fail", running_python, f"install Python {manifest.python}, or name it: PYTHON=…"),
        Row("system", "pass", manifest.arch) if platform.machine() == manifest.arch else
        Row("system", "fail", platform.machine(), f"use the bundle for it; this one is for {manifest.arch}"),
        Row("processor", "pass", "has what the build uses") if not lacking else
        Row("processor", "fail", f"lacks {', '.join(lacking)}", "use a bundle built for this processor"),
        Row("disk", "pass", f"{free:.1f} GB free") if free >= wanted else
        Row("disk", "fail", f"{free:.1f} GB free", f"make room: {wanted:.1f} GB below {there}"),
        *(Row(name, "pass", "there") if shutil.which(name) else
          Row(name, "fail", "not installed", debs or f"apt-get install {package}")
          for name, package in (("git", "git"), ("bwrap", "bubblewrap"), ("openssl", "openssl"))),
    ]  # fmt: skip
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    sandbox = preflight.sandbox(preflight.sandbox_output())
    return [*rows, preflight.memory(memory), preflight.clock(time.time()), sandbox]


def _install(asked: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    found, decision = media.judged(asked.medium, asked.fingerprint, places, terminal)
    manifest = found.manifest
    with alone(places) as lock:
        journal = Journal(places.state / "journal.json")
        _settle_cut_short(journal, manifest, places, terminal)
        called = naming.naming(asked, places)
        rows = [*look(manifest, places), *naming.rows(called, time.time())]
        if any(row.verdict == "fail" for row in rows):
            _show(rows, terminal)
            raise InstallError("this machine cannot take the release", "mend what fails above, then run this again")
        previous = places.chosen(places.current)
        old = journal.unfinished()
        if old is not None:
            change = old
        else:
            mend = previous == manifest.release and whole(places.release(previous))
            kept = not mend and (places.home / "ledger.db").exists()
            previous = "" if previous == manifest.release else previous
            change = Change(manifest.release, previous, time.time(), kept=kept, mend=mend)
        wanted = site.decided(places, site.given(asked), site.recorded(places), site.by_root())
        work = Work(places, change, terminal, asked.medium, manifest, lock, wanted, called)
        planned = steps(work)
        _show([row for row in rows if row.verdict != "pass"], terminal)
        whose = f", as the user {wanted.user}" if wanted.user else ""
        terminal.say(f"{decision.kind} {manifest.release} in {places.prefix}, data in {places.home}{whose}:")
        terminal.say("  " + " → ".join(step.name for step in planned))
        if not asked.yes and not _agreed():
            raise InstallError("nothing was changed", "answer yes, or give --yes")

        def finish(done: Change) -> None:
            places.accept(took(found, places.accepted()))
            terminal.say(f"receipt: {receipt.write(places, done, found.digest)}")

        change = carry_out(change, planned, journal, terminal, finish)
    terminal.say(f"done in {elapsed(sum(change.seconds.values()))}")
    terminal.say(f"the box: {places.current}/venv/bin/appliance --home {places.home} status")
    first.farewell(places, change, places.release(change.release), terminal)
    return 0


def _upgrade(asked: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    """By what this box trusts already: the medium's own installer is not started before the medium was judged."""
    return media.hand_over(asked.medium, places, terminal, ["install", *asked.words[1:]])


def _repair(asked: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    """What is wrong with the installed release, and what it needs around it; its files come from what it came as."""
    with alone(places):
        broken = upkeep.repair(places, asked, terminal)
    if broken is None:
        return 0
    with broken as (medium, typed):
        again = argparse.Namespace(**{**vars(asked), "medium": medium, "fingerprint": typed, "yes": True})
        return _install(again, places, terminal)


def _import(asked: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    found = media.read(asked.medium, asked.fingerprint, places, terminal)
    with alone(places):
        return min(1, importing.take(asked.medium, found, places, terminal, asked.older))


def _carry(asked: argparse.Namespace, _: Places, terminal: Terminal) -> int:
    return diode.run(asked, terminal)


def _settle_cut_short(journal: Journal, manifest: Manifest, places: Places, terminal: Terminal) -> None:
    """A change that was going back, or was another's, is taken back first."""
    cut = journal.unfinished()
    if cut is not None and (cut.phase == "undoing" or cut.back or cut.release != manifest.release):
        terminal.say(f"an earlier change to {cut.release} was cut short; it is taken back first")
        take_back(cut, steps(Work(places, cut, terminal)), journal, terminal)


def _rollback(asked: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    with alone(places) as lock:
        journal = Journal(places.state / "journal.json")
        cut = journal.unfinished()
        if cut is not None and (cut.phase == "undoing" or not cut.back):
            terminal.say(f"the change to {cut.release} was cut short; it is taken back")
            take_back(cut, steps(Work(places, cut, terminal)), journal, terminal)
            return 0
        change = cut or _way_back(places, asked.to_snapshot)
        started = time.monotonic()
        carry_out(change, steps(Work(places, change, terminal, lock=lock)), journal, terminal)
    terminal.say(f"{change.release} runs again after {elapsed(time.monotonic() - started)}")
    return 0


def _way_back(places: Places, to_snapshot: bool) -> Change:
    """To the release that ran before this one; after a rollback that is the newer one. Raises InstallError."""
    now, before = places.chosen(places.current), places.chosen(places.previous)
    if not now or not before or not whole(places.release(before)):
        raise InstallError("there is no release to go back to", "an upgrade keeps the one before it")
    if _built(before) > _built(now):
        return Change(before, now, time.time(), kept=(places.home / "ledger.db").exists())
    snapshot = places.snapshots / now
    migrated = whole(snapshot) and revision(places.home) != revision(snapshot)
    if migrated and not to_snapshot:
        raise InstallError(
            f"{now} changed the ledger's tables; {before} can read the snapshot from before the upgrade alone",
            "what came in since would be put aside and not be seen any more: give --to-snapshot to do that",
        )
    return Change(before, now, time.time(), kept=migrated, back=True)


def _built(release: str) -> int:
    return int(release.rpartition("-")[2])


def _status(_: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    cut = Journal(places.state / "journal.json").unfinished()
    terminal.say(f"release   {places.chosen(places.current) or 'none'}")
    terminal.say(f"before    {places.chosen(places.previous) or 'none'}")
    terminal.say(f"box       {'runs' if running.pid(places) is not None else 'does not run'}")
    if cut is not None:
        terminal.say(f"cut short {cut.release} ({cut.phase}): run install.sh again to go on, or `rollback` to go back")
    return 0 if cut is None else 1


def _uninstall(asked: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    if not places.current.is_symlink() and not places.releases.is_dir():
        raise InstallError(f"no box is installed in {places.prefix}", "name it: --prefix DIR")
    if asked.with_data and not (places.home / "ledger.db").exists():
        raise InstallError(f"{places.home} is no home of a box", "name it: --home DIR, or leave out --with-data")
    if surroundings.needs_root(places) and not site.by_root():
        raise InstallError("the box has a user of its own, which only root can remove", "run this as root")
    terminal.say(f"removes {places.prefix}" + (f" and all data in {places.home}" if asked.with_data else ""))
    if not asked.yes and not _agreed():
        raise InstallError("nothing was changed", "answer yes, or give --yes")
    with alone(places):
        running.stop(places)
        left_too = surroundings.take_away(places, asked.with_data, asked.keep_user)
        for name in ("current", "previous"):
            (places.prefix / name).unlink(missing_ok=True)
        for folder in (places.releases, places.staging, places.state, places.prefix / upkeep.ASIDE):
            shutil.rmtree(folder, ignore_errors=True)
        if asked.with_data:  # a snapshot is data, and so is what one took the place of
            shutil.rmtree(places.snapshots, ignore_errors=True)
            shutil.rmtree(places.home)
    left = [one.name for one in places.prefix.iterdir() if one.name != "lock"]
    if not left:
        shutil.rmtree(places.prefix)
    said = f"left in {places.prefix}: {', '.join(left)}" if left else f"{places.prefix} is gone"
    said += "".join(f"; left: {one}" for one in left_too)
    terminal.say(said + ("" if asked.with_data else f"; the data stay in {places.home}"))
    return 0


def _show(rows: list[Row], terminal: Terminal) -> None:
    for row in rows:
        terminal.say(f"{row.verdict:<5} {row.name:<18} {row.found}" + (f"\n      fix: {row.fix}" if row.fix else ""))


def _agreed() -> bool:
    return sys.stdin.isatty() and input("go on? [yes/no] ").strip().lower() in {"y", "yes"}


@contextmanager
def alone(places: Places, seconds: float = 120) -> Iterator[int]:
    """Hold the installation; gives the open file that does. What a killed run started holds it a little longer.

    Raises:
        InstallError: another run holds it.
    """
    places.prefix.mkdir(parents=True, exist_ok=True)
    with (places.prefix / "lock").open("w") as handle:
        until, told = time.monotonic() + seconds, False
        while not _locked(handle.fileno()):
            if time.monotonic() > until:
                raise InstallError("another run of the installer is at work", "wait for it, then run this again")
            if not told:
                print("another run, or what it left behind, is at work; waiting for it", file=sys.stderr)
            told = True
            time.sleep(0.2)
        yield handle.fileno()


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="install.sh --fingerprint HEX", description="installs the appliance")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, what in (
        ("verify", "hold every file of the medium to its signature; changes nothing"),
        ("preflight", "look at this machine: pass, warn or fail, each with its fix"),
        ("install", "install, or upgrade what is installed; again: mend it"),
        ("upgrade", "take a newer medium (--medium DIR) by what this box trusts: no fingerprint needed"),
        ("import", "take in models, repositories and advisories that a medium brings (--medium DIR)"),
        ("rollback", "back to the release before, or take back what was cut short"),
        ("status", "which release runs, and whether a change was cut short"),
        ("uninstall", "remove the programs; the data stay unless told otherwise"),
        ("repair", "hold what is installed to what it was, and mend what differs: files, rights, user, units"),
        ("units", "how the units of systemd stand; --print shows them as they would be written"),
        ("firewall", "print the nftables rules; --apply sets them, --remove takes them away"),
    ):
        verb = verbs.add_parser(name, help=what, allow_abbrev=False)
        verb.add_argument("--prefix", type=Path, default=Path("/opt/appliance"), help="the programs (/opt/appliance)")
        verb.add_argument("--home", type=Path, default=Path("/var/lib/appliance"), help="the data (/var/lib/appliance)")
        verb.add_argument("--medium", type=Path, help=argparse.SUPPRESS)
        verb.add_argument("--fingerprint", default="", help=argparse.SUPPRESS)
        if name == "preflight":
            verb.add_argument("--json", action="store_true", help="print the rows as JSON")
        if name in {"install", "upgrade", "uninstall"}:
            verb.add_argument("--yes", action="store_true", help="do not ask")
        if name in {"install", "upgrade", "repair", "units", "firewall"}:
            site.options(verb)
        if name in {"install", "upgrade", "preflight", "repair"}:
            naming.options(verb)
        if name in {"install", "upgrade"}:
            verb.add_argument("--answers", metavar="FILE", help="a TOML file with these options, for nobody to watch")
        if name == "units":
            verb.add_argument("--print", action="store_true", help="their texts")
        if name == "firewall":
            verb.add_argument("--apply", action="store_true", help="set the rules, now and at every start")
            verb.add_argument("--remove", action="store_true", help="take the rules away")
        if name == "import":
            verb.add_argument("--older", action="store_true", help="also what is older than what was taken before")
        if name == "rollback":
            verb.add_argument("--to-snapshot", action="store_true", help="with the data from before the upgrade")
        if name == "uninstall":
            verb.add_argument("--with-data", action="store_true", help="remove the data, too")
            verb.add_argument("--keep-user", action="store_true", help="with the data gone, still leave the box's user")
    diode.add(verbs)
    parser.set_defaults(prefix=Path("/opt/appliance"), home=Path("/var/lib/appliance"))
    return parser
