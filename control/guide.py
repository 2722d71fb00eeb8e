"""The first steps on a new box, each judged by what is really there; what was skipped is in the audit chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from appliance.engines_client import EnginesClient
from appliance.errors import FactoryError
from appliance.events import Event, Fact
from appliance.ledger import Ledger
from appliance.user import Role
from appliance.work import Noun
from control import certificate
from control.desk import Desk
from control.playground import WRITING

SUBJECT = "guide"
ALL = "all"
"""The guide as a whole, in place of a step."""
SAMPLE = "sample"
"""The repository that the box brings along; a person's own one is meant."""
PATIENCE_SECONDS = 1.0
"""The engines answer in milliseconds, or are not there; the floor does not wait for them."""


class Step(Noun):
    """One step: what it is for, where it is done, and whether it is."""

    name: str
    title: str
    why: str
    endpoint: str
    label: str
    command: str
    state: Literal["done", "skipped", "open"] = "open"


STEPS = (
    Step(name="administrator", title="An account of your own", endpoint="access.index", label="Access",
         why="The box's token is for the first sign-in and for emergencies; every action is told with a person's name.",
         command="appliance user first"),
    Step(name="certificate", title="A certificate", endpoint="certificate.show", label="Certificate",
         why="So that passwords and code cross the network encrypted. Not needed while the console listens on this "
             "machine alone.", command="appliance certificate create --name FQDN"),
    Step(name="model", title="A model", endpoint="uploads.index", label="Bring a model",
         why="Droids write with it. Without one the box repairs by search, which finds small mistakes only.",
         command="appliance model import PATH"),
    Step(name="repository", title="A repository", endpoint="repositories.form", label="Look after a repository",
         why="The box works on a mirror of it, and at low autonomy merges nothing by itself.",
         command="appliance repo add NAME --url URL --autonomy low"),
    Step(name="signal", title="The first signal", endpoint="signals.form", label="File a signal",
         why="Say what is wrong in your own words, with an example; the box opens an item and takes it along the line.",
         command='appliance signal add --repo NAME --title "…" --body-file report.txt'),
)  # fmt: skip
NAMES = tuple(step.name for step in STEPS)


class Guide(Noun):
    """The steps as they stand."""

    steps: tuple[Step, ...]
    away: bool = False

    @property
    def settled(self) -> int:
        """Steps that are done or skipped."""
        return sum(step.state != "open" for step in self.steps)

    @property
    def shown(self) -> bool:
        """Does the floor still need it?"""
        return not self.away and self.settled < len(self.steps)

    @property
    def next(self) -> Step | None:
        """The first step that is left."""
        return next((step for step in self.steps if step.state == "open"), None)


def guide(desk: Desk) -> Guide:
    """How the steps stand now. Of a guide that was put away nothing else is asked."""
    marks = marked(desk.ledger)
    if marks.get(ALL) == "away":
        return Guide(steps=STEPS, away=True)
    return judged(marks, {name: is_done(desk) for name, is_done in ASKED.items()})


def judged(marks: Mapping[str, str], done: Mapping[str, bool]) -> Guide:
    """The steps by what is there and what was skipped; what is done is done, whether it was skipped or not. Pure."""
    found = []
    for step in STEPS:
        state = "done" if done[step.name] else "skipped" if marks.get(step.name) == "skipped" else "open"
        found.append(step.with_(state=state))
    return Guide(steps=tuple(found), away=marks.get(ALL) == "away")


def mark(ledger: Ledger, name: str, what: str, by: str) -> None:
    """Write down that a step is skipped, or the whole guide away; "back" takes it back."""
    ledger.append(Event(kind=Fact.GUIDE_MARKED, subject=SUBJECT, payload={"title": name, "mark": what, "by": by}))


def marked(ledger: Ledger) -> dict[str, str]:
    """The last mark of each step, and of the whole under `ALL`."""
    told: list[Mapping[str, Any]] = [one.payload for one in ledger.history(SUBJECT)]
    return {str(one["title"]): str(one["mark"]) for one in told}


def _administrator(desk: Desk) -> bool:
    return any(one.role == Role.ADMINISTRATOR and not one.disabled for one in desk.ledger.users.all())


def _certificate(desk: Desk) -> bool:
    return desk.settings.console.secure and certificate.concern(desk) is None


def _model(desk: Desk) -> bool:
    try:
        rows = EnginesClient(desk.home, timeout=PATIENCE_SECONDS).models()["models"]
    except FactoryError:
        return False
    return any(set(WRITING) & set(row["tasks"]) for row in rows)


def _repository(desk: Desk) -> bool:
    return bool(_own(desk))


def _signal(desk: Desk) -> bool:
    return any(desk.ledger.signals(name, limit=1) for name in _own(desk))


def _own(desk: Desk) -> list[str]:
    return [one.name for one in desk.ledger.repositories() if one.name != SAMPLE]


ASKED: Mapping[str, Callable[[Desk], bool]] = {
    "administrator": _administrator, "certificate": _certificate, "model": _model, "repository": _repository,
    "signal": _signal,
}  # fmt: skip
"""What is really there, by step."""
