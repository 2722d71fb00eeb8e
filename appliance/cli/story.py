"""An item's story for the terminal: what was decided at each stage, why, by which model, and how long it took."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from appliance.ledger.chain import Recorded
from appliance.work import WorkItem
from control.verbs import offered

WIDTH = 110


def story(item: WorkItem, history: Sequence[Recorded]) -> str:
    """Plain text, top to bottom in the order things happened."""
    lines = [f"{item.id}  {item.title}", f"{item.repo} · {item.kind} · severity {item.severity} · {item.state}", ""]
    for event in history:
        lines += _event(event)
    if item.waiting_for:
        lines += ["", "waits for a person:", *_wrapped(item.waiting_for, "  "), ""]
        lines += [f"  {verb.cli(item.id)}" for verb in offered(item)]
    if item.change:
        stat = f"+{item.change.insertions} −{item.change.deletions}"
        lines += ["", f"change {item.change.commit[:12] or '(not shipped)'} on {item.change.base[:12]}, {stat}:", ""]
        lines += [f"    {line}" for line in item.change.diff.splitlines()]
    cost = item.cost
    tokens = f"{cost.prompt_tokens + cost.completion_tokens} tokens" if cost.prompt_tokens else "no tokens"
    lines += ["", f"{cost.wall_seconds:.1f} s of work, {tokens}"]
    return "\n".join(lines)


def _event(event: Recorded) -> list[str]:
    payload = event.payload
    if "to" not in payload:
        return [f"{event.at[11:19]}  {event.kind}: {payload.get('reason') or payload.get('verb', '')}"]
    took = f"{payload['wall_seconds']:.1f} s, " if payload.get("wall_seconds") else ""
    head = f"{event.at[11:19]}  {payload.get('stage') or event.kind} → {payload['to']}  ({took}by {payload['by']})"
    return [head, *_wrapped(payload["reason"], "          ")]


def _wrapped(text: str, indent: str) -> list[str]:
    return [
        line
        for paragraph in text.splitlines() or [""]
        for line in textwrap.wrap(paragraph, WIDTH, initial_indent=indent, subsequent_indent=indent) or [""]
    ]
