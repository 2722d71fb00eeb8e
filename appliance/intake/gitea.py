"""Gitea: GitHub's words for most, its own for reviews. Forgejo is the same but for its headers (`forgejo.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from appliance.intake import github
from appliance.intake.fields import Fields
from appliance.intake.signatures import Headers, signed
from appliance.news import News, ReviewNews

VERDICTS: dict[str, Literal["approved", "changes", "commented"]] = {
    "pull_request_approved": "approved", "pull_request_rejected": "changes", "pull_request_comment": "commented",
    "pull_request_review_approved": "approved", "pull_request_review_rejected": "changes",
    "pull_request_review_comment": "commented",
}  # fmt: skip
"""Event → verdict; older and newer releases differ in the name."""


def recognise(headers: Headers, name: str = "gitea") -> tuple[str, str] | None:
    """Event and delivery id; None when it is not from here. `name` is what the headers call the sender."""
    if f"x-{name}-event" not in headers:
        return None
    # releases leave the event empty where they know the finer type alone, as for a commit status
    event = headers[f"x-{name}-event"] or headers.get(f"x-{name}-event-type", "")
    return event, headers.get(f"x-{name}-delivery", "")


def verify(headers: Headers, body: bytes, secrets: Sequence[str], name: str = "gitea") -> bool:
    """Is the signature right?"""
    return signed(headers.get(f"x-{name}-signature", ""), body, secrets)


def read(event: str, body: Fields) -> tuple[News, ...]:
    """What an event says; nothing for those nobody acts on. Raises UsageError."""
    if event not in VERDICTS or "review" not in body:
        return github.read(event, body)
    told = body.at("pull_request")
    head = told.maybe("head")
    return (
        ReviewNews(
            by=github.by(body), origin=github.origin(told, "change"), verdict=VERDICTS[event],
            text=body.at("review").text("content"), branch=head.text("ref"), commit=head.commit("sha"),
        ),
    )  # fmt: skip
