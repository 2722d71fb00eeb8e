"""Passwords: which are good enough, how they are kept, and whether one is right.

Kept as argon2id with the parameters of RFC 9106 for little memory (64 MiB, three passes). What is good enough follows
OWASP ASVS 5, chapter 6.2: length and how easily it is guessed count, not kinds of characters.
"""

from __future__ import annotations

import secrets
import threading
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn import zxcvbn  # type: ignore[import-untyped]

from appliance.errors import UsageError

SHORTEST, LONGEST = 12, 128
"""Characters."""
STRONG = 3
"""Of zxcvbn's 0 to 4: more than a hundred million guesses are needed."""
AT_ONCE = 2
"""Passwords looked at together: each takes 64 MiB and a core for a moment, and strangers can ask for it."""
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Nothing in it is read as something else."""

_hasher = PasswordHasher()
_turns = threading.BoundedSemaphore(AT_ONCE)


def check_strength(password: str, *about: str) -> None:
    """Is it good enough for a person called this? Raises UsageError with what is wrong."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise UsageError(
            f"a password has {SHORTEST} to {LONGEST} characters", "several words in a row are easy to keep"
        )
    known = [word for word in about if word] + ["appliance", "factory"]
    found = zxcvbn(password, user_inputs=known)
    if found["score"] < STRONG:
        warning = found["feedback"]["warning"].rstrip(".")
        raise UsageError(
            "the password is too easy to guess" + (f": {warning[:1].lower()}{warning[1:]}" if warning else ""),
            "take several words that have nothing to do with one another",
        )


def hash_password(password: str) -> str:
    """What is kept of it."""
    with _turns:
        return _hasher.hash(password)


def is_right(password: str, kept: str) -> bool:
    """Does it fit what was kept? With nothing kept it takes as long, so that nobody learns which accounts there are.
    A longer one than a password can be takes as long, too, and never fits."""
    with _turns:
        try:
            fits = _hasher.verify(kept or _of_nobody(), password[:LONGEST])
            return fits and bool(kept) and len(password) <= LONGEST
        except (VerificationError, InvalidHashError):
            return False


def is_outdated(kept: str) -> bool:
    """Was it kept under other parameters than today's?"""
    return _hasher.check_needs_rehash(kept)


def one_time() -> str:
    """A password for one sign-in, 79 bits, easy to type."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(4))


@lru_cache(maxsize=1)
def _of_nobody() -> str:
    return _hasher.hash(secrets.token_urlsafe(16))
