"""One-time codes from a phone (TOTP, RFC 6238: six digits, 30 s, SHA-1, as every program knows it), recovery codes.

The secrets are sealed with a key of their own in `secrets/`, so that a copy of the ledger alone makes no codes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import secrets
import time

import pyotp
import segno
from cryptography.fernet import Fernet, InvalidToken

from appliance.errors import FactoryError

STEP = 30
"""Seconds one code is for."""
AROUND = 1
"""Steps before and after the present that count too: clocks of phones differ."""
RECOVERY_CODES = 10


class Codes:
    """Makes, seals and judges codes. `key` is any secret of at least 32 characters."""

    def __init__(self, key: str) -> None:
        self._fernet = Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"one-time codes\0" + key.encode()).digest()))

    def fresh(self) -> str:
        """A new secret, sealed."""
        return self._fernet.encrypt(pyotp.random_base32().encode()).decode()

    def opened(self, sealed: str) -> str:
        """The secret as a phone takes it (base32). Raises FactoryError when it was sealed with another key."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise FactoryError(
                "the secret of the one-time codes cannot be opened",
                "`appliance user codes NAME --off`, then set up anew",
            ) from error

    def step_of(self, sealed: str, code: str, now: float | None = None) -> int | None:
        """The step of 30 s that a code belongs to, or None when it is wrong or too old."""
        moment = time.time() if now is None else now
        totp = pyotp.TOTP(self.opened(sealed))
        wanted = code.replace(" ", "")
        for step in range(int(moment) // STEP - AROUND, int(moment) // STEP + AROUND + 1):
            if secrets.compare_digest(totp.generate_otp(step).encode(), wanted.encode()):
                return step
        return None

    def address(self, sealed: str, user: str, box: str) -> str:
        """What the picture says: `otpauth://…`."""
        return pyotp.TOTP(self.opened(sealed)).provisioning_uri(name=user, issuer_name=f"Appliance {box}")


def picture(address: str) -> str:
    """A QR code as SVG, without styles of its own (the page's content policy forbids them)."""
    out = io.BytesIO()
    segno.make(address, error="m").save(out, kind="svg", scale=4, border=3, xmldecl=False, svgns=True, nl=False,
                                        light="white", title="QR code for an authenticator")  # fmt: skip
    return out.getvalue().decode()


def recovery_codes() -> list[str]:
    """Codes for a lost phone, 112 bits each, so that a plain hash keeps them well; good for one use."""
    made = (secrets.token_hex(14) for _ in range(RECOVERY_CODES))
    return ["-".join(one[at : at + 4] for at in range(0, 28, 4)) for one in made]


def hashed(code: str) -> str:
    """What is kept of a recovery code: they are random, so no slow hash is needed."""
    return hashlib.sha256(code.strip().lower().encode()).hexdigest()
