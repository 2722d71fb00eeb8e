"""The JSON API under `/api/v1`, one file a noun. Everything the pages do, and errors in one shape."""

from control.api import (
    audit,
    deliveries,
    items,
    learning,
    lessons,
    models,
    openapi,
    repositories,
    signals,
    status,
    system,
    users,
)

BLUEPRINTS = (
    items.blueprint,
    signals.blueprint,
    repositories.blueprint,
    status.blueprint,
    deliveries.blueprint,
    lessons.blueprint,
    learning.blueprint,
    users.own,
    users.blueprint,
    audit.blueprint,
    system.blueprint,
    models.blueprint,
    openapi.blueprint,
)
