"""Takes what looks like a secret out of a text before a model or a transcript sees it, and puts it back. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

_WHOLE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|sk-|hf_|npm_|pypi-|apl_|apt_)[A-Za-z0-9_-]{16,}"
    r"|\bAGE-SECRET-KEY-1[A-Z0-9]{20,}\b"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*",
    re.DOTALL,
)
_PARTS = (
    re.compile(
        r"(?i)\b[\w-]*(?:password|passwd|secret|api[_-]?key|(?:access|auth)[_-]?token)\b['\"]?\s*[:=]\s*"
        r"(?P<quote>['\"])(?P<secret>[^'\"\s]{6,})(?P=quote)"
    ),
    re.compile(r"(?i)\b[A-Z0-9_]*(?:PASSWORD|SECRET|API_KEY|TOKEN)=(?P<secret>[^\s'\"]{6,})"),
    re.compile(r"\b[a-z][a-z0-9+.-]{0,20}://[^/@\s:]+:(?P<secret>[^/@\s]+)@"),
    re.compile(r"(?i)\bauthorization:\s*(?:bearer|basic|token)\s+(?P<secret>[\w.~+/=-]{8,})"),
)
_MARK = re.compile(r"\[redacted-[0-9a-f]{8}\]")
_SIGNS = (
    "key-----", "akia", "asia", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "sk-", "hf_",
    "npm_", "pypi-", "apl_", "apt_", "eyj", "passw", "secret", "api_key", "api-key", "apikey", "accesst", "access_t",
    "access-t", "autht", "auth_t", "auth-t", "authorization", "token=",
)  # fmt: skip
"""In lower case: each pattern above needs one of them, or `://` and `@`."""


def redact(text: str) -> tuple[str, dict[str, str]]:
    """The text with marks in place of secrets, and what each mark stands for. The same secret has the same mark."""
    found: dict[str, str] = {}

    def mark(secret: str) -> str:
        name = f"[redacted-{hashlib.sha256(secret.encode()).hexdigest()[:8]}]"
        found[name] = secret
        return name

    def part(match: re.Match[str]) -> str:
        start, end = match.start("secret") - match.start(), match.end("secret") - match.start()
        whole = match.group()
        return whole if _MARK.fullmatch(match["secret"]) else whole[:start] + mark(match["secret"]) + whole[end:]

    text = _WHOLE.sub(lambda match: mark(match.group()), text)
    for pattern in _PARTS:
        text = pattern.sub(part, text)
    return text, found


def may_hold_a_secret(text: str) -> bool:
    """Is it worth the time to look closer? True for every text that `redact` would change, and for some others; JSON
    may be asked whole.

    >>> may_hold_a_secret('{"body": "PASSWORD=hunter22"}'), may_hold_a_secret("all tests pass")
    (True, False)
    """
    low = text.casefold()
    return any(sign in low for sign in _SIGNS) or ("://" in low and "@" in low)


def restore(text: str, secrets: Mapping[str, str]) -> str:
    """The text with the marks of these secrets turned back. Marks of others stay, and `leftover` finds them."""
    return _MARK.sub(lambda match: secrets.get(match.group(), match.group()), text)


def leftover(text: str) -> str:
    """A mark in the text, if there is one: it must not get into code."""
    found = _MARK.search(text)
    return found.group() if found else ""
