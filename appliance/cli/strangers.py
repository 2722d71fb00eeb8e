"""Names in what a key may do that nothing on this box has: slips of the pen, or what is still to come."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase

from appliance.cli.context import Box
from appliance.cli.route import readable
from appliance.ledger import open_ledger
from inference.keys import Key
from models.registry import Registry


def strangers(box: Box, key: Key) -> Iterator[str]:
    """A line for each pattern that fits nothing there is."""
    for pattern in key.terms.models:
        if not _fits(pattern, [name for card in Registry(box.home.models).list() for name in (card.id, *card.aliases)]):
            yield f"no model is called {pattern!r} (yet)"
    for pattern in key.terms.routes:
        if not _fits(pattern, [rule.name for rule in readable(box)]):
            yield f"no routing rule is called {pattern!r} (yet)"
    for pattern in key.repositories:
        if not _fits(pattern, [one.name for one in open_ledger(box.home).repositories()]):
            yield f"no repository is called {pattern!r} (yet)"


def _fits(pattern: str, names: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)
