"""Root at the command line of a box that belongs to another user becomes that user."""

from __future__ import annotations

import os
import pwd

from appliance.config import Home, become
from appliance.errors import ConfigError


def become_owner(home: Home) -> None:
    """Give up root's rights for good where the home is another user's: a ledger's file made by root stops its box.

    Raises:
        ConfigError: the owner is nobody whom this machine knows.
    """
    if os.geteuid() != 0 or not home.settings_file.exists():
        return
    number = home.root.stat().st_uid
    if number == 0:
        return
    try:
        owner = pwd.getpwuid(number)
    except KeyError as error:
        raise ConfigError(
            f"{home.root} belongs to the user {number}, whom this machine does not know",
            "`installer.pyz repair` makes the box's user anew",
        ) from error
    os.initgroups(owner.pw_name, owner.pw_gid)
    os.setgid(owner.pw_gid)
    os.setuid(number)
    become(owner.pw_name, owner.pw_dir)
