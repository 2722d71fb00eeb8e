"""What of the router's decision a key may use. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase

from appliance.errors import PolicyRefused
from inference.catalogue import SEARCH
from inference.keys import Key
from inference.router import CALLER, Decision


def may_call(key: Key, model: str) -> bool:
    """Whether this key may call this model. `search` is nobody's to call and everybody's to hear of."""
    patterns = key.terms.models
    return not patterns or model == SEARCH or any(fnmatchcase(model, pattern) for pattern in patterns)


def permitted(key: Key, decision: Decision) -> Decision:
    """The decision without the candidates that this key may not call.

    Raises:
        PolicyRefused: it may not call any of them, or not for this task, or not by this rule.
    """
    terms = key.terms
    if terms.tasks and decision.task not in terms.tasks:
        raise _refused(key, f"has task {decision.task!r}", f"tasks {', '.join(terms.tasks)}")
    if terms.routes and decision.candidates:
        if decision.rule == CALLER:
            raise _refused(key, "names its model itself", f"the routes {', '.join(terms.routes)}: ask for `auto`")
        if not any(fnmatchcase(decision.rule, pattern) for pattern in terms.routes):
            raise _refused(key, f"goes by the rule {decision.rule!r}", f"the routes {', '.join(terms.routes)}")
    if not terms.models or not decision.candidates:
        return decision
    allowed = tuple(model for model in decision.candidates if may_call(key, model))
    left_out = [model for model in decision.candidates if model not in allowed]
    if not left_out:
        return decision
    if not set(allowed) - {SEARCH}:
        raise _refused(key, f"is for {', '.join(left_out)}", f"the models {', '.join(terms.models)}")
    reasons = (f"{model} left out: the key {key.name!r} may not call it" for model in left_out)
    suggested = tuple(model for model in decision.suggested if model in allowed)
    return decision.with_(candidates=allowed, suggested=suggested, reasons=(*decision.reasons, *reasons))


def _refused(key: Key, what: str, allowed: str) -> PolicyRefused:
    said = f"this call {what}, and the key {key.name!r} is limited to {allowed}"
    return PolicyRefused(said, f"`appliance key set {key.name}` changes that")
