"""Which model serves an episode: calls that belong together, named by the header `x-appliance-episode`.

An agent that works in a loop of tool calls must not change its model because a rule's order changed meanwhile. Kept in
memory, the longest unused forgotten first: what is forgotten is decided anew, by the rules.
"""

from __future__ import annotations

from collections import OrderedDict

HEADER = "x-appliance-episode"
MAX_NAME = 200

Episode = tuple[str, str, str]
"""Whose it is (a key's id), its name, and the task: vectors of an episode do not come from the model that chats."""


class Episodes:
    """The model of each episode, of the last `limit` ones."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._models: OrderedDict[Episode, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._models)

    def model(self, episode: Episode) -> str:
        """The model that served it last; empty when it is not known."""
        found = self._models.get(episode, "")
        if found:
            self._models.move_to_end(episode)
        return found

    def served(self, episode: Episode, model: str) -> None:
        """This model answered."""
        if not self._limit:
            return
        self._models[episode] = model
        self._models.move_to_end(episode)
        if len(self._models) > self._limit:
            self._models.popitem(last=False)


def episode_of(key: str, name: str | None, task: str) -> Episode | None:
    """The episode a call belongs to; None when it names none."""
    name = (name or "").strip()[:MAX_NAME]
    return (key, name, task) if name else None
