"""The certificate of gateway and console, renewed in time where it is of the box's own CA."""

from __future__ import annotations

import logging

from appliance.certificates.keeping import Keeping, event
from appliance.certificates.reading import due
from appliance.config import Home
from appliance.ledger import Ledger
from appliance.ports import Clock
from appliance.settings import CertificateSettings

log = logging.getLogger("appliance.line")


class Renewal:
    """Looked at now and then by the line's scheduler."""

    def __init__(self, home: Home, ledger: Ledger, settings: CertificateSettings, clock: Clock) -> None:
        self._kept = Keeping(home, settings)
        self._days = settings.renew_days
        self._ledger = ledger
        self._clock = clock

    def look(self) -> bool:
        """Renew it if it is time to, and say so in the audit chain. Raises FactoryError; True when it was renewed."""
        now, kept = self._clock.now(), self._kept.read()
        if kept is None or not (found := due(kept, now, self._days)).renew:
            return False
        made = self._kept.renew(now)
        self._ledger.append(event("renewed", made, "box"))
        log.info("the certificate is renewed (%s); it is valid until %s", found.why, made.ends.date())
        return True
