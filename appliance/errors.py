"""The errors a person can meet, each with its remedy.

::

    FactoryError                 exit 1   something failed; `hint` says what to do next
    ├── UsageError               exit 2   the call itself is wrong
    │   └── ConfigError          exit 2   a settings, rules or policy file is wrong; nothing was changed
    ├── PolicyRefused            exit 3   a rule of the site or of the box forbids it
    │   └── NoSandbox            exit 3   this machine offers no usable sandbox, so no droid runs
    ├── NotFound                 exit 4   there is no such thing
    ├── VerificationFailed       exit 5   evidence does not match what was claimed (hash, signature, format)
    ├── Conflict                 exit 1   it exists already, or somebody else holds it
    ├── LimitExceeded            exit 1   a limit in time, memory, size or count was reached
    └── Unavailable              exit 1   something needed does not answer now; trying again later may help
"""

from __future__ import annotations

from typing import ClassVar


class FactoryError(Exception):
    """What failed (`message`) and what a person can do about it (`hint`)."""

    code: ClassVar[str] = "failed"
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def as_dict(self) -> dict[str, dict[str, str]]:
        """The shape the CLI (`--json`) and the JSON API give every error."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}


class UsageError(FactoryError):
    """The call itself is wrong."""

    code = "usage"
    exit_status = 2


class ConfigError(UsageError):
    """A settings, rules or policy file cannot be accepted; the one in force stays."""

    code = "config"


class PolicyRefused(FactoryError):
    """A rule of the site or of the box forbids it."""

    code = "refused"
    exit_status = 3


class NoSandbox(PolicyRefused):
    """This machine offers no usable sandbox."""

    code = "no_sandbox"


class NotFound(FactoryError):
    """There is no such thing."""

    code = "not_found"
    exit_status = 4


class VerificationFailed(FactoryError):
    """Evidence does not match what was claimed."""

    code = "verification_failed"
    exit_status = 5


class Conflict(FactoryError):
    """It exists already, or somebody else holds it."""

    code = "conflict"


class LimitExceeded(FactoryError):
    """A limit in time, memory, size or count was reached."""

    code = "limit"


class Unavailable(FactoryError):
    """Something needed does not answer now."""

    code = "unavailable"


def of_system(error: OSError) -> FactoryError:
    """What the operating system refused, for people: a file that somebody named, or one of the home's."""
    where = f"{error.filename}: " if error.filename else ""
    return FactoryError(f"{where}{error.strerror or error}", "look at the path, its rights and the disk")
