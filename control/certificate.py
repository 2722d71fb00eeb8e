"""The certificate of gateway and console, for pages, API and metrics."""

from __future__ import annotations

import logging

from appliance.certificates.keeping import Keeping, event
from appliance.certificates.reading import Standing
from appliance.certificates.showing import Shown, doors, shown
from appliance.errors import ConfigError, FactoryError, NotFound
from appliance.work import utcnow
from control.desk import Desk

log = logging.getLogger("console")


def served(desk: Desk) -> Shown | None:
    """The certificate and how it stands; None where there is none, or it cannot be read: `concern` says that."""
    try:
        return shown(desk.home, desk.settings, utcnow())
    except ConfigError as error:
        log.warning("%s", error.message)
        return None


def concern(desk: Desk) -> Standing | None:
    """What somebody has to see to; None while all is well, or nobody speaks TLS."""
    if not doors(desk.settings):
        return None
    try:
        kept = shown(desk.home, desk.settings, utcnow())
    except ConfigError as error:
        return Standing(verdict="fail", found=error.message, fix=error.hint)
    if kept is None:
        return Standing(verdict="fail", found="there is none", fix="`appliance certificate create --name FQDN`")
    return None if kept.verdict == "pass" else Standing(verdict=kept.verdict, found=kept.found, fix=kept.fix)


def root(desk: Desk) -> bytes:
    """The root that clients have to trust, as PEM. Raises NotFound, ConfigError."""
    return Keeping(desk.home, desk.settings.certificate).root()


def hands_out_root(desk: Desk) -> bool:
    """Is there one to hand out?"""
    try:
        return bool(root(desk))
    except FactoryError:
        return False


def the_one(desk: Desk) -> Shown:
    """The certificate. Raises NotFound, ConfigError."""
    kept = shown(desk.home, desk.settings, utcnow())
    if kept is None:
        raise NotFound("the box has no certificate", "`appliance certificate create --name FQDN`, or `import`")
    return kept


def renew(desk: Desk, by: str) -> Shown:
    """Another one of the box's own CA. Raises as `Keeping.renew`."""
    desk.ledger.append(event("renewed", Keeping(desk.home, desk.settings.certificate).renew(utcnow()), by))
    return the_one(desk)
