"""People of the box and what each may do: roles, accounts, sessions, tokens. Pure.

A role includes those below it. A token of a person's carries scopes, one for each role's doings, and never reaches
further than its owner's role.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from appliance.work import Noun

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._@-]{0,63}$")]
"""Lower case, so that two names never differ by case alone."""


class Role(StrEnum):
    """What a person may do, least first."""

    VIEWER = "viewer"
    DEVELOPER = "developer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"

    @property
    def rank(self) -> int:
        """0 for the least."""
        return list(Role).index(self)

    def covers(self, needed: Role) -> bool:
        """Does it include another?

        >>> Role.OPERATOR.covers(Role.DEVELOPER), Role.VIEWER.covers(Role.DEVELOPER)
        (True, False)
        """
        return self.rank >= needed.rank


MAY = {
    Role.VIEWER: "sees everything but accounts and secrets",
    Role.DEVELOPER: "files signals and works on items: answers, approves, rejects, retries, cancels",
    Role.OPERATOR: "runs the box: repositories, messages, lessons, models, routing",
    Role.ADMINISTRATOR: "lets people in: accounts, roles, sessions",
}
"""What a role adds, in words."""

SCOPES = {"read": Role.VIEWER, "items": Role.DEVELOPER, "operate": Role.OPERATOR, "admin": Role.ADMINISTRATOR}
"""Scope of a token → the role whose doings it lets in."""


class Source(StrEnum):
    """Who vouches for a person."""

    LOCAL = "local"
    OIDC = "oidc"


class User(Noun):
    """One account. Hashes and secrets of it stay in the ledger's table and are in no noun."""

    name: Name
    role: Role
    source: Source = Source.LOCAL
    full_name: str = Field("", max_length=200)
    subject: str = Field("", description="by which an identity provider knows the person, whatever the name")
    disabled: bool = False
    must_change: bool = Field(False, description="the password was given by somebody else and is good for one sign-in")
    password_given: datetime | None = Field(None, description="when somebody else gave it; it lets in for a while only")
    two_factors: bool = Field(False, description="a one-time code is asked for beside the password")
    recovery_codes: int = Field(0, ge=0, description="codes left for a lost phone")
    created: datetime
    last_seen: datetime | None = None


class Owed(StrEnum):
    """What is missing from a sign-in."""

    NOTHING = ""
    CODE = "code"
    PASSWORD = "password"  # noqa: S105 - a step, no secret


class Session(Noun):
    """One browser, signed in. What names it to the box is a secret that the cookie alone has."""

    id: str
    user: str = Field("", description="empty: opened with the box's own token")
    role: Role
    address: str = ""
    agent: str = ""
    opened: datetime
    seen: datetime
    until: datetime
    owes: Owed = Field(Owed.NOTHING, description="what the person must still give before anything is shown")


class AccessToken(Noun):
    """A token of a person's for programs."""

    id: str
    user: str
    name: str = Field(min_length=1, max_length=80)
    scopes: tuple[str, ...]
    created: datetime
    until: datetime | None = None
    used: datetime | None = None


class Who(Noun):
    """On whose behalf a request is answered."""

    name: str
    role: Role
    scopes: frozenset[str] = frozenset(SCOPES)
    address: str = ""
    session: str = ""
    token: str = ""

    def may(self, needed: Role) -> bool:
        """Do role and scopes both reach so far?"""
        return self.role.covers(needed) and any(SCOPES[scope] == needed for scope in self.scopes)


CONSOLE = "console"
"""The name under which the box's own token acts: whoever reads `secrets/console.token` is at home here."""

RESERVED = frozenset({CONSOLE, "box", "factory", "line", "learning", "gateway", "engines", "rule", "person", "cli"})
"""Names that events use for what is no person."""

STEP = timedelta(minutes=10)
"""How long a sign-in may take between its steps."""


def checked_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """Scopes in their order, each once. Raises ValueError for one that there is not."""
    asked = set(scopes)
    unknown = sorted(asked - set(SCOPES))
    if unknown or not asked:
        raise ValueError(f"scopes are {', '.join(SCOPES)}" + (f"; not {unknown[0]}" if unknown else ""))
    return tuple(scope for scope in SCOPES if scope in asked)
