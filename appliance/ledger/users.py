"""Accounts in the ledger: who there is, each change with its event in the same transaction.

Hashes and sealed secrets go in and out of here as text; nobody but `control` makes or judges them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, insert, select, update

from appliance.errors import Conflict, NotFound
from appliance.events import Event, Fact
from appliance.ledger import schema
from appliance.user import Role, Source, User

if TYPE_CHECKING:
    from appliance.ledger.store import Ledger


class Kept(NamedTuple):
    """An account with what proves that somebody is its owner."""

    user: User
    password: str
    """argon2id, or "" for an account without a password."""
    code_secret: str
    """Sealed, or ""."""
    code_step: int
    recovery: tuple[str, ...]


class Users:
    """The verbs of one ledger that are about people."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def all(self) -> list[User]:
        """Every account, by name."""
        with self._ledger.database.reading() as connection:
            bodies = connection.scalars(select(schema.users.c.body).order_by(schema.users.c.name))
            return [User.model_validate_json(body) for body in bodies]

    def any(self) -> bool:
        """Is there an account at all?"""
        with self._ledger.database.reading() as connection:
            return connection.scalar(select(schema.users.c.name).limit(1)) is not None

    def get(self, name: str) -> User:
        """Raises NotFound."""
        return self.kept(name).user

    def kept(self, name: str) -> Kept:
        """An account whole, for signing in. Raises NotFound."""
        with self._ledger.database.reading() as connection:
            return self._kept(connection, name)

    def add(
        self, name: str, role: Role, by: str, *, password: str = "", full_name: str = "", source: Source = Source.LOCAL
    ) -> User:
        """Let somebody in; a `password` (its hash) given by somebody else is good for one sign-in. Raises Conflict, or
        ValidationError for a name that cannot be."""
        now = self._ledger.clock.now()
        user = User(
            name=name, role=role, source=source, full_name=full_name, must_change=bool(password),
            password_given=now if password else None, created=now,
        )  # fmt: skip
        with self._ledger.database.writing() as connection:
            known = connection.scalar(select(schema.users.c.name).where(schema.users.c.name == name))
            if known is not None:
                raise Conflict(f"there is a user {name} already", f"`appliance user role {name} ROLE` changes the role")
            values = {"name": name, "body": user.model_dump_json(), "password": password}
            connection.execute(insert(schema.users).values(values))
            self._tell(connection, Fact.USER_ADDED, name, by, role=str(role), source=str(source))
        return user

    def vouched(self, name: str, role: Role, full_name: str, subject: str) -> User:
        """An identity provider vouches for somebody: the account as it says, made at the first time.

        Raises:
            Conflict: there is an account of that name which is somebody else's.
        """
        by = "identity provider"
        with self._ledger.database.writing() as connection:
            body = connection.scalar(select(schema.users.c.body).where(schema.users.c.name == name))
            if body is None:
                user = User(
                    name=name, role=role, source=Source.OIDC, full_name=full_name, subject=subject,
                    created=self._ledger.clock.now(),
                )  # fmt: skip
                connection.execute(insert(schema.users).values(name=name, body=user.model_dump_json()))
                self._tell(connection, Fact.USER_ADDED, name, by, role=str(role), source=str(Source.OIDC))
                return user
            before = User.model_validate_json(body)
            if (before.source, before.subject) != (Source.OIDC, subject):
                raise Conflict(f"{name} is an account of somebody else", "an administrator can tell whose")
            after = before.with_(role=role, full_name=full_name)
            if after != before:
                self._write(connection, after)
            if after.role != before.role:
                self._tell(connection, Fact.USER_CHANGED, name, by, role=str(role))
                self._ledger.sessions.end_in(connection, name, by, "role changed")
            return after

    def change(self, name: str, by: str, *, role: Role | None = None, disabled: bool | None = None) -> User:
        """Another role, or shut out or let in again. Whoever is shut out or gets another role is signed out.

        Raises:
            NotFound: there is no such user.
            Conflict: it is the last administrator, and there would be none.
        """
        with self._ledger.database.writing() as connection:
            before = self._kept(connection, name).user
            changes: dict[str, Any] = {} if role is None else {"role": role}
            changes |= {} if disabled is None else {"disabled": disabled}
            after = before.with_(**changes)
            if after == before:
                return before
            self._leaves_one(connection, before, after)
            self._write(connection, after)
            self._tell(connection, Fact.USER_CHANGED, name, by, **{key: str(value) for key, value in changes.items()})
            self._ledger.sessions.end_in(connection, name, by, "role or standing changed")
            return after

    def set_password(self, name: str, by: str, password: str) -> User:
        """A new password (its hash). One that somebody else gave must be changed at the next sign-in; every session of
        the person ends. Raises NotFound."""
        given = None if by == name else self._ledger.clock.now()
        with self._ledger.database.writing() as connection:
            after = self._kept(connection, name).user.with_(must_change=by != name, password_given=given)
            self._write(connection, after, password=password)
            self._tell(connection, Fact.USER_CHANGED, name, by, password="changed")  # noqa: S106 - no secret
            self._ledger.sessions.end_in(connection, name, by, "password changed")
            return after

    def rehashed(self, name: str, password: str) -> None:
        """The same password under today's parameters of the hash: nothing that anybody did."""
        with self._ledger.database.writing() as connection:
            connection.execute(update(schema.users).where(schema.users.c.name == name).values(password=password))

    def set_codes(self, name: str, by: str, code_secret: str, recovery: Iterable[str]) -> User:
        """Ask for one-time codes from now on, made from this sealed secret; "" ends it. Raises NotFound."""
        hashes = list(recovery)
        with self._ledger.database.writing() as connection:
            before = self._kept(connection, name).user
            after = before.with_(two_factors=bool(code_secret), recovery_codes=len(hashes))
            self._write(connection, after, code_secret=code_secret, recovery=json.dumps(hashes), code_step=0)
            said = "on" if code_secret else "off"
            self._tell(connection, Fact.USER_CHANGED, name, by, two_factors=said)
            if by != name:
                self._ledger.sessions.end_in(connection, name, by, "second factor changed")
            return after

    def use_code(self, name: str, step: int) -> bool:
        """Note that the one-time code of a step was given; False when this or a later one was given before."""
        table = schema.users
        with self._ledger.database.writing() as connection:
            done = connection.execute(
                update(table).where(table.c.name == name, table.c.code_step < step).values(code_step=step)
            )
            return bool(done.rowcount)

    def use_recovery(self, name: str, hashed: str) -> bool:
        """Use up a recovery code; False when there is none like it."""
        with self._ledger.database.writing() as connection:
            kept = self._kept(connection, name)
            if hashed not in kept.recovery:
                return False
            left = [one for one in kept.recovery if one != hashed]
            self._write(connection, kept.user.with_(recovery_codes=len(left)), recovery=json.dumps(left))
            self._tell(connection, Fact.USER_CHANGED, name, name, recovery_codes=f"one used, {len(left)} left")
            return True

    def seen(self, name: str) -> None:
        """The person signed in just now."""
        with self._ledger.database.writing() as connection:
            kept = self._kept(connection, name)
            self._write(connection, kept.user.with_(last_seen=self._ledger.clock.now()))

    def _leaves_one(self, connection: Connection, before: User, after: User) -> None:
        def rules(user: User) -> bool:
            return user.role == Role.ADMINISTRATOR and not user.disabled

        if not rules(before) or rules(after):
            return
        others = connection.scalars(select(schema.users.c.body).where(schema.users.c.name != before.name))
        if not any(rules(User.model_validate_json(body)) for body in others):
            raise Conflict(f"{before.name} is the last administrator", "make somebody else administrator first")

    @staticmethod
    def _kept(connection: Connection, name: str) -> Kept:
        row = connection.execute(select(schema.users).where(schema.users.c.name == name)).first()
        if row is None:
            raise NotFound(f"there is no user {name!r}", "`appliance user list` names all")
        user = User.model_validate_json(row.body)
        return Kept(user, row.password, row.code_secret, row.code_step, tuple(json.loads(row.recovery)))

    @staticmethod
    def _write(connection: Connection, user: User, **columns: Any) -> None:
        values = {"body": user.model_dump_json(), **columns}
        connection.execute(update(schema.users).where(schema.users.c.name == user.name).values(values))

    def _tell(self, connection: Connection, fact: Fact, name: str, by: str, **what: Any) -> None:
        self._ledger.append_in(connection, Event(kind=fact, subject=f"user {name}", payload={"by": by, **what}))
