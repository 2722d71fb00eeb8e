"""The JSON API under `/api/v1`, one file a noun. Everything the pages do, and errors in one shape."""

from control.api import (
    audit,
    backups,
    by_hand,
    certificate,
    decisions,
    deliveries,
    guide,
    items,
    learning,
    lessons,
    models,
    openapi,
    policy,
    repositories,
    router,
    signals,
    status,
    system,
    tasks,
    uploads,
    users,
)
from control.api.request import tagged

BLUEPRINTS = (
    items.blueprint,
    by_hand.blueprint,
    signals.blueprint,
    repositories.blueprint,
    status.blueprint,
    decisions.blueprint,
    deliveries.blueprint,
    lessons.blueprint,
    learning.blueprint,
    users.own,
    users.blueprint,
    audit.blueprint,
    system.blueprint,
    backups.blueprint,
    certificate.blueprint,
    models.blueprint,
    router.blueprint,
    tasks.blueprint,
    policy.blueprint,
    guide.blueprint,
    uploads.blueprint,
    openapi.blueprint,
)
for _blueprint in BLUEPRINTS:
    _blueprint.after_request(tagged)
