"""Where in the console one can go: the bar of every page, and the palette with smaller places too. Data only."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from appliance.work import Noun


class Place(Noun):
    """A page with its endpoint, what it is called, the letter that leads there after `g`, and its menu in the bar."""

    name: str
    endpoint: str
    label: str
    key: str = ""
    menu: str = ""


BAR = (
    Place(name="floor", endpoint="floor.show", label="Floor", key="f"),
    Place(name="items", endpoint="items.index", label="Items", key="i"),
    Place(name="signals", endpoint="signals.index", label="Signals", key="s"),
    Place(name="repositories", endpoint="repositories.index", label="Repositories", key="r", menu="Code"),
    Place(name="policy", endpoint="policy.show", label="Policy", key="t", menu="Code"),
    Place(name="deliveries", endpoint="deliveries.index", label="Deliveries", key="d", menu="Code"),
    Place(name="models", endpoint="models.index", label="Models", key="m", menu="Models"),
    Place(name="playground", endpoint="playground.show", label="Playground", key="c", menu="Models"),
    Place(name="router", endpoint="router.index", label="Router", key="o", menu="Models"),
    Place(name="decisions", endpoint="decisions.index", label="Decisions", key="e", menu="Models"),
    Place(name="learning", endpoint="learning.index", label="Learning", key="l"),
    Place(name="system", endpoint="system.index", label="System", key="y", menu="Box"),
    Place(name="access", endpoint="access.index", label="Access", key="p", menu="Box"),
    Place(name="audit", endpoint="audit.index", label="Audit", key="a", menu="Box"),
    Place(name="manual", endpoint="manual.index", label="Help", key="h"),
)
"""As the bar shows them; neighbours of one menu are under its name."""
WITHIN = {
    "by_hand": "items",
    "lessons": "learning",
    "policies": "learning",
    "questions": "learning",
    "uploads": "models",
    "limits": "policy",
    "guide": "floor",
    "tasks": "system",
    "certificate": "system",
    "backups": "system",
    "support": "system",
}
"""Blueprint → the place in the bar that it belongs to."""
SMALLER = (
    Place(name="new", endpoint="signals.form", label="File a signal", key="n"),
    Place(name="lessons", endpoint="lessons.index", label="Lessons"),
    Place(name="report", endpoint="learning.report", label="What was learned, and what it saves"),
    Place(name="frictions", endpoint="learning.frictions", label="Frictions: where work rubs"),
    Place(name="replays", endpoint="learning.replays", label="Replays"),
    Place(name="policies", endpoint="policies.index", label="Routing policy: versions, promote, roll back"),
    Place(name="sql", endpoint="questions.ask", label="SQL over the learning store"),
    Place(name="uploads", endpoint="uploads.index", label="Bring a model: upload, or from a path"),
    Place(name="add", endpoint="repositories.form", label="Look after a repository"),
    Place(name="limits", endpoint="limits.edit", label="Change limits: protected paths, sizes, budgets"),
    Place(name="guide", endpoint="guide.show", label="First steps on a new box"),
    Place(name="tasks", endpoint="tasks.index", label="Tasks: imports and clones under way"),
    Place(name="rules", endpoint="router.edit", label="Change the router's rules"),
    Place(name="certificate", endpoint="certificate.show", label="Certificate: who issued it, days left"),
    Place(name="backups", endpoint="backups.index", label="Backups: the newest, and one now"),
    Place(name="account", endpoint="account.show", label="Account: password, codes, tokens, sessions"),
)
"""What the palette knows beside."""
EVERYWHERE = (("Ctrl", "K", "find a page, an item, a repository, or what can be done"), ("", "?", "these keys"))


def bar(may: Callable[[str, str], bool]) -> list[tuple[str, list[Place]]]:
    """The bar of one person: menus with their places. One that would hold a single place is that place; its name is
    then ""."""
    open_to = [place for place in BAR if may(place.endpoint, "GET")]
    groups = [(menu, list(found)) for menu, found in groupby(open_to, key=lambda place: place.menu)]
    return [
        (menu if len(found) > 1 else "", some)
        for menu, found in groups
        for some in ([found] if menu else [[one] for one in found])
    ]
