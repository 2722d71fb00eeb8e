"""What a box has on its machine besides programs and data: its user, its units, its firewall. Made, and taken away."""

from __future__ import annotations

from dataclasses import replace

from installer.target import firewall, running, site, systemd, user
from installer.target.journal import Step
from installer.target.places import Places
from installer.target.site import Site
from installer.terminal import Terminal


def step(places: Places, wanted: Site | None, terminal: Terminal) -> Step:
    """The step of an install. It comes while the box is stopped: nothing of root's may appear in the home any more."""
    return Step("user, rights and units", lambda: False, lambda: make(places, wanted, terminal),
                lambda: take_back(places))  # fmt: skip


def make(places: Places, wanted: Site | None, terminal: Terminal) -> None:
    """Have everything that was decided; safe to repeat. Raises InstallError."""
    decided = wanted or site.recorded(places) or Site()
    if decided.user:
        if user.known(decided.user) is None:  # recorded first: a user whom nobody remembers making would stay for good
            decided = replace(decided, made_user=True)
            site.keep(places, decided)
            user.ensure(decided.user, places.home)
        user.ensure(decided.user, places.home)
        if user.belongs(places.home) != decided.user:  # what runs there as another user would go on writing as that one
            running.stop(places)
        changed = user.hand_over(places.home, decided.user)
        user.programs(places)
        if changed:
            terminal.say(f"  {changed} files and folders now belong to the user {decided.user}")
    site.keep(places, decided)
    if decided.firewall:
        firewall.apply(places, decided)
    if systemd.usable(places):
        systemd.install(places, decided)


def take_back(places: Places) -> None:
    """Undo what a first install made; where a release is there, what it needs stays."""
    if not places.current.is_symlink():
        systemd.remove()
        firewall.remove(places)
        (places.state / "site.json").unlink(missing_ok=True)


def take_away(places: Places, data_too: bool, keep_user: bool) -> list[str]:
    """Remove all of it, the user only together with its data: a number that is given anew would own them.

    Returns what was left, in words.
    """
    decided = site.recorded(places) or Site()
    systemd.remove()
    firewall.remove(places)
    if not decided.made_user or user.known(decided.user) is None:
        return []
    if keep_user or not data_too:
        return [f"the user {decided.user}" + ("" if keep_user else ", whose the data are")]
    user.remove(decided.user)
    return []
