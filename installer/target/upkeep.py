"""Verbs for a box that is installed: what is written for systemd and the firewall, and `repair`."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from installer.errors import InstallError, Refused
from installer.target import firewall, media, running, seal, site, surroundings, systemd, units, user
from installer.target.journal import Journal
from installer.target.places import Places, point
from installer.target.work import WHOLE
from installer.terminal import Terminal
from installer.trust import payload
from installer.trust.medium import FOLDER as METADATA

ASIDE = "mending"
"""Below the prefix: what a release came as, while it is unpacked anew."""
SHOWN = 20
"""Files that differ and are named."""


def show_units(asked: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    """How the units stand; with --print their texts, as they would be written."""
    found = site.decided(places, site.given(asked), site.recorded(places), site.by_root())
    if not found.user:
        raise InstallError("a box without a user of its own gets no units", "name it: --user appliance")
    made = units.units(places, found, gpu=Path("/dev/nvidiactl").exists())
    if asked.print:
        terminal.say("\n".join(f"# {systemd.FOLDER / name}\n{text}" for name, text in made.items()))
        return 0
    if not systemd.there():
        terminal.say(
            "no units here: " + ("systemd does not run this machine" if site.by_root() else "this is not root")
        )
    stand = systemd.standing(made)
    for name, how in stand.items():
        terminal.say(f"{name:<30} {how}")
    return 0 if set(stand.values()) == {systemd.AS_WRITTEN} else 1


def show_firewall(asked: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    """Print the rules as they would be set, or set those, or take them away."""
    found = site.decided(places, site.given(asked), site.recorded(places), site.by_root())
    if asked.apply:
        firewall.apply(places, found)
        site.keep(places, replace(found, firewall=True))
        terminal.say(f"the rules are set, and kept in {firewall.file(places)}")
    elif asked.remove:
        there = firewall.remove(places)
        site.keep(places, replace(found, firewall=False))
        terminal.say("the rules are gone" if there else "there were none")
    else:
        terminal.say(firewall.rules(firewall.ports(places), found.allow, found.user).rstrip())
    return 0


def repair(
    places: Places, asked: argparse.Namespace, terminal: Terminal
) -> AbstractContextManager[tuple[Path, str]] | None:
    """Find what is not as it was installed, mend it, and say both. Call it while nobody else installs.

    Returns None when all is well now. Where files of the release differ: the medium to install it from again, with the
    fingerprint it is trusted by; the box is stopped then, and the release no longer counts as whole.

    Raises:
        InstallError: something cannot be mended here.
    """
    if surroundings.needs_root(places) and not site.by_root():
        raise InstallError("the box has a user of its own, and only root can repair it", "run this as root")
    if (places.prefix / ASIDE / METADATA).is_dir():
        return _go_on(places, terminal)
    if Journal(places.state / "journal.json").unfinished() is not None:
        raise InstallError("a change was cut short", "run it again, or `rollback`; repair comes after that")
    wanted = site.decided(places, site.given(asked), site.recorded(places), site.by_root())
    name = _chosen(places, terminal)
    release = places.release(name)
    differ = seal.changed(release) if (release / WHOLE).exists() else ["the release was not finished"]
    if differ is None:
        terminal.say(f"  not known: whether the files of {name} are whole; it was unpacked before they were sealed")
    for one in (differ or [])[:SHOWN]:
        terminal.say(f"  found: {one}")
    if differ:
        return _again(places, name, len(differ), asked, terminal)
    rights = user.programs(places) if wanted.user else 0
    if rights:
        terminal.say(f"  mended: {rights} rights below {places.prefix}")
    done = surroundings.make(places, wanted)
    for one in done:
        terminal.say(f"  mended: {one}")
    if wanted.firewall:
        firewall.apply(places, wanted)
    if done or not running.ready(places):  # what was mended holds from the next start on
        terminal.say(
            "  the box is started anew" if done else "  found: not every process is ready; the box is started anew"
        )
        running.stop(places)
        running.start(places, release, terminal)
    terminal.say(f"the box runs {name}, as the user {wanted.user or user.belongs(places.home)}")
    return None


def _again(
    places: Places, name: str, count: int, asked: argparse.Namespace, terminal: Terminal
) -> AbstractContextManager[tuple[Path, str]]:
    """Judge what the release can be unpacked from before anything of it is taken away."""
    terminal.say(f"  {count} files of {name} are not what was unpacked; it is unpacked anew")
    given = asked.medium is not None
    medium = asked.medium if given else _kept_medium(places, name)
    typed = asked.fingerprint if given else ""
    try:
        found, _ = media.judged(medium, typed, places, terminal)
        if found.manifest.release != name:
            raise Refused(f"the medium brings {found.manifest.release}", "")
        for entry, folder in media.sources(medium, found.manifest, places):
            payload.check(folder, entry)
    except Refused as error:
        if not given:
            _put_back(places, name)
        raise InstallError(
            f"{name} cannot be unpacked anew from {'that medium' if given else 'what it came as'}: {error.message}",
            f"run `repair` by install.sh of the medium of {name}; nothing was changed",
        ) from error
    running.stop(places)
    (places.release(name) / WHOLE).unlink(missing_ok=True)
    return _medium(medium, typed, keep=given)


def _go_on(places: Places, terminal: Terminal) -> AbstractContextManager[tuple[Path, str]]:
    """A repair that was cut short, or whose release was not healthy, is done again from what was put aside for it."""
    aside = places.prefix / ASIDE
    found, _ = media.judged(aside, "", places, terminal)
    name = found.manifest.release
    terminal.say(f"  a repair of {name} was cut short; it goes on")
    if Journal(places.state / "journal.json").unfinished() is None:
        running.stop(places)
        (places.release(name) / WHOLE).unlink(missing_ok=True)
    return _medium(aside, "", keep=False)


@contextmanager
def _medium(medium: Path, typed: str, keep: bool) -> Iterator[tuple[Path, str]]:
    yield medium, typed
    if not keep:
        shutil.rmtree(medium, ignore_errors=True)


def _kept_medium(places: Places, name: str) -> Path:
    """The files a release came as, out of its folder, which will be removed; a run that was killed left them there."""
    aside, release = places.prefix / ASIDE, places.release(name)
    if (release / media.MEDIUM).is_dir():
        shutil.rmtree(aside, ignore_errors=True)
        (release / media.MEDIUM).rename(aside)
    if (release / METADATA).is_dir() and aside.is_dir():
        shutil.copytree(release / METADATA, aside / METADATA, dirs_exist_ok=True)
    return aside


def _put_back(places: Places, name: str) -> None:
    aside = places.prefix / ASIDE
    if aside.is_dir() and places.release(name).is_dir():
        shutil.rmtree(aside / METADATA, ignore_errors=True)
        aside.rename(places.release(name) / media.MEDIUM)


def _chosen(places: Places, terminal: Terminal) -> str:
    """The release that `current` names, once it names one that is there."""
    name = places.chosen(places.current)
    if name and places.release(name).is_dir():
        return name
    left = places.chosen(places.previous)
    if not left or not places.release(left).is_dir():
        raise InstallError(f"no release is left in {places.prefix}", "run install.sh from a medium; the data stay")
    point(places.current, Path("releases") / left)
    terminal.say(f"  mended: {name or 'the link `current`'} is gone; {left} is chosen")
    return left
