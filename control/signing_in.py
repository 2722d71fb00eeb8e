"""How somebody gets in: by the box's token, or by name, password and, where the account asks for it, a one-time code.

Failures slow down the address they come from and the account they are about. An address from which the person is
signed in now is not held up by what others do to the account, so nobody can be locked out.
"""

from __future__ import annotations

import hmac
import logging
import time
from contextlib import suppress
from datetime import timedelta

from appliance.errors import NotFound, UsageError
from appliance.ledger import Ledger
from appliance.settings import ConsoleSettings
from appliance.user import CONSOLE, STEP, Owed, Role, Session, Source, User, Who
from control import passwords
from control.identity_provider import Person
from control.one_time import Codes, hashed
from control.refusals import NotSignedIn, TooManyTries
from control.throttle import Throttle

log = logging.getLogger("console")

TRIES_OF_ACCOUNT = 10
"""Failures about one account, from wherever, that are free."""
WRONG = ("name, password or code is not right", "ask an administrator for a new password if it is lost")


class SigningIn:
    """What opens a session. One for each process: failures are counted in memory."""

    def __init__(self, ledger: Ledger, codes: Codes, token: str, settings: ConsoleSettings) -> None:
        self._ledger = ledger
        self._codes = codes
        self._token = token.encode()
        self._lasts = timedelta(hours=settings.session_hours)
        self._given_lasts = timedelta(hours=settings.given_password_hours)
        self._idle = timedelta(minutes=settings.idle_minutes)
        self._addresses = Throttle(time.monotonic)
        self._accounts = Throttle(time.monotonic, TRIES_OF_ACCOUNT)

    # --- the box's own token, and those of people

    def by_token(self, offered: str, address: str) -> Who:
        """On whose behalf a program asks. Raises NotSignedIn or TooManyTries."""
        if self._is_boxes(offered, address):
            return Who(name=CONSOLE, role=Role.ADMINISTRATOR, address=address)
        token = self._ledger.sessions.find_token(offered) if offered else None
        if token is None:
            raise self._failed(
                address, "the token is not the right one", "one from the page Account, or secrets/console.token"
            )
        user = self._ledger.users.get(token.user)
        if user.disabled:
            raise NotSignedIn(f"the account {user.name} is disabled", "an administrator can enable it")
        return Who(name=user.name, role=user.role, scopes=frozenset(token.scopes), address=address, token=token.id)

    def open_with_token(self, offered: str, address: str, agent: str) -> str:
        """Open a session of the box's own. Raises NotSignedIn or TooManyTries. Returns its secret."""
        if not self._is_boxes(offered, address):
            hint = "it is in secrets/console.token of the box's home"
            raise self._failed(address, "the token is not the right one", hint)
        sessions = self._ledger.sessions
        return sessions.open("", Role.ADMINISTRATOR, self._lasts, address=address, agent=agent)[0]

    def _is_boxes(self, offered: str, address: str) -> bool:
        if not hmac.compare_digest(offered.encode(), self._token):
            return False
        self._addresses.succeeded(address)  # it cannot be guessed, so it is taken however often others failed
        return True

    def _failed(self, address: str, message: str, hint: str) -> NotSignedIn | TooManyTries:
        wait = self._addresses.failed(address)
        if wait:
            return TooManyTries(wait)
        log.warning("a wrong token was presented from %s", address)
        return NotSignedIn(message, hint)

    # --- people

    def open_with_password(self, name: str, password: str, address: str, agent: str) -> tuple[str, Session]:
        """Begin or open a session: its `owes` says what is missing. Raises NotSignedIn or TooManyTries."""
        name = name.strip().lower()
        self._check_pace(name, address)
        try:
            kept = self._ledger.users.kept(name)
        except NotFound:
            kept = None
        if not passwords.is_right(password, kept.password if kept else "") or kept is None:
            self._note_failure(name, address, known=kept is not None)
            raise NotSignedIn(*WRONG)
        if kept.user.disabled:
            self._note_failure(name, address, known=True)
            raise NotSignedIn(*WRONG)  # says no more than a wrong password does
        self._check_age(kept.user)
        if passwords.is_outdated(kept.password):
            self._ledger.users.rehashed(name, passwords.hash_password(password))
        owes = Owed.CODE if kept.user.two_factors else Owed.PASSWORD if kept.user.must_change else Owed.NOTHING
        return self._open(kept.user, owes, address, agent)

    def _check_age(self, user: User) -> None:
        """Raises NotSignedIn for a password that somebody else gave too long ago. Whoever typed it may know that."""
        given = user.password_given if user.must_change else None
        if given is not None and self._ledger.clock.now() - given > self._given_lasts:
            log.warning("%s came with a one-time password that is too old", user.name)
            raise NotSignedIn(
                f"this one-time password counted for {self._given_lasts.total_seconds() / 3600:g} hours",
                "an administrator gives another; `appliance user first` does on a box that has none yet",
            )

    def open_for(self, person: Person, address: str, agent: str) -> str:
        """A session for whom the identity provider vouches. Raises NotSignedIn when the account is shut out here, and
        Conflict as `Users.vouched`."""
        user = self._ledger.users.vouched(person.name, person.role, person.full_name, person.subject)
        if user.disabled:
            raise NotSignedIn(f"the account {user.name} is disabled", "an administrator can enable it")
        return self._open(user, Owed.NOTHING, address, agent)[0]

    def give_code(self, session: Session, code: str) -> tuple[str, Session]:
        """The second step: a code of the phone, or a recovery code. A session is opened anew, so that the one from
        before is worth nothing. Raises NotSignedIn or TooManyTries."""
        self._check_pace(session.user, session.address)
        kept = self._ledger.users.kept(session.user)
        step = self._codes.step_of(kept.code_secret, code) if kept.code_secret else None
        users = self._ledger.users
        right = (
            users.use_code(session.user, step) if step is not None else users.use_recovery(session.user, hashed(code))
        )
        if not right:
            self._note_failure(session.user, session.address, known=True)
            raise NotSignedIn("the code is not right", "each counts once, and for half a minute; see the phone's clock")
        return self._go_on(session, kept.user, Owed.PASSWORD if kept.user.must_change else Owed.NOTHING)

    def give_password(self, session: Session, password: str) -> tuple[str, Session]:
        """The last step after a password that somebody else gave: one of one's own. Raises UsageError when it is weak
        or the same."""
        kept = self._ledger.users.kept(session.user)
        passwords.check_strength(password, session.user)
        if passwords.is_right(password, kept.password):
            raise UsageError("this is the password you were given", "take one that nobody else knows")
        user = self._ledger.users.set_password(session.user, session.user, passwords.hash_password(password))
        return self._go_on(session, user, Owed.NOTHING)

    def _go_on(self, session: Session, user: User, owes: Owed) -> tuple[str, Session]:
        self._drop(session)
        return self._open(user, owes, session.address, session.agent)

    def _open(self, user: User, owes: Owed, address: str, agent: str) -> tuple[str, Session]:
        if owes == Owed.NOTHING:
            self._addresses.succeeded(address)
            self._accounts.succeeded(user.name)
            self._ledger.users.seen(user.name)
        lasts = self._lasts if owes == Owed.NOTHING else STEP
        return self._ledger.sessions.open(user.name, user.role, lasts, owes=owes, address=address, agent=agent)

    def _drop(self, session: Session) -> None:
        with suppress(NotFound):  # a change of the password ended it
            self._ledger.sessions.end(session.id, session.user or CONSOLE, "the sign-in went on")

    # --- a session in use

    def session(self, secret: str) -> Session | None:
        """What a cookie's secret opens, if anything."""
        return self._ledger.sessions.find(secret, self._idle) if secret else None

    def make_room(self, secret: str) -> None:
        """End what a cookie opened until now: a browser that signs in anew has one session, not two."""
        before = self.session(secret)
        if before is not None:
            with suppress(NotFound):  # it ended meanwhile
                self._ledger.sessions.end(before.id, before.user or CONSOLE, "signed in anew")

    def is_open(self, secret: str) -> bool:
        """Is it still open? Asking does not use it: a page that is only looked at goes to sleep like a closed one."""
        return self._ledger.sessions.find(secret, self._idle, used=False) is not None

    def who(self, session: Session, address: str) -> Who | None:
        """On whose behalf a browser asks: the role is the account's of this moment."""
        if not session.user:
            return Who(name=CONSOLE, role=Role.ADMINISTRATOR, address=address, session=session.id)
        try:
            user = self._ledger.users.get(session.user)
        except NotFound:
            return None
        return None if user.disabled else Who(name=user.name, role=user.role, address=address, session=session.id)

    def check_own_password(self, user: User, password: str, address: str) -> None:
        """Before a person changes what guards the account. Raises NotSignedIn or TooManyTries."""
        if user.source != Source.LOCAL:
            return
        self._check_pace(user.name, address)
        if not passwords.is_right(password, self._ledger.users.kept(user.name).password):
            self._note_failure(user.name, address, known=True)
            raise UsageError("this is not your password", "nothing was changed")

    # --- slowing down who guesses

    def _check_pace(self, name: str, address: str) -> None:
        wait = self._addresses.left(address)
        if not wait and (held := self._accounts.left(name)) and not self._is_at_home(name, address):
            wait = held
        if wait:
            raise TooManyTries(wait)

    def _is_at_home(self, name: str, address: str) -> bool:
        return any(one.address == address and one.owes == Owed.NOTHING for one in self._ledger.sessions.of(name))

    def _note_failure(self, name: str, address: str, known: bool) -> None:
        self._addresses.failed(address)
        self._accounts.failed(name)
        tries = self._accounts.failures(name)
        shown = name if known else "a name that is no account"  # it may be a password, typed into the wrong field
        log.warning("signing in as %s failed from %s", shown, address)
        if known and tries == TRIES_OF_ACCOUNT:
            self._ledger.sessions.refused(name, address, tries)
