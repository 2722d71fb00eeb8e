"""The box's own user: made where it is missing, owner of the home and of nothing else; programs stay root's.

What the box runs is run as whoever owns the home, so that no file in it ever becomes root's.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from installer.errors import InstallError
from installer.target.places import Places, settle

MARK = "The appliance (made by its installer)"
"""Comment of a user whom the installer made, and so may remove, whatever records are left."""


def owner(home: Path) -> pwd.struct_passwd | None:
    """Whom to become for the home: its owner, where this is root and that is somebody else; else None."""
    try:
        number = home.stat().st_uid
    except OSError:
        return None
    if os.geteuid() != 0 or number == 0:
        return None
    try:
        return pwd.getpwuid(number)
    except KeyError as error:
        raise InstallError(f"{home} belongs to the user {number}, whom this machine does not know",
                           "`repair` makes the user anew") from error  # fmt: skip


def belongs(home: Path) -> str:
    """The name of the home's owner; "" where there is no home or nobody has that number."""
    try:
        return pwd.getpwuid(home.stat().st_uid).pw_name
    except (OSError, KeyError):
        return ""


def known(name: str) -> pwd.struct_passwd | None:
    """A user of this machine, or None."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def ensure(name: str, home: Path) -> bool:
    """Have a system user of that name, without password or shell; whether it had to be made.

    Raises:
        InstallError: there is no way to make one, or the name is root's.
    """
    found = known(name)
    if found is not None:
        if found.pw_uid == 0:
            raise InstallError(f"{name} is root", "name another user: --user appliance")
        return False
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise InstallError(f"the user {name} cannot be made: useradd is missing", "apt-get install passwd")
    words = [
        *_number(home),
        "--system",
        "--comment",
        MARK,
        "--user-group",
        "--no-create-home",
        "--home-dir",
        str(home),
        "--shell",
        "/usr/sbin/nologin",
    ]
    _told([program, *words, name], f"the user {name} cannot be made")
    return True


def _number(home: Path) -> list[str]:
    """The number of a user that was lost and whose home is still there: it gets the same one again."""
    try:
        number = home.stat().st_uid
        pwd.getpwuid(number)
    except OSError:
        return []
    except KeyError:
        return ["--uid", str(number)]
    return []


def made(name: str) -> bool:
    """Whether there is a user of that name whom the installer made."""
    found = known(name)
    return found is not None and found.pw_gecos == MARK


def remove(name: str) -> None:
    """Remove a user whom the installer made, and its group. Raises InstallError while it has processes."""
    if made(name):
        program = shutil.which("userdel", path="/usr/sbin:/sbin:/usr/bin:/bin") or "userdel"
        _told([program, name], f"the user {name} cannot be removed")


def hand_over(home: Path, name: str) -> int:
    """Make the home and all in it the user's; the number of files and folders that were not.

    The home itself comes last, so that a run that was cut short begins anew. A file of several names is left alone
    once the home is the user's: one of them may lie elsewhere.
    """
    told = known(name)
    if told is None:
        raise InstallError(f"there is no user {name}", "`repair` makes it")
    home.mkdir(mode=0o750, parents=True, exist_ok=True)
    trusted = home.stat().st_uid == 0
    changed = 0
    for place in [*_below(home), home]:
        changed += _given(place, told.pw_uid, told.pw_gid, trusted)
    settle(home)
    return changed


def give(places: list[Path], home: Path) -> None:
    """Make what root has just written into the home its owner's."""
    told = owner(home)
    if told is not None:
        for place in places:
            for one in [*_below(place), place] if place.exists() else []:
                _given(one, told.pw_uid, told.pw_gid, trusted=False)


def programs(places: Places) -> int:
    """Take from everybody but their owner the right to change programs, and let everybody read them; how many had it.

    The folders of records and snapshots stay root's alone: they hold keys.
    """
    changed = 0
    folders = [places.releases, *(_below(places.releases) if places.releases.is_dir() else [])]
    for place in [places.prefix, *folders]:
        state = place.lstat() if place.is_symlink() or place.exists() else None
        if state is None or stat.S_ISLNK(state.st_mode):
            continue
        before = stat.S_IMODE(state.st_mode)
        wanted = before & ~0o022 | (0o555 if before & 0o100 or stat.S_ISDIR(state.st_mode) else 0o444)
        if before != wanted:
            place.chmod(wanted)
            changed += 1
        if os.geteuid() == 0 and (state.st_uid, state.st_gid) != (0, 0):
            os.chown(place, 0, 0, follow_symlinks=False)
            changed += 1
    return changed


def _below(folder: Path) -> Iterator[Path]:
    if not folder.is_dir() or folder.is_symlink():
        return
    for root, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            yield Path(root, name)


def _given(place: Path, uid: int, gid: int, trusted: bool) -> int:
    state = place.lstat()
    if (state.st_uid, state.st_gid) == (uid, gid):
        return 0
    if not trusted and stat.S_ISREG(state.st_mode) and state.st_nlink > 1:
        return 0
    os.chown(place, uid, gid, follow_symlinks=False)
    return 1


def _told(words: list[str], failed: str) -> None:
    try:
        said = subprocess.run(words, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    except OSError as error:
        raise InstallError(f"{failed}: {error.strerror}", "make or remove it by hand, then run this again") from error
    if said.returncode != 0:
        last = (said.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InstallError(f"{failed}: {last}", "make or remove it by hand, then run this again")
