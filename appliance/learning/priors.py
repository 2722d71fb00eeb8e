"""What repair by search learns: which templates, kinds of statement and files past repairs won with. Pure.

Old repairs count less: each is worth half after a half-life, as in power discounting of a Dirichlet's counts (West and
Harrison 1997, "Bayesian Forecasting and Dynamic Models", on discount factors). Age is counted from the newest repair,
not from today, so the same ledger always gives the same file. Who reads it: `appliance/repair/priors.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from appliance.learning.said import mapping, text

FILE = "repair.json"
"""Its name in the home's `policy` folder."""
FORMAT = 1
MOST_REPAIRS = 20_000
"""Newest repairs that are looked at."""
LEAST = 0.001
"""A count below this is left out."""
MOST_FILES = 500
"""Files of one repository that are named: those that were mended most."""
LONGEST = 300
KINDS = ("templates", "places", "files")
WON = "SELECT happened, payload FROM events WHERE kind = 'OutcomeLearned' ORDER BY seq DESC LIMIT $most"
"""The newest outcomes, as the learning store has them."""

Counts = dict[str, dict[str, float]]


class Repair(NamedTuple):
    """One repair that held."""

    at: datetime
    repo: str
    templates: tuple[str, ...]
    places: tuple[str, ...]
    files: tuple[str, ...]


def repair_of(happened: datetime, payload: Mapping[str, Any]) -> Repair:
    """What an outcome tells; empty in every part that it does not tell of.

    >>> repair_of(datetime(2026, 1, 1), {"facts": {"repo": "shop", "template": "comparison", "place": "if"}}).templates
    ('comparison',)
    """
    facts = mapping(payload.get("facts"))
    paths = facts.get("paths")
    files = [one for one in paths if isinstance(one, str)] if isinstance(paths, list) else []
    return Repair(
        happened,
        text(facts.get("repo")),
        _parts(facts.get("template")),
        _parts(facts.get("place")),
        tuple(one for one in files if 0 < len(one) <= LONGEST),
    )


def _parts(told: Any) -> tuple[str, ...]:
    """The parts of a repair of several edits."""
    return tuple(part for part in text(told).split(" + ") if 0 < len(part) <= LONGEST)


def file_of(repairs: Iterable[Repair], half_life_days: float) -> bytes | None:
    """The content of `policy/repair.json`; None where nothing was repaired yet. A repair of several edits or files
    counts once in all."""
    known = [one for one in repairs if one.repo and (one.templates or one.files)]
    if not known:
        return None
    newest = max(one.at for one in known)
    site, own = _nothing(), dict[str, Counts]()
    for one in known:
        weight = 0.5 ** ((newest - one.at).total_seconds() / 86_400 / half_life_days)
        repository = own.setdefault(one.repo, _nothing())
        for kind in KINDS:
            names = getattr(one, kind)
            for name in names:
                for counts in (repository, site) if kind != "files" else (repository,):
                    counts[kind][name] = counts[kind].get(name, 0.0) + weight / len(names)
    content = {
        "format": FORMAT,
        "at": newest.replace(tzinfo=UTC).isoformat(),
        "site": _kept(site),
        "repositories": {name: _kept(counts) for name, counts in sorted(own.items())},
    }
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _nothing() -> Counts:
    return {kind: {} for kind in KINDS}


def _kept(counts: Counts) -> Counts:
    """Rounded, in order, the smallest left out."""
    found: Counts = {}
    for kind, names in counts.items():
        most = sorted(names.items(), key=lambda entry: (-entry[1], entry[0]))[:MOST_FILES]
        found[kind] = {name: round(count, 3) for name, count in sorted(most) if count >= LEAST}
    return found
