"""Alertmanager's webhook, version 4: each alert of a group is one report.

Its name is the fingerprint and when it began: a repetition is the same one, and one that fires again later is another.
A group may be about several repositories, each alert naming its own by a label.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.errors import UsageError
from appliance.intake.fields import LONGEST_TEXT, LONGEST_TITLE, Fields
from appliance.intake.signatures import Headers, authorised
from appliance.news import News, ReportNews
from appliance.work import Kind

VERSION = "4"
ALERTS = "alerts"
"""The event; `alerts:NAME` are those of a group that name this repository."""
LABELS = ("repository", "repo")
"""Labels that name a repository."""


def recognise(_headers: Headers) -> tuple[str, str] | None:
    """It has no headers of its own: the address says who it is, and its body is its name."""
    return ALERTS, ""


def verify(headers: Headers, _body: bytes, secrets: Sequence[str]) -> bool:
    """Does it show the secret? It cannot sign."""
    return authorised(headers.get("authorization", ""), secrets)


def repositories(body: Fields) -> tuple[str, ...]:
    """What its alerts call their repositories, each once; "" for those that name none. Raises UsageError."""
    return tuple(dict.fromkeys(_repository(alert) for alert in body.each("alerts")))


def of_repository(name: str) -> str:
    """The event of the alerts that name one repository."""
    return f"{ALERTS}:{name}"


def read(event: str, body: Fields) -> tuple[News, ...]:
    """One report for each alert that the event is about. Raises UsageError."""
    if body.text("version") != VERSION:
        raise UsageError(f"the message is not of Alertmanager's webhook version {VERSION}", "let Alertmanager send it")
    name = event.partition(":")[2]
    return tuple(_report(alert) for alert in body.each("alerts") if not name or _repository(alert) == name)


def _repository(alert: Fields) -> str:
    labels = alert.texts("labels")
    return next((labels[name] for name in LABELS if labels.get(name)), "")


def _report(alert: Fields) -> ReportNews:
    labels, notes = alert.texts("labels"), alert.texts("annotations")
    title = notes.get("summary") or labels.get("alertname") or "an alert without a name"
    lines = [notes.get("description", ""), ""]
    lines += [f"{name}: {value}" for name, value in sorted(labels.items())]
    lines += [f"since {alert.text('startsAt')}", alert.text("generatorURL")]
    return ReportNews(
        key=f"{alert.some('fingerprint')[:150]}@{alert.text('startsAt')[:40]}",
        title=" ".join(title.split())[:LONGEST_TITLE], body="\n".join(lines).strip()[:LONGEST_TEXT],
        kind=Kind.INCIDENT, resolved=alert.some("status") == "resolved",
    )  # fmt: skip
