"""What `appliance model show` tells of memory: the sums, and the contexts that would fit."""

from __future__ import annotations

from typing import Any

MIB = 1 << 20


def in_words(fit: dict[str, Any]) -> list[str]:
    """Lines for people."""
    if "problem" in fit:
        return [f"would fit: not known: {fit['problem']}"]
    where = f"each of GPU {', '.join(map(str, fit['gpus']))}" if fit["gpus"] else "RAM"
    lines = [f"needs, with {fit['slots']} requests at once of {fit['context_tokens']} tokens each, in {where}:"]
    for row in fit["need"]:
        lines.append(f"  {row['what']:<16} {row['bytes'] / MIB:>10,.0f} MiB  {row['how']}".rstrip())
    lines.append(fit["reason"])
    lines.append("longest context that would fit, beside the loaded models / when those that may have left:")
    for slots, context in fit["longest_context"].items():
        lines.append(f"  {slots:>3} at once: {_tokens(context)} / {_tokens(fit['longest_context_alone'][slots])}")
    return lines


def _tokens(context: int) -> str:
    return f"{context} tokens" if context else "none"
