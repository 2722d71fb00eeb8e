"""What the gateway counts, in a registry of its own."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

TINY = (0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1)
FINE = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
QUICK = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
COARSE = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


Metric = TypeVar("Metric", Counter, Histogram)


def remembering(metric: Metric) -> Metric:
    """The metric, with its look-up by labels remembered: each takes a lock, and a call makes eight of them."""
    setattr(metric, "labels", lru_cache(maxsize=4096)(metric.labels))  # noqa: B010 - a method may not be assigned
    return metric


class Metrics:
    """All metrics; names begin with `appliance_gateway_`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return remembering(Counter(f"appliance_gateway_{name}", text, labels, registry=self.registry))

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"appliance_gateway_{name}", text, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], label: str = "endpoint") -> Histogram:
            made = Histogram(f"appliance_gateway_{name}", text, (label,), registry=self.registry, buckets=buckets)
            return remembering(made)

        self.requests = counter("requests_total", "Answers given", "endpoint", "model", "status")
        self.tokens = counter("tokens_total", "Tokens that engines reported", "model", "kind")
        self.retries = counter("retries_total", "Calls sent again to the same model", "model")
        self.fallbacks = counter("fallbacks_total", "Calls taken to the next candidate")
        self.routes = counter("routes_total", "Decisions of the router", "rule", "outcome")
        self.cooling = gauge("cooling", "Engines that were lost or busy a moment ago and are avoided")
        self.circuits_open = gauge("circuits_open", "Models that failed too often and get no calls for a while")
        self.rules_refused = counter("rules_refused_total", "Rules files that were not taken over")
        self.rules_stale = gauge("rules_stale", "1 while the rules file cannot be used")
        self.policy_in_use = gauge("policy_in_use", "1 while a learned policy is used, 0 while rules decide alone")
        self.decision = Histogram(
            "appliance_gateway_decision_seconds", "Time of the router's decisions", registry=self.registry, buckets=TINY
        )
        self.errors = counter("errors_total", "Calls that ended with an error", "endpoint", "code")
        self.limited = counter("limited_total", "Calls refused because of a limit of their key", "limit")
        self.unrecorded = counter("usage_lines_lost_total", "Usage lines that could not be written")
        self.in_flight = gauge("in_flight", "Calls being answered")
        self.waiting = gauge("waiting", "Calls waiting for a model to be ready")
        self.held = gauge("held", "Calls waiting for a place, because the gateway is full")
        self.seconds = histogram("request_seconds", "Time of whole calls", COARSE)
        self.first_byte = histogram("first_byte_seconds", "Time until the first byte of an answer", COARSE)
        self.first_token = histogram("first_token_seconds", "Time until the first token of a stream", COARSE, "model")
        self.per_token = histogram("token_seconds", "Time of each token of a stream after the first", QUICK, "model")
        self.overhead = histogram(
            "overhead_seconds", "Time until the first byte that was not spent waiting for an engine", FINE
        )

    def text(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self.registry)
