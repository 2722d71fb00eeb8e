"""What past repairs teach the ranking: which classes of edits and which places were right in this repository and site.

`policy/repair.json` is written by the learning process: decayed counts of past repairs that held. It is read with
distrust: of a file that is missing or not valid in every part nothing is used, and the reason is said.

A class's share is a Dirichlet estimate. Its base is the share that class has among the slips which the ranking was
fitted on; the counts of the site's other repositories move it, and what comes of it is the base for the repository's
own counts. An edit's log-odds change by ``log(share / base)``, at most by `MOST`, so that a habit of the past never
outweighs what a bug's own tests and text say.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, ValidationError

from appliance.repair.edits import Edit
from appliance.repair.source import Source
from appliance.work import Noun

FILE = "repair.json"
MAX_BYTES = 4 * 1024 * 1024
MOST = 1.0
"""Nats that one trait of the past may speak for or against an edit."""
DOUBT = 30.0
"""Past repairs that weigh as much as the base does. With this and `MOST`, thirty repairs of one class spare half to
three quarters of the candidates until the right one of that class, and cost others 2 to 21 %. Measured on 500 slips,
for the eight classes of them whose right edit does not come first anyway."""

Count = Annotated[float, Field(ge=0, lt=1e9, allow_inf_nan=False)]


class Counts(Noun):
    """Decayed counts of past repairs that held, by the winning edit's template, kind of statement, and file."""

    templates: Mapping[str, Count] = Field({}, max_length=10_000)
    places: Mapping[str, Count] = Field({}, max_length=10_000)
    files: Mapping[str, Count] = Field({}, max_length=10_000)


class Priors(Noun):
    """The whole file."""

    format: Literal[1]
    at: AwareDatetime
    site: Counts = Counts()
    repositories: Mapping[str, Counts] = Field({}, max_length=10_000)


@dataclass(frozen=True)
class Past:
    """What the past says of one repository's edits, or why it says nothing."""

    others: Counts = field(default_factory=Counts)
    """Those of the site's other repositories."""
    own: Counts = field(default_factory=Counts)
    why: str = ""
    """Why nothing of the past is used; empty while it is."""
    bases: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """In words, what the past does; empty where there is none."""
        if self.why:
            return f"past repairs do not count: {self.why}"
        won = Counter(dict(self.own.templates)) + Counter(dict(self.others.templates))
        most = ", ".join(f"{name} ({count:.0f})" for name, count in won.most_common(SAID))
        return f"what won before comes sooner: {most}" if most else ""

    def term(self, edit: Edit, place: str, files: int) -> float:
        """Log-odds to add for an edit of such a statement, where `files` files are suspected."""
        bases = (
            max(self.bases.get("templates", {}).get(edit.template, 0.0), LEAST),
            max(self.bases.get("places", {}).get(place, 0.0), LEAST),
            1.0 / files,
        )
        shares = (
            _share(_share(bases[0], self.others.templates, edit.template), self.own.templates, edit.template),
            _share(_share(bases[1], self.others.places, place), self.own.places, place),
            _share(bases[2], self.own.files, edit.path),
        )
        terms = [math.log(share / base) for share, base in zip(shares, bases, strict=True)]
        return sum(max(-MOST, min(MOST, term)) for term in terms)


LEAST = 0.002
"""Share that a class has at least to begin with."""
SAID = 3
"""Templates that are named."""
NOTHING = Past()


def _share(base: float, counts: Mapping[str, float], name: str) -> float:
    """The mean of a Dirichlet distribution with `DOUBT` at its base."""
    return (DOUBT * base + counts.get(name, 0.0)) / (DOUBT + sum(counts.values()))


def _without(site: Mapping[str, float], own: Mapping[str, float]) -> dict[str, float]:
    return {name: max(0.0, count - own.get(name, 0.0)) for name, count in site.items()}


def read_past(policy: Path | None, repo: str, bases: Mapping[str, Mapping[str, float]]) -> Past:
    """The past of one repository from the home's `policy` folder; never raises."""
    if policy is None:
        return NOTHING
    try:
        with (policy / FILE).open("rb") as source:
            raw = source.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return NOTHING
    except OSError as error:
        return Past(why=f"{FILE} cannot be read ({error.strerror})")
    if len(raw) > MAX_BYTES:
        return Past(why=f"{FILE} is larger than {MAX_BYTES} bytes")
    try:
        priors = Priors.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return Past(why=f"{FILE} is not valid ({where + ': ' if where else ''}{first['msg']})")
    own = priors.repositories.get(repo, Counts())
    others = Counts(
        templates=_without(priors.site.templates, own.templates), places=_without(priors.site.places, own.places)
    )
    return Past(others=others, own=own, bases=bases)


def places(source: Source) -> Callable[[int], str]:
    """The kind of the statement that starts at a line, as the syntax names it: `if`, `return`, `assign`."""
    kinds: dict[int, str] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.stmt):
            kinds.setdefault(node.lineno, type(node).__name__.lower())
    return lambda line: kinds.get(line, "")
