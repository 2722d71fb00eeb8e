"""The certificate of a home as callers see it: for the command line, the doctor, the console and its API."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from appliance.certificates.keeping import Keeping
from appliance.certificates.reading import Certificate, standing
from appliance.config import Home
from appliance.settings import Settings


class Shown(Certificate):
    """A certificate, how it stands now, and who shows it."""

    days_left: float = Field(description="days until it ends, negative afterwards")
    served_by: tuple[str, ...] = Field(description="the doors that speak TLS with it")
    verdict: str = Field(description="pass, warn or fail")
    found: str
    fix: str = ""


def shown(home: Home, settings: Settings, now: datetime) -> Shown | None:
    """None where there is none. Raises ConfigError for one that cannot be read."""
    kept = Keeping(home, settings.certificate).read()
    if kept is None:
        return None
    stands = standing(kept, now, settings.console.reached_by)
    return Shown(
        **kept.model_dump(), days_left=round(kept.left(now), 1), served_by=doors(settings), verdict=stands.verdict,
        found=stands.found, fix=stands.fix,
    )  # fmt: skip


def doors(settings: Settings) -> tuple[str, ...]:
    """Who speaks TLS."""
    return tuple(name for name, on in (("gateway", settings.gateway.tls), ("console", settings.console.tls)) if on)
