"""GitHub Enterprise Server's REST API and webhooks as its published documents have them.

What may not be seen is not found, lists of a project link by the project's number, and whether a request merges is
worked out after somebody asked for the first time.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Iterable
from typing import Any

from flask import Flask

from tests.contracts.forges.github_routes import ROUTES
from tests.contracts.forges.github_shown import API, REPO, Shown
from tests.contracts.forges.nouns import ZERO, Change, Comment, Happened, Issue, Push, Review, Status
from tests.contracts.forges.server import Delivery, Hook

ACTIONS = {"labelled": "labeled", "unlabelled": "unlabeled", "merged": "closed", "pushed": "synchronize"}


class Github(Shown):
    def routes(self, app: Flask) -> None:
        inner = app.wsgi_app

        def by_number(environ: dict[str, Any], start: Any) -> Any:
            path = environ["PATH_INFO"]
            environ["PATH_INFO"] = path.replace(f"{API}/repositories/1/", f"{REPO}/")
            return inner(environ, start)

        app.wsgi_app = by_number  # type: ignore[method-assign]
        for add in ROUTES:
            add(app, self)

    # -- webhooks -----------------------------------------------------------------------------------------------------

    def hook(self, url: str, secret: str) -> Hook:
        """A new webhook is tried at once."""
        hook = super().hook(url, secret)
        body = self.packed({"zen": "Keep it logically awesome.", "hook_id": hook.id, "hook": self.as_hook(hook)})
        self._send(Delivery(str(uuid.uuid4()), hook, "ping", body))
        return hook

    def packets(self, happened: Happened) -> Iterable[tuple[str, dict[str, Any]]]:
        about, action = happened.about, ACTIONS.get(happened.action, happened.action)
        common = {"repository": self.as_repository(""), "sender": self.as_user(happened.by)}
        if isinstance(about, Issue):
            yield "issues", {"action": action, "issue": self.as_issue(about), **common}
        elif isinstance(about, Change):
            told = {"action": action, "number": about.number, "pull_request": self.as_pull(about)}
            yield "pull_request", {**told, **common}
        elif isinstance(about, Comment):
            thread = self.as_issue(self.thread(about.kind, about.number))
            yield "issue_comment", {"action": action, "issue": thread, "comment": self.as_comment(about), **common}
        elif isinstance(about, Review):
            pull = self.as_pull(self.changes[about.number], whole=False)
            said = {**self.as_review(about), "state": self.as_review(about)["state"].lower()}  # unlike in the API
            yield "pull_request_review", {"action": action, "pull_request": pull, "review": said, **common}
            for line in about.lines if action == "submitted" else ():
                told = {"action": "created", "pull_request": pull, "comment": self.as_line(about, line)}
                yield "pull_request_review_comment", {**told, **common}
        elif isinstance(about, Push):
            told = {"ref": f"refs/heads/{about.branch}", "before": about.before, "after": about.after, "commits": []}
            ends = {"created": about.before == ZERO, "deleted": about.after == ZERO, "forced": False}
            yield "push", {**told, **ends, **common}
        elif isinstance(about, Status):
            told = {"sha": about.commit, "context": about.gate, "state": about.state, "description": about.text}
            branches = [{"name": name} for name, commit in self.refs().items() if commit == about.commit]
            yield "status", {**told, "target_url": about.url or None, "branches": branches, **common}

    def signed(self, delivery: Delivery) -> dict[str, str]:
        secret = delivery.hook.secret.encode()
        return {
            "User-Agent": "GitHub-Hookshot/5f57d8e", "X-GitHub-Event": delivery.event,
            "X-GitHub-Delivery": delivery.id, "X-GitHub-Hook-ID": str(delivery.hook.id),
            "X-Hub-Signature": f"sha1={hmac.new(secret, delivery.body, hashlib.sha1).hexdigest()}",
            "X-Hub-Signature-256": f"sha256={hmac.new(secret, delivery.body, hashlib.sha256).hexdigest()}",
        }  # fmt: skip
