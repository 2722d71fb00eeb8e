"""Who is signed in, and which tokens let programs in. What opens either is a secret whose hash alone is kept."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Row, delete, insert, select, update

from appliance.errors import NotFound
from appliance.events import Event, Fact
from appliance.ledger import schema
from appliance.user import CONSOLE, AccessToken, Owed, Role, Session, User, checked_scopes

if TYPE_CHECKING:
    from appliance.ledger.store import Ledger

SECRET_BYTES = 32
PREFIX = "apt_"
"""Begins every token, so that scanners for secrets know one when they see it."""
NOTE_AFTER = timedelta(minutes=1)
"""A use is written down when the last one noted is older: not each request is worth a write."""


def hashed(secret: str) -> str:
    """What is kept of a secret of 256 random bits. No slow hash: it cannot be guessed."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Sessions:
    """The verbs of one ledger about sessions and tokens."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    # --- sessions

    def open(
        self, user: str, role: Role, lasts: timedelta, *, owes: Owed = Owed.NOTHING, address: str = "", agent: str = ""
    ) -> tuple[str, Session]:
        """A new session and the secret that names it. Ended ones are swept away."""
        secret, now = secrets.token_urlsafe(SECRET_BYTES), self._ledger.clock.now()
        session = Session(
            id=secrets.token_hex(4), user=user, role=role, address=address, agent=agent[:200], opened=now, seen=now,
            until=now + lasts, owes=owes,
        )  # fmt: skip
        with self._ledger.database.writing() as connection:
            connection.execute(delete(schema.sessions).where(schema.sessions.c.until < now.isoformat()))
            connection.execute(
                insert(schema.sessions).values(
                    secret=hashed(secret), id=session.id, user=user, until=session.until.isoformat(),
                    body=session.model_dump_json(),
                )
            )  # fmt: skip
            if owes == Owed.NOTHING:
                self._tell(connection, Fact.SESSION_OPENED, session, by=user or CONSOLE, address=address)
        return secret, session

    def find(self, secret: str, idle: timedelta, used: bool = True) -> Session | None:
        """The session that a cookie names, unless it is over; when it is `used`, that is noted about once a minute."""
        now = self._ledger.clock.now()
        with self._ledger.database.reading() as connection:
            body = connection.scalar(select(schema.sessions.c.body).where(schema.sessions.c.secret == hashed(secret)))
        session = Session.model_validate_json(body) if body else None
        if session is None or now >= session.until or now - session.seen >= idle:
            return None
        if used and now - session.seen >= NOTE_AFTER:
            session = session.with_(seen=now)
            with self._ledger.database.writing() as connection:
                row = schema.sessions.c.secret == hashed(secret)
                connection.execute(update(schema.sessions).where(row).values(body=session.model_dump_json()))
        return session

    def of(self, user: str | None = None) -> list[Session]:
        """Sessions that are not over, the newest first; of one person, or of all."""
        query = select(schema.sessions.c.body)
        query = query if user is None else query.where(schema.sessions.c.user == user)
        now = self._ledger.clock.now()
        with self._ledger.database.reading() as connection:
            found = [Session.model_validate_json(body) for body in connection.scalars(query)]
        return sorted((one for one in found if one.until > now), key=lambda one: one.opened, reverse=True)

    def end(self, id: str, by: str, why: str) -> Session:
        """End one session. Raises NotFound."""
        with self._ledger.database.writing() as connection:
            body = connection.scalar(select(schema.sessions.c.body).where(schema.sessions.c.id == id))
            if body is None:
                raise NotFound(f"there is no session {id}", "it may have ended already")
            session = Session.model_validate_json(body)
            self._end(connection, session, by, why)
            return session

    def end_in(self, connection: Connection, user: str, by: str, why: str) -> None:
        """End all sessions of a person, within a transaction that changes the person."""
        for body in list(connection.scalars(select(schema.sessions.c.body).where(schema.sessions.c.user == user))):
            self._end(connection, Session.model_validate_json(body), by, why)

    def refused(self, name: str, address: str, tries: int) -> None:
        """Keep that somebody failed so often to sign in as `name`."""
        self._ledger.append(
            Event(kind=Fact.SIGN_IN_REFUSED, subject=f"user {name}", payload={"address": address, "tries": tries})
        )

    def _end(self, connection: Connection, session: Session, by: str, why: str) -> None:
        connection.execute(delete(schema.sessions).where(schema.sessions.c.id == session.id))
        if session.owes == Owed.NOTHING:
            self._tell(connection, Fact.SESSION_ENDED, session, by=by, why=why)

    def _tell(self, connection: Connection, fact: Fact, session: Session, **what: str) -> None:
        payload = {"session": session.id, **what}
        self._ledger.append_in(connection, Event(kind=fact, subject=f"user {session.user or 'box'}", payload=payload))

    # --- tokens

    def create_token(
        self, user: User, name: str, scopes: tuple[str, ...], until: datetime | None = None
    ) -> tuple[str, AccessToken]:
        """A token for a person's programs, shown once. Raises ValueError for scopes that cannot be."""
        secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        token = AccessToken(
            id=secrets.token_hex(4), user=user.name, name=name, scopes=checked_scopes(scopes),
            created=self._ledger.clock.now(), until=until,
        )  # fmt: skip
        with self._ledger.database.writing() as connection:
            connection.execute(
                insert(schema.access_tokens).values(
                    secret=hashed(secret), id=token.id, user=user.name, body=token.model_dump_json()
                )
            )
            payload = {"token": token.id, "name": name, "scopes": list(token.scopes)}
            event = Event(kind=Fact.TOKEN_CREATED, subject=f"user {user.name}", payload=payload)
            self._ledger.append_in(connection, event)
        return secret, token

    def find_token(self, secret: str) -> AccessToken | None:
        """The token, unless it is over; a use of it is noted about once a minute."""
        row = schema.access_tokens.c.secret == hashed(secret)
        with self._ledger.database.reading() as connection:
            body = connection.scalar(select(schema.access_tokens.c.body).where(row))
        token = AccessToken.model_validate_json(body) if body else None
        now = self._ledger.clock.now()
        if token is None or (token.until and now >= token.until):
            return None
        if token.used is None or now - token.used >= NOTE_AFTER:
            token = token.with_(used=now)
            with self._ledger.database.writing() as connection:
                changed = update(schema.access_tokens).where(row).values(body=token.model_dump_json())
                connection.execute(changed)
        return token

    def tokens(self, user: str | None = None) -> list[AccessToken]:
        """Tokens of one person, or of all, the newest first."""
        query = select(schema.access_tokens.c.body)
        query = query if user is None else query.where(schema.access_tokens.c.user == user)
        with self._ledger.database.reading() as connection:
            found = [AccessToken.model_validate_json(body) for body in connection.scalars(query)]
        return sorted(found, key=lambda one: one.created, reverse=True)

    def revoke_token(self, id: str, by: str, owner: str | None = None) -> AccessToken:
        """End a token at once; `owner` names the only one whose it may be. Raises NotFound."""
        table = schema.access_tokens
        with self._ledger.database.writing() as connection:
            row: Row[tuple[str]] | None = connection.execute(select(table.c.body).where(table.c.id == id)).first()
            token = AccessToken.model_validate_json(row.body) if row else None
            if token is None or owner not in (None, token.user):
                raise NotFound(f"there is no token {id}", "it may have been revoked already")
            connection.execute(delete(table).where(table.c.id == id))
            payload = {"token": id, "by": by}
            event = Event(kind=Fact.TOKEN_REVOKED, subject=f"user {token.user}", payload=payload)
            self._ledger.append_in(connection, event)
            return token
