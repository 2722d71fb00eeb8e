"""What a box has on its machine besides programs and data: its user, its units, its firewall. Made, and taken away."""

from __future__ import annotations

from installer.target import firewall, running, site, systemd, user
from installer.target.journal import Step
from installer.target.places import Places
from installer.target.site import Site
from installer.terminal import Terminal


def step(places: Places, wanted: Site | None, terminal: Terminal) -> Step:
    """The step of an install. It comes while the box is stopped: nothing of root's may appear in the home any more."""

    def apply() -> None:
        decided = wanted or site.recorded(places) or Site()
        for line in make(places, decided):
            terminal.say(f"  {line}")
        if not decided.allow and systemd.usable(places):
            terminal.say("  warning: only this machine will reach the box; name the site's networks: --allow CIDR")

    return Step("user, rights and units", lambda: False, apply, lambda: take_back(places))


def guard(places: Places, wanted: Site | None) -> Step:
    """The step that sets the firewall. It comes once the settings are there, which name the doors."""

    def apply() -> None:
        decided = wanted or site.recorded(places) or Site()
        if decided.firewall:
            firewall.apply(places, decided)

    return Step("firewall", lambda: not (wanted or site.recorded(places) or Site()).firewall, apply)


def make(places: Places, wanted: Site) -> list[str]:
    """Have everything that was decided but the firewall; safe to repeat. Returns what had to be done, in words.

    Raises:
        InstallError: something cannot be had.
    """
    done = _own_user(places, wanted) if wanted.user else []
    if not wanted.user:
        site.keep(places, wanted)
    if systemd.usable(places):
        done += [f"unit {name} written" for name in systemd.install(places, wanted)]
    return done


def _own_user(places: Places, wanted: Site) -> list[str]:
    site.keep(places, wanted)
    done = [f"the user {wanted.user} was made"] if user.ensure(wanted.user, places.home) else []
    if user.belongs(places.home) != wanted.user:  # what runs there as another user would go on writing as that one
        running.stop(places)
    handed = user.hand_over(places.home, wanted.user)
    user.programs(places)
    return [*done, *([f"{handed} files and folders of {places.home} handed to {wanted.user}"] if handed else [])]


def take_back(places: Places) -> None:
    """Undo what a first install made; where a release is there, what it needs stays. So does a user who has data."""
    if places.current.is_symlink():
        return
    decided = site.recorded(places) or Site()
    systemd.remove()
    firewall.remove(places)
    if user.made(decided.user) and not (places.home.is_dir() and any(places.home.iterdir())):
        if places.home.is_dir():
            places.home.rmdir()
        user.remove(decided.user)
        (places.state / "site.json").unlink(missing_ok=True)


def needs_root(places: Places) -> bool:
    """Whether what is around the box was made by root."""
    found = site.recorded(places)
    return found is not None and bool(found.user or found.firewall)


def take_away(places: Places, data_too: bool, keep_user: bool) -> list[str]:
    """Remove all of it, the user only together with its data: a number that is given anew would own them.

    Returns what was left, in words.
    """
    decided = site.recorded(places) or Site()
    systemd.remove()
    firewall.remove(places)
    if not user.made(decided.user):
        return []
    if keep_user or not data_too:
        return [f"the user {decided.user}" + ("" if keep_user else ", whose the data are")]
    user.remove(decided.user)
    return []
