"""Secrets and ledger belong together: the ledger names fingerprints of the secrets it was made with.

A ledger that is brought back without its secrets would start, make new ones, and prove nothing any more: the audit
anchor could not be checked, nobody's one-time codes could be opened. So a box whose secrets are missing, or others,
does not start, and neither does a home in which a restore was cut short. Needs no more than SQLite: every process asks.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from contextlib import closing
from urllib.parse import quote

import pysqlite3.dbapi2 as sqlite

from appliance.config import Home
from appliance.errors import Unavailable, VerificationFailed

SUBJECT = "secrets"
"""Of the event `SecretsBound`."""
NAMES = ("audit.key", "console.codes")
"""Those that no other can stand in for: the key of the audit anchor, and the one that sealed people's codes."""
RESTORING = ".restoring"
"""In a home while it is being restored."""
PATIENCE_SECONDS = 10.0
REMEDY = (
    "bring secrets/ back from the backup this ledger is from (`appliance backup restore`); if it is lost for good,"
    " `appliance init --new-secrets` begins with new ones and writes that down"
)


def fingerprints(home: Home) -> dict[str, str]:
    """Name → fingerprint of each secret that is there: an HMAC keyed by the secret, which tells nothing of it."""
    found = {}
    for name in NAMES:
        file = home.secrets / name
        if file.is_file():
            found[name] = hmac.digest(file.read_bytes(), f"appliance {name}".encode(), "sha256").hex()[:32]
    return found


def check(home: Home) -> bool:
    """As `fits`; raises VerificationFailed, too, when a restore into this home was cut short."""
    check_whole(home)
    return fits(home)


def fits(home: Home) -> bool:
    """Whether the ledger has named its secrets, and they are there.

    Raises:
        VerificationFailed: the secrets are missing or not those of the ledger.
        Unavailable: the ledger cannot be read.
    """
    events, bound = _said_by_ledger(home)
    here = fingerprints(home)
    if bound is None:
        if events and "audit.key" not in here:
            raise VerificationFailed(f"the ledger has {events} events, and secrets/audit.key is missing", REMEDY)
        return False
    missing = sorted(set(bound) - set(here))
    if missing:
        raise VerificationFailed(f"secrets that this ledger was made with are missing: {', '.join(missing)}", REMEDY)
    others = sorted(name for name in bound if here[name] != bound[name])
    if others:
        raise VerificationFailed(f"these secrets are not those of this ledger: {', '.join(others)}", REMEDY)
    return True


def check_whole(home: Home) -> None:
    """Raises VerificationFailed when a restore into this home was cut short."""
    if (home.root / RESTORING).exists():
        raise VerificationFailed(
            f"a restore into {home.root} was cut short, so the home is not whole",
            "run the same `appliance backup restore` again: it goes on where it was",
        )


def _said_by_ledger(home: Home) -> tuple[int, Mapping[str, str] | None]:
    """How many events there are, and the fingerprints that the newest `SecretsBound` names."""
    if not home.ledger.exists():
        return 0, None
    try:
        where = f"file:{quote(str(home.ledger))}?mode=ro"
        with closing(sqlite.connect(where, uri=True, timeout=PATIENCE_SECONDS)) as database:
            if not database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'events'").fetchone():
                return 0, None
            (events,) = database.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
            row = database.execute(
                "SELECT payload FROM events WHERE subject = ? ORDER BY seq DESC LIMIT 1", (SUBJECT,)
            ).fetchone()
        return int(events), json.loads(row[0])["fingerprints"] if row else None
    except sqlite.Error as error:
        raise Unavailable(f"the ledger {home.ledger} cannot be read: {error}", "see that its disk has room") from error
