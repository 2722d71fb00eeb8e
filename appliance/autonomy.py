"""How far work may go without a person: the levels, what each allows, and which one is in force. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.settings import AutonomySettings
from appliance.work import Autonomy, EffectiveAutonomy, TrackedRepository

ORDER = tuple(Autonomy)
"""From the most restrictive on."""

ALLOWS: Mapping[Autonomy, str] = {
    Autonomy.OFF: "No change reaches the server: a finished one waits here for approval.",
    Autonomy.LOW: "As off, the two do not differ yet: a finished change waits here for approval.",
    Autonomy.MEDIUM: "A finished change is pushed to a branch of its own, on a forge as a merge request, and lands "
    "once it is approved, there or here.",
    Autonomy.HIGH: "A change lands by itself when every gate passed.",
}  # fmt: skip
"""What each level may do, in words."""


def effective(settings: AutonomySettings, tracked: TrackedRepository) -> EffectiveAutonomy:
    """The lower of the box's cap and the repository's own level."""
    if ORDER.index(settings.cap) < ORDER.index(tracked.autonomy):
        return EffectiveAutonomy(effective=settings.cap, why="the box's cap")
    return EffectiveAutonomy(effective=tracked.autonomy, why=f"set for repository {tracked.name}")
