"""How the mirrors stand and what was turned away, for Prometheus.

What the models' side measures is at the gateway's own /metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from appliance.certificates.showing import Shown
from appliance.work import MirrorHealth, utcnow
from control.certificate import served
from control.desk import desk
from control.turned_away import Count
from control.views.hooks import turned_away

blueprint = Blueprint("metrics", __name__)


class Mirrors(Collector):
    """The mirrors of some repositories at one moment."""

    def __init__(self, health: Mapping[str, MirrorHealth], now: datetime) -> None:
        self._health, self._now = health, now

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """See Collector."""
        lag = self._gauge("lag_seconds", "seconds since the last fetch that worked")
        fetches = self._gauge("failed_fetches", "fetches in a row that did not work")
        polls = self._gauge("failed_polls", "times in a row that the forge's API told no news")
        size = self._gauge("size_bytes", "size on disk")
        for name, one in sorted(self._health.items()):
            since = one.lag_seconds(self._now)
            if since is not None:  # before the first fetch there is none
                lag.add_metric([name], since)
            fetches.add_metric([name], one.failures)
            polls.add_metric([name], one.api_failures)
            size.add_metric([name], one.size_bytes)
        return (lag, fetches, polls, size)

    @staticmethod
    def _gauge(name: str, told: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"appliance_mirror_{name}", f"Mirror: {told}.", labels=["repository"])


class Refusals(Collector):
    """The webhooks turned away since the console started."""

    def __init__(self, counts: Sequence[Count]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[CounterMetricFamily]:
        """See Collector."""
        refused = CounterMetricFamily(
            "appliance_hooks_refused", "Webhooks turned away since the console started.",
            labels=["repository", "reason"],
        )  # fmt: skip
        for one in self._counts:
            refused.add_metric([one.repo, one.reason], one.count)
        return (refused,)


class Certificates(Collector):
    """The certificate of the doors at one moment."""

    def __init__(self, kept: Shown | None) -> None:
        self._kept = kept

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """See Collector."""
        ends = GaugeMetricFamily(
            "appliance_certificate_expiry_timestamp_seconds",
            "When the certificate of gateway and console ends, in seconds since 1970.",
        )
        if self._kept is not None:
            ends.add_metric([], self._kept.ends.timestamp())
        return (ends,)


@blueprint.get("/metrics")
def show() -> ResponseReturnValue:
    """How each mirror stands with its server, webhooks turned away, the certificate's end, in Prometheus' format."""
    ledger = desk().ledger
    known = ledger.forges.all_health()
    registry = CollectorRegistry()
    registry.register(
        Mirrors({one.name: known.get(one.name, MirrorHealth()) for one in ledger.repositories()}, utcnow())
    )
    registry.register(Refusals(turned_away().counts()))
    registry.register(Certificates(served(desk())))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
