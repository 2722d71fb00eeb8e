"""The pages, one file a noun."""

from control.views import (
    access,
    account,
    audit,
    deliveries,
    door,
    events,
    evidence,
    floor,
    git,
    health,
    hooks,
    items,
    learning,
    lessons,
    manual,
    metrics,
    models,
    palette,
    playground,
    policies,
    policy,
    questions,
    repositories,
    router,
    signals,
    system,
)

BLUEPRINTS = (
    door.blueprint, health.blueprint, floor.blueprint, items.blueprint, evidence.blueprint, signals.blueprint,
    repositories.blueprint,
    manual.blueprint, events.blueprint, hooks.blueprint, deliveries.blueprint, git.blueprint,
    metrics.blueprint, lessons.blueprint, account.blueprint, access.blueprint, audit.blueprint,
    system.blueprint, models.blueprint, palette.blueprint, playground.blueprint, learning.blueprint, policies.blueprint,
    policy.blueprint, questions.blueprint, router.blueprint,
)  # fmt: skip
