"""The pages, one file a noun."""

from control.views import deliveries, door, events, floor, health, hooks, items, manual, repositories, signals

BLUEPRINTS = (
    door.blueprint, health.blueprint, floor.blueprint, items.blueprint, signals.blueprint, repositories.blueprint,
    manual.blueprint, events.blueprint, hooks.blueprint, deliveries.blueprint,
)  # fmt: skip
