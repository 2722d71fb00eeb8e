"""What a person can have done to an account: for the pages, the API and the command line.

Passwords that somebody else sets are made here, shown once, and good for one sign-in.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pydantic import Field

from appliance.errors import Conflict, UsageError
from appliance.ledger import Ledger
from appliance.user import RESERVED, SCOPES, AccessToken, Role, Source, User
from appliance.work import Noun
from control import passwords
from control.one_time import Codes, hashed, picture, recovery_codes

MOST_TOKENS = 50
"""Of one person: more is a program that forgets them."""
LONGEST_DAYS = 366


class NewUser(Noun):
    """Somebody to let in."""

    name: str
    role: Role
    full_name: str = Field("", max_length=200)


class UserChange(Noun):
    """What is changed of an account; what is not named stays."""

    role: Role | None = None
    disabled: bool | None = None


class NewToken(Noun):
    """A token to make."""

    name: str = Field(min_length=1, max_length=80)
    scopes: tuple[str, ...] = Field(min_length=1, description=f"of {', '.join(SCOPES)}")
    days: int = Field(90, ge=1, le=LONGEST_DAYS, description="how long it lets programs in")


class Enrolment(Noun):
    """A one-time code to set up: shown once."""

    sealed: str
    secret: str
    picture: str


def add(ledger: Ledger, new: NewUser, by: str, password: str = "") -> tuple[User, str]:
    """A new account, and the password for its first sign-in: `password` when one is given, else a made one.

    Raises:
        UsageError: the name is one the box uses itself, or cannot be one; the password is weak.
        Conflict: there is such a user already.
    """
    name = new.name.strip().lower()
    if name in RESERVED:
        raise UsageError(f"{name} is a name that the box uses itself", "take another one")
    first = _checked(password, name) or passwords.one_time()
    kept = passwords.hash_password(first)
    return ledger.users.add(name, new.role, by, password=kept, full_name=new.full_name), first


FIRST = "admin"
"""What the first administrator is called unless another name is given."""


def first(ledger: Ledger, name: str, by: str) -> tuple[User, str]:
    """The first administrator of a box, and the password for the first sign-in: another one for as long as nobody has
    signed in with it.

    Raises:
        Conflict: there is an administrator already, or somebody else has the name.
        UsageError: the name is one the box uses itself, or cannot be one.
    """
    people = ledger.users.all()
    rulers = [one for one in people if one.role == Role.ADMINISTRATOR and not one.disabled]
    settled = next((one.name for one in rulers if not one.must_change), "")
    if settled:
        raise Conflict(f"{settled} is administrator already", f"`appliance user password {settled}` if it is lost")
    wanted = name.strip().lower() or (rulers[0].name if rulers else FIRST)
    if wanted in {one.name for one in rulers}:
        return reset(ledger, wanted, by)
    return add(ledger, NewUser(name=wanted, role=Role.ADMINISTRATOR), by)


def reset(ledger: Ledger, name: str, by: str, password: str = "") -> tuple[User, str]:
    """A new password for one sign-in, for somebody who lost theirs. Raises NotFound, UsageError, Conflict."""
    user = ledger.users.get(name)
    if user.source != Source.LOCAL:
        raise Conflict(f"{name} signs in with the site's identity provider", "the password is kept there")
    first = _checked(password, name) or passwords.one_time()
    return ledger.users.set_password(name, by, passwords.hash_password(first)), first


def change_own(ledger: Ledger, user: User, password: str) -> None:
    """Another password of one's own; every session of the person ends. Raises UsageError when it is weak."""
    passwords.check_strength(password, user.name, user.full_name)
    ledger.users.set_password(user.name, user.name, passwords.hash_password(password))


def _checked(password: str, name: str) -> str:
    if password:
        passwords.check_strength(password, name)
    return password


def enrolment(codes: Codes, user: User, box: str, sealed: str = "") -> Enrolment:
    """What a phone must learn. With `sealed` the same once more."""
    kept = sealed or codes.fresh()
    return Enrolment(sealed=kept, secret=codes.opened(kept), picture=picture(codes.address(kept, user.name, box)))


def codes_on(ledger: Ledger, codes: Codes, user: User, sealed: str, code: str) -> Sequence[str]:
    """Ask the person for one-time codes from now on, once the phone has shown that it makes them. Returns the recovery
    codes, shown once. Raises UsageError when the code is wrong."""
    step = codes.step_of(sealed, code)
    if step is None:
        raise UsageError("the code is not right", "scan the picture again, and see to the clocks of phone and box")
    recovery = recovery_codes()
    ledger.users.set_codes(user.name, user.name, sealed, [hashed(one) for one in recovery])
    ledger.users.use_code(user.name, step)
    return recovery


def token(ledger: Ledger, user: User, new: NewToken) -> tuple[str, AccessToken]:
    """A token for the person's programs; its text is shown once. Raises UsageError, or Conflict when there are too
    many."""
    if len(ledger.sessions.tokens(user.name)) >= MOST_TOKENS:
        raise Conflict(f"{user.name} has {MOST_TOKENS} tokens", "revoke those that nothing uses")
    wide = [scope for scope in new.scopes if scope in SCOPES and not user.role.covers(SCOPES[scope])]
    if wide:
        raise UsageError(f"{user.name} is {user.role}: a token cannot have the scope {wide[0]}", "leave it out")
    try:
        return ledger.sessions.create_token(user, new.name, new.scopes, datetime.now(UTC) + timedelta(days=new.days))
    except ValueError as error:
        raise UsageError(str(error), "see the page Account") from error
