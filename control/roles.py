"""Which role each route needs: `viewer` to read; what changes something is named here, or needs `administrator`."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.errors import PolicyRefused
from appliance.user import MAY, SCOPES, Role, Who

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_VIEWER = (
    "door.sign_out", "account.password", "account.codes", "account.codes_on", "account.codes_off",
    "account.end_session", "account.add_token", "account.revoke_token", "api_me.add_token", "api_me.revoke_token",
)  # fmt: skip
"""Changes nothing but what is one's own."""
_DEVELOPER = (
    "by_hand.plan", "by_hand.change_plan", "by_hand.patch", "by_hand.hand_in", "api_by_hand.change_plan",
    "api_by_hand.hand_in", "items.ask", "items.give", "api_items.give", "signals.form", "signals.file",
    "api_signals.file", "api_signals.merge", "api_signals.split", "questions.ask", "questions.answer",
    "questions.download", "api_learning.ask", "playground.show", "playground.ask", "playground.stream",
)  # fmt: skip
_OPERATOR = (
    "backups.make", "api_backups.make", "support.show", "support.make", "support.download",
    "api_system.support_bundle", "signals.raw", "api_signals.take_table", "deliveries.replay",
    "api_deliveries.replay", "lessons.move", "lessons.edit",
    "audit.index", "audit.verify", "audit.export", "api_audit.index", "api_audit.verify", "api_audit.export",
    "system.doctor", "system.log", "api_system.doctor", "api_system.log", "models.load", "models.unload",
    "api_models.load", "api_models.unload", "api_lessons.add", "api_lessons.move",
    "router.edit", "router.change", "api_router.save", "api_router.look", "api_router.tried",
    "tasks.index", "tasks.show", "tasks.stop", "tasks.again", "api_tasks.index", "api_tasks.show", "api_tasks.stop",
    "api_tasks.again", "uploads.index", "uploads.import_from", "uploads.again", "uploads.remove", "api_uploads.index",
    "api_uploads.begin", "api_uploads.show", "api_uploads.remove", "api_uploads.look", "api_uploads.take",
    "api_uploads.again", "api_models.import_from",
    "api_lessons.edit", "lessons.add", "policies.ask", "policies.promote", "policies.ask_back", "policies.take_back",
    "api_learning.promote", "api_learning.take_back",
)  # fmt: skip
_ADMINISTRATOR = (
    "certificate.renew", "api_certificate.renew",
    "access.index", "access.show", "api_users.index", "api_users.show", "policy.ask",
    "policy.change", "api_repositories.change", "repositories.form", "repositories.add",
    "guide.note", "api_guide.note", "limits.edit", "limits.change", "api_policy.change", "api_repositories.add",
)  # fmt: skip
"""What nobody below may; whatever changes something and stands nowhere is an administrator's too."""

NEEDS: Mapping[str, Role] = {
    endpoint: role
    for role, endpoints in (
        (Role.VIEWER, _VIEWER), (Role.DEVELOPER, _DEVELOPER), (Role.OPERATOR, _OPERATOR),
        (Role.ADMINISTRATOR, _ADMINISTRATOR),
    )
    for endpoint in endpoints
}  # fmt: skip


def needed(endpoint: str | None, method: str) -> Role:
    """The least role that may call a route.

    >>> needed("items.show", "GET"), needed("items.give", "POST"), needed("nobody.knows", "POST")
    (<Role.VIEWER: 'viewer'>, <Role.DEVELOPER: 'developer'>, <Role.ADMINISTRATOR: 'administrator'>)
    """
    fallback = Role.VIEWER if method in SAFE_METHODS else Role.ADMINISTRATOR
    return NEEDS.get(endpoint or "", fallback)


def check(who: Who, endpoint: str | None, method: str) -> None:
    """May they call this route? Raises PolicyRefused, which says what is missing."""
    role = needed(endpoint, method)
    if who.may(role):
        return
    if who.role.covers(role):
        scope = next(name for name, covered in SCOPES.items() if covered == role)
        raise PolicyRefused(f"this token lacks the scope {scope}", "make one with it on the page Account")
    raise PolicyRefused(
        f"{who.name} is {who.role}; this needs the role {role}", f"{role}: {MAY[role]}; an administrator gives roles"
    )
