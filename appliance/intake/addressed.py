"""Which repository a message is about, when its address names none: an organisation's or a group's webhook. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from appliance.errors import UsageError
from appliance.intake import alertmanager, generic
from appliance.intake.fields import Fields, loaded
from appliance.work import FORGES, TrackedRepository

PLACES = {"gitlab": ("project", "path_with_namespace")}
"""Source → object and field that name the project; the other forges call it `repository.full_name`."""


def content_of(raw: bytes) -> Any:
    """The JSON of a message; None for what is none. Why, the reader says once it is kept."""
    try:
        return loaded(raw)
    except UsageError:
        return None


def names(source: str, content: Any, repository: TrackedRepository) -> tuple[str, ...]:
    """What a message calls the repositories it is about, as one of them reads it; none when it does not say."""
    if source == "generic":
        found = generic.repository(content, repository.mapping)
        return (found,) if found else ()
    if not isinstance(content, dict):
        return ()
    try:
        if source == "alertmanager":
            return tuple(name for name in alertmanager.repositories(Fields(content)) if name)
        place, field = PLACES.get(source, ("repository", "full_name"))
        found = Fields(content).maybe(place).text(field)
    except UsageError:
        return ()
    return (found,) if found else ()


def names_in(source: str, content: Any, repository: TrackedRepository) -> tuple[str, ...]:
    """The names by which a message is about this repository, on a forge the project's path; none when it is not."""
    if source in FORGES and source != repository.forge:
        return ()
    own = {repository.project.casefold()} - {""}
    own |= set() if source in FORGES else {repository.name.casefold()}
    return tuple(name for name in names(source, content, repository) if name.casefold() in own)


def alerts_beside(content: Any, taken: Collection[str]) -> tuple[str, ...]:
    """What Alertmanager's alerts call their repositories, without those that are taken."""
    try:
        found = alertmanager.repositories(Fields(content))
    except UsageError:
        return ()
    return tuple(name or "without a name" for name in found if name not in taken)
