"""Messages with anything in them spoilt, at the door for webhooks: taken or refused in words, never an error; what is
refused leaves nothing behind, and what is taken can be shown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config import Home
from appliance.intake import hook_secrets
from appliance.intake.hook_secrets import HookSecrets
from control.desk import EXTENSION
from tests.control.test_shared_hooks import add
from tests.control.world import Console
from tests.intake.senders import SECRET, SENDERS, gitlab_signed
from tests.intake.test_hostile import REAL, spoilt

ALL = {**SENDERS, "gitlab signed": gitlab_signed}
PLAIN = ("gitlab", "alertmanager")
"""Those that show their secret beside a body that nothing signs."""


@dataclass(frozen=True)
class Sent:
    """One message."""

    source: str
    path: str
    body: bytes
    headers: dict[str, str]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console that takes any number of messages, for two repositories on each forge."""
    home = Home(tmp_path_factory.mktemp("door") / "home")
    for folder in (home.root, *home.folders):
        folder.mkdir()
    console = Console(home)
    for forge in ("gitea", "forgejo", "gitlab", "github"):
        for name in ("shop", "till"):
            add(console, f"{name}-{forge}", forge, f"team/{name}")
    add(console, "shop", secret="")
    hook_secrets.save(home, "shop", HookSecrets(current=SECRET))
    desk = console.app.extensions[EXTENSION]
    intake = desk.settings.intake.model_copy(update={"hooks_per_minute": 0})
    desk.settings = desk.settings.model_copy(update={"intake": intake})
    yield console
    console.ledger.close()


def signed(kind: str, event: str, body: bytes, path: str) -> Sent:
    headers = {**ALL[kind](event, body, SECRET), "Content-Type": "application/json"}
    name = hashlib.sha256(path.encode() + body).hexdigest()  # else all but the first would be seen already
    headers |= {header: name for header in headers if header.endswith(("-Delivery", "-UUID"))}
    source = kind.split()[0]
    headers |= {"Idempotency-Key": name} if source == "gitlab" else {}
    return Sent(source, f"/hooks/{source}{path}", body, headers)


PATHS = st.sampled_from(
    ["/shop", "/shop", "", "/till-gitea", "/nope", "/..", "/shop%00", "/sh\N{LATIN SMALL LETTER O WITH DIAERESIS}p"]
)
VALUES = st.one_of(
    st.sampled_from(
        ["", "0", "sha256=", "v1,", "Bearer ", "Basic %%", "x" * 5000, "application/json; charset=utf-7", "\xff"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)


@st.composite
def mutated(draw: st.DrawFn) -> Sent:
    """A genuine message, and then some bytes of its body or some of its headers made into something else."""
    source, event, content = draw(st.sampled_from(REAL))
    kind = draw(st.sampled_from(["gitlab signed", "gitlab"])) if source == "gitlab" else source
    sent = signed(kind, event, json.dumps(content).encode(), draw(PATHS))
    body, headers = bytearray(sent.body), dict(sent.headers)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(0, len(body) - 1)))
        body[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    for _ in range(draw(st.integers(0, 2))):
        name = draw(
            st.sampled_from([*sorted(headers), "X-GitHub-Event", "X-Forgejo-Event", "webhook-signature", "Host"])
        )
        if draw(st.booleans()):
            headers.pop(name, None)
        else:
            headers[name] = draw(VALUES)
    return Sent(sent.source, sent.path, bytes(body), headers)


def deliver(door: Console, sent: Sent) -> tuple[int, list[int]]:
    """The status, and the numbers of what is kept. Checks what holds for every message."""
    before = {one.number for one in door.ledger.deliveries.list(limit=10_000)}
    answer = door.stranger().post(sent.path, data=sent.body, headers=sent.headers)
    new = {one.number for one in door.ledger.deliveries.list(limit=10_000)} - before
    told: Any = answer.get_json(silent=True)
    if answer.status_code not in (200, 202):
        assert 400 <= answer.status_code < 500 or answer.status_code == 303, (answer.status_code, answer.text)
        assert new == set(), "a refused message leaves nothing behind"
        assert answer.status_code == 303 or set(told["error"]) == {"code", "message", "hint"}
        return answer.status_code, []
    numbers = [told["delivery"]] if "delivery" in told else [one["delivery"] for one in told["deliveries"]]
    assert numbers and new <= set(numbers)
    for number in numbers:
        shown = door.program("GET", f"/api/v1/deliveries/{number}")
        assert shown.status_code == 200 and SECRET not in shown.text
    return answer.status_code, numbers


@settings(max_examples=200)
@given(mutated())
def test_a_message_with_bytes_or_headers_spoilt_is_taken_or_refused_in_words(door: Console, sent: Sent) -> None:
    status, numbers = deliver(door, sent)
    if status in (200, 202) and sent.source not in PLAIN:
        genuine = [json.dumps(content).encode() for _, _, content in REAL]
        raws = [door.ledger.deliveries.raw(number) for number in numbers]
        assert all(raw in (*genuine, b"") for raw in raws) or "Authorization" in sent.headers, (
            "nobody signed these bytes"
        )


@settings(max_examples=100)
@given(spoilt(), st.sampled_from(["/shop", ""]))
def test_a_message_that_is_signed_and_makes_little_sense_is_kept_and_can_be_shown(
    door: Console, message: tuple[str, str, bytes], path: str
) -> None:
    source, event, body = message
    status, numbers = deliver(door, signed(source, event, body, path))
    assert status in (200, 202) and numbers


def test_any_json_is_read_with_the_mapping_of_its_repository(door: Console) -> None:
    mapping = {"title": ("/rule/name",), "key": ("/rule/id",), "kind": ("=incident",), "each": ("/rules",)}
    door.ledger.change_repository("shop", mapping={**mapping, "title": ("/name",), "key": ("/id",)})
    body = json.dumps({"rules": [{"name": "Disk is full", "id": "a"}, {"name": "Late", "id": 7}]}).encode()
    _, (number,) = deliver(door, signed("generic", "", body, "/shop"))
    told = door.program("GET", f"/api/v1/deliveries/{number}").json
    assert told is not None
    assert [(one["title"], one["key"], one["kind"]) for one in told["told"]] == [
        ("Disk is full", "a", "incident"), ("Late", "7", "incident"),
    ]  # fmt: skip
    _, (number,) = deliver(door, signed("generic", "", b'{"title": "elsewhere"}', "/shop"))
    told = door.program("GET", f"/api/v1/deliveries/{number}").json
    assert told is not None and "no list at /rules" in told["problem"]
    door.ledger.change_repository("shop", mapping={})
    told = door.program("GET", f"/api/v1/deliveries/{number}").json
    assert told is not None and told["told"][0]["title"] == "elsewhere", "a mapping put right counts for what is kept"
