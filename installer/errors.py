"""What can stop an installation, each with its remedy.

The installer runs before anything is installed, so it has a tree of its own::

    InstallError        exit 1   something failed; `hint` says what to do next
    └── Refused         exit 3   evidence does not match: a hash, a processor, a platform
"""

from __future__ import annotations

from typing import ClassVar


class InstallError(Exception):
    """What failed (`message`) and what a person can do about it (`hint`)."""

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Refused(InstallError):
    """A file is not what it should be; nothing was installed from it."""

    exit_status = 3
