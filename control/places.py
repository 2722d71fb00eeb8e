"""Where in the console one can go: the bar of every page, and the palette with smaller places too. Data only."""

from __future__ import annotations

from appliance.work import Noun


class Place(Noun):
    """A page with its endpoint, what it is called, and the letter that leads there after `g`."""

    name: str
    endpoint: str
    label: str
    key: str = ""


BAR = (
    Place(name="floor", endpoint="floor.show", label="Floor", key="f"),
    Place(name="items", endpoint="items.index", label="Items", key="i"),
    Place(name="signals", endpoint="signals.index", label="Signals", key="s"),
    Place(name="deliveries", endpoint="deliveries.index", label="Deliveries", key="d"),
    Place(name="learning", endpoint="learning.index", label="Learning", key="l"),
    Place(name="repositories", endpoint="repositories.index", label="Repositories", key="r"),
    Place(name="models", endpoint="models.index", label="Models", key="m"),
    Place(name="router", endpoint="router.index", label="Router", key="o"),
    Place(name="access", endpoint="access.index", label="Access", key="p"),
    Place(name="audit", endpoint="audit.index", label="Audit", key="a"),
    Place(name="system", endpoint="system.index", label="System", key="y"),
    Place(name="manual", endpoint="manual.index", label="Help", key="h"),
)
"""As the bar shows them."""
WITHIN = {
    "lessons": "learning",
    "policies": "learning",
    "questions": "learning",
    "playground": "models",
    "policy": "repositories",
}
"""Blueprint → the place in the bar that it belongs to."""
SMALLER = (
    Place(name="new", endpoint="signals.form", label="File a signal", key="n"),
    Place(name="lessons", endpoint="lessons.index", label="Lessons"),
    Place(name="frictions", endpoint="learning.frictions", label="Frictions: where work rubs"),
    Place(name="replays", endpoint="learning.replays", label="Replays"),
    Place(name="policy", endpoint="policy.show", label="Policy: autonomy, protected paths, budgets"),
    Place(name="policies", endpoint="policies.index", label="Routing policy: versions, promote, roll back"),
    Place(name="sql", endpoint="questions.ask", label="SQL over the learning store"),
    Place(name="playground", endpoint="playground.show", label="Playground: talk to models"),
    Place(name="rules", endpoint="router.edit", label="Change the router's rules"),
    Place(name="account", endpoint="account.show", label="Account: password, codes, tokens, sessions"),
)
"""What the palette knows beside."""
EVERYWHERE = (("Ctrl", "K", "find a page, an item, a repository, or what can be done"), ("", "?", "these keys"))
