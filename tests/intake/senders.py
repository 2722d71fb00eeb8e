"""Messages as each kind of sender makes them: headers with real signatures, and small bodies of their shapes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

SECRET = "first-secret"
PERSON = {"login": "mira"}
COMMIT = "5" * 40


def packed(body: Any) -> bytes:
    return json.dumps(body).encode()


def hexadecimal(body: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def github(event: str, body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {
        "X-GitHub-Event": event, "X-GitHub-Delivery": "gh-1",
        "X-Hub-Signature-256": f"sha256={hexadecimal(body, secret)}",
    }  # fmt: skip


def gitea(event: str, body: bytes, secret: str = SECRET) -> dict[str, str]:
    own = {"X-Gitea-Event": event, "X-Gitea-Delivery": "gt-1", "X-Gitea-Signature": hexadecimal(body, secret)}
    return {**github(event, body, secret), **own}


def forgejo(event: str, body: bytes, secret: str = SECRET) -> dict[str, str]:
    own = {"X-Forgejo-Event": event, "X-Forgejo-Delivery": "fj-1", "X-Forgejo-Signature": hexadecimal(body, secret)}
    return {**gitea(event, body, secret), **own}


def gitlab(event: str, _body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Gitlab-Event": event, "X-Gitlab-Event-UUID": "gl-1", "X-Gitlab-Token": secret}


def gitlab_signed(event: str, body: bytes, secret: str = SECRET, at: str = "") -> dict[str, str]:
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    at = at or str(int(time.time()))
    digest = hmac.new(key, f"gl-1.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "X-Gitlab-Event": event, "webhook-id": "gl-1", "webhook-timestamp": at,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }  # fmt: skip


def alertmanager(_event: str, _body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def generic(_event: str, body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Signature-256": f"sha256={hexadecimal(body, secret)}"}


SENDERS = {
    "github": github, "gitea": gitea, "forgejo": forgejo, "gitlab": gitlab, "alertmanager": alertmanager,
    "generic": generic,
}  # fmt: skip

ISSUE = {
    "number": 7, "title": "Totals  are\noff", "body": "by a cent", "state": "open", "html_url": "https://git.example/i/7",
    "user": {"login": "omar"}, "labels": [{"name": "factory"}], "assignees": [{"login": "box"}],
}  # fmt: skip
CHANGE = {
    "number": 9, "state": "closed", "merged": True, "merge_commit_sha": COMMIT, "html_url": "https://git.example/p/9",
    "head": {"ref": "factory/W-1", "sha": "6" * 40}, "user": {"login": "box"},
}  # fmt: skip


def of_github(**fields: Any) -> dict[str, Any]:
    return {"sender": PERSON, **fields}


def of_gitlab(kind: str, attributes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"object_kind": kind, "user": {"username": "mira"}, "object_attributes": attributes, **fields}
