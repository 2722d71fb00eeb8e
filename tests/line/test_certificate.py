"""The line renews the certificate of the doors in time, and says so."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from appliance.certificates.keeping import Keeping
from appliance.config import Home
from appliance.ledger import open_ledger
from appliance.line.certificate import Renewal
from appliance.ports import SystemClock
from appliance.settings import CertificateSettings
from appliance.work import utcnow


class At(SystemClock):
    """A clock that is ahead."""

    def __init__(self, days: float) -> None:
        self.days = days

    def now(self) -> datetime:
        return utcnow() + timedelta(days=self.days)


@pytest.mark.parametrize(("days", "renewed"), [(0, False), (330, False), (340, True), (390, True), (3650, False)])
def test_it_is_renewed_from_sixty_days_before_its_end_but_not_by_a_clock_ten_years_ahead(
    home: Home, days: float, renewed: bool
) -> None:
    settings, ledger = CertificateSettings(), open_ledger(home)
    first = Keeping(home, settings).create(["box.example"], utcnow())
    assert Renewal(home, ledger, settings, At(days)).look() is renewed
    second = Keeping(home, settings).read()
    assert second is not None and (second.fingerprint != first.fingerprint) is renewed
    told = [one.payload["by"] for one in ledger.tail(0, 10) if one.kind == "CertificateChanged"]
    assert told == (["box"] if renewed else [])
    ledger.close()


def test_without_a_certificate_there_is_nothing_to_do(home: Home) -> None:
    ledger = open_ledger(home)
    assert Renewal(home, ledger, CertificateSettings(), SystemClock()).look() is False
    ledger.close()
