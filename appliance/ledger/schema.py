"""The tables. Migrations in `migrations/versions` make them; a test holds the two together."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text, text

metadata = MetaData()

NO_END = 2**63 - 1
"""Above every number of a row."""

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String(40), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("subject", String(80), nullable=False),
    Column("payload", Text, nullable=False),
    Column("prev", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("events_by_subject", "subject", "seq"),
)

signals = Table(
    "signals",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("id", String(40), nullable=False, unique=True),
    Column("repo", String(64), nullable=False),
    Column("item", String(40), nullable=False, server_default=""),
    Column("body", Text, nullable=False),
    Column("key", String(200), nullable=False, server_default=""),
    Column("source", String(80), nullable=False, server_default=""),
    Column("created", String(40), nullable=False, server_default=""),
    Index("signals_by_item", "item"),
    Index("signals_told", "number", "repo", "source", "created", "item"),
    Index("signals_by_key", "repo", "key", unique=True, sqlite_where=text("key <> ''")),
)

items = Table(
    "items",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("state", String(20), nullable=False),
    Column("stage", String(20), nullable=False),
    Column("repo", String(64), nullable=False),
    Column("title", Text, nullable=False),
    Column("severity", Integer, nullable=False),
    Column("created", String(40), nullable=False),
    Column("updated", String(40), nullable=False),
    Column("body", Text, nullable=False),
    # the claim: `claim_no` grows with every claim and is the compare in compare-and-set
    Column("claim_no", Integer, nullable=False, server_default="0"),
    Column("worker", String(160), nullable=False, server_default=""),
    Column("lease_boot", String(8), nullable=False, server_default=""),
    Column("lease_until_monotonic", Float, nullable=False, server_default="0"),
    Column("lease_from_wall", Float, nullable=False, server_default="0"),
    Column("lease_until_wall", Float, nullable=False, server_default="0"),
    Column("strikes", Integer, nullable=False, server_default="0"),
    Column("retries", Integer, nullable=False, server_default="0"),
    Column("not_before_wall", Float, nullable=False, server_default="0"),
    Column("kind", String(20), nullable=False, server_default=""),
    Column("twin", String(40), nullable=False, server_default=""),
    Index("items_by_state", "state", "severity", "number"),
    Index("items_by_repo", "repo", "number"),
    Index("items_by_created", "created"),
    Index("items_by_updated", "updated"),
    Index("items_in_state", "state", "number"),
    Index("items_by_title", "number", "title", "id"),
    Index("items_told", "number", "state", "kind", "severity", "repo"),
    Index("items_by_twin", "twin", "number", sqlite_where=text("twin <> ''")),
)
"""`twin` is the item that a duplicate is one of."""

repositories = Table(
    "repositories",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("body", Text, nullable=False),
)

commands = Table(
    "commands",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("item", String(40), nullable=False),
    Column("verb", String(20), nullable=False),
    Column("by", String(80), nullable=False),
    Column("text", Text, nullable=False),
    Column("at", String(40), nullable=False),
    Column("applied", Integer, nullable=False, server_default="0"),
    Index("commands_open", "applied", "number"),
)

watermarks = Table(
    "watermarks",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("seq", Integer, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("source", String(20), nullable=False),
    Column("repo", String(64), nullable=False),
    Column("id", String(200), nullable=False),
    Column("state", String(20), nullable=False),
    Column("body", Text, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("signal", String(40), nullable=False, server_default=""),
    Index("deliveries_by_signal", "signal", sqlite_where=text("signal <> ''")),
    Index("deliveries_by_id", "source", "repo", "id", unique=True),
    Index("deliveries_by_state", "state", "number"),
)

mirrors = Table(
    "mirrors",
    metadata,
    Column("repo", String(64), primary_key=True),
    Column("health", Text, nullable=False, server_default="{}"),
    Column("cursor", Text, nullable=False, server_default=""),
)

told = Table(
    "told",
    metadata,
    Column("item", String(40), primary_key=True),
    Column("what", String(80), primary_key=True),
    Column("sha256", String(64), nullable=False),
)

lessons = Table(
    "lessons",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("id", String(40), nullable=False, unique=True),
    Column("state", String(20), nullable=False),
    Column("source", String(20), nullable=False),
    Column("repo", String(64), nullable=False),
    Column("home", String(64), nullable=False),
    Column("key", String(64), nullable=False, unique=True),
    Column("body", Text, nullable=False),
    Index("lessons_by_state", "state", "number"),
)
"""`key` is that of the lesson as it was learned first; an edit leaves it, so that what is learned again finds it. Their
words are indexed in `lesson_words`, a full-text table that SQLAlchemy does not know."""

lesson_uses = Table(
    "lesson_uses",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("lesson", String(40), nullable=False),
    Column("item", String(40), nullable=False),
    Column("round", Integer, nullable=False),
    Column("stage", String(20), nullable=False),
    Column("came_of", String(20), nullable=False, server_default=""),
    Column("body", Text, nullable=False),
    Index("lesson_uses_by_item", "item", "round", "lesson", "stage", unique=True),
    Index("lesson_uses_by_lesson", "lesson", "number"),
)

lesson_vectors = Table(
    "lesson_vectors",
    metadata,
    Column("lesson", String(40), primary_key=True),
    Column("model", String(200), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("vector", LargeBinary, nullable=False),
)
"""What an embedding model makes of a lesson: float32, little endian, of unit length."""

users = Table(
    "users",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("body", Text, nullable=False),
    Column("password", Text, nullable=False, server_default=""),
    Column("code_secret", Text, nullable=False, server_default=""),
    Column("code_step", Integer, nullable=False, server_default="0"),
    Column("recovery", Text, nullable=False, server_default="[]"),
)
"""`password` is an argon2id hash, `code_secret` sealed with a key that is not in here, `code_step` the newest step of
30 s whose one-time code was used (none counts twice), `recovery` hashes of codes."""

sessions = Table(
    "sessions",
    metadata,
    Column("secret", String(64), primary_key=True),
    Column("id", String(16), nullable=False, unique=True),
    Column("user", String(64), nullable=False),
    Column("until", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Index("sessions_by_user", "user"),
    Index("sessions_by_end", "until"),
)
"""`secret` is the SHA-256 of what the cookie carries."""

access_tokens = Table(
    "access_tokens",
    metadata,
    Column("secret", String(64), primary_key=True),
    Column("id", String(16), nullable=False, unique=True),
    Column("user", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Index("access_tokens_by_user", "user"),
)

FULL_TEXT = "lesson_words"
