"""The door for webhooks: signed messages are kept and answered with their number, everything else is turned away."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner
from werkzeug.test import TestResponse

from appliance.cli.main import root
from appliance.errors import Conflict
from appliance.intake import hook_secrets
from appliance.intake.hook_secrets import HookSecrets
from tests.control.world import Console, Site
from tests.intake.senders import SECRET, SENDERS

BODY = b'{"action": "opened"}'


@pytest.fixture
def hooked(console: Console, site: Site) -> Console:
    hook_secrets.save(console.home, "shop", HookSecrets(current=SECRET))
    return console


def send(console: Console, source: str = "gitea", body: bytes = BODY, secret: str = SECRET, repo: str = "shop",
         kind: str = "application/json") -> TestResponse:  # fmt: skip
    headers = SENDERS.get(source, SENDERS["gitea"])("issues", body, secret)
    return console.stranger().post(f"/hooks/{source}/{repo}", data=body, headers=headers, content_type=kind)


@pytest.mark.parametrize("source", sorted(SENDERS))
def test_a_signed_message_is_kept_raw_and_its_replay_does_nothing(source: str, hooked: Console) -> None:
    first, again = send(hooked, source), send(hooked, source)
    assert (first.status_code, first.json) == (202, {"delivery": 1, "seen_already": False})
    assert (again.status_code, again.json) == (200, {"delivery": 1, "seen_already": True})
    (kept,) = hooked.ledger.deliveries.waiting()
    assert (kept.source, kept.repo, hooked.ledger.deliveries.raw(1)) == (source, "shop", BODY)
    assert SECRET not in kept.model_dump_json()


def test_a_message_that_makes_no_sense_is_kept_to_be_shown(hooked: Console) -> None:
    for number, body in enumerate((b"\xff", b"[" * 100_000), 1):
        assert send(hooked, "alertmanager", body).json == {"delivery": number, "seen_already": False}


def test_a_wrong_signature_is_refused_and_who_repeats_it_waits(hooked: Console) -> None:
    answers = [send(hooked, secret="guess").status_code for _ in range(8)]
    assert answers[:6] == [401] * 6 and answers[-1] == 429
    assert hooked.ledger.deliveries.list() == []
    assert send(hooked).status_code == 202


def test_unknown_repositories_sources_and_those_without_a_hook_answer_alike(hooked: Console) -> None:
    answers = [send(hooked, repo="nope"), send(hooked, "nobody"), send(hooked, repo="..")]
    (hooked.home.secrets / "hook-shop.json").unlink()
    answers.append(send(hooked))
    assert {(one.status_code, one.text) for one in answers if one.json} == {(404, answers[0].text)}
    assert all(one.status_code in (401, 404) or one.status_code == 303 for one in answers)


def test_too_much_and_other_than_json_is_refused(hooked: Console) -> None:
    assert send(hooked, body=b"x" * (5 * 1024 * 1024 + 1)).status_code == 413
    assert send(hooked, body=b" " * (2 * 1024 * 1024)).status_code == 202
    assert send(hooked, kind="text/plain").status_code == 415


def test_the_old_secret_counts_until_its_time_is_over(hooked: Console) -> None:
    now = datetime.now(UTC)
    turned = HookSecrets(current=SECRET).rotated(hook_secrets.new(), now, 24)
    assert turned.valid(now) == (turned.current, SECRET)
    assert turned.valid(now + timedelta(hours=25)) == (turned.current,)
    hook_secrets.save(hooked.home, "shop", turned)
    assert (hooked.home.secrets / "hook-shop.json").stat().st_mode & 0o077 == 0
    assert send(hooked).status_code == 202


def test_the_command_makes_a_secret_that_opens_the_door_and_shows_it_once(console: Console, site: Site) -> None:
    console.home.settings_file.write_text("")
    home = ["--home", str(console.home.root)]
    made = json.loads(CliRunner().invoke(root, [*home, "--json", "repo", "hook", "shop"]).stdout)
    assert send(console, secret=made["secret"]).status_code == 202
    assert made["urls"]["gitea"].endswith("/hooks/gitea/shop")
    assert isinstance(CliRunner().invoke(root, [*home, "repo", "hook", "shop"]).exception, Conflict)
    turned = CliRunner().invoke(root, [*home, "repo", "hook", "shop", "--rotate"]).stdout
    assert made["secret"] not in turned and "ALLOWED_HOST_LIST" in turned
    assert send(console, "github", secret=made["secret"]).status_code == 202
    listed = json.loads(CliRunner().invoke(root, [*home, "--json", "signal", "deliveries", "--repo", "shop"]).stdout)
    assert listed["turned_away"] is None, "no console has run"
    assert [(one["number"], one["source"], one["state"]) for one in listed["deliveries"]] == [
        (2, "github", "waiting"),
        (1, "gitea", "waiting"),
    ]


def form(body: bytes, **more: str) -> bytes:
    return urlencode({"payload": body.decode(), **more}).encode()


@pytest.mark.parametrize("source", ["github", "gitea", "forgejo"])
@pytest.mark.parametrize("address", ["/shop", ""])
def test_a_form_is_taken_whether_its_sender_signs_it_or_the_json_in_it(
    source: str, address: str, hooked: Console
) -> None:
    hooked.ledger.change_repository("shop", forge=source, project="team/shop")
    body = '{"repository": {"full_name": "team/shop"}, "words": "a+b & \u00e4%"}'.encode()
    sent = form(body)

    def post(signed: bytes, name: str, secret: str = SECRET, content: bytes = sent) -> int:
        headers = {**SENDERS[source]("issues", signed, secret), f"X-{source}-Delivery": name}
        return (
            hooked.stranger()
            .post(f"/hooks/{source}{address}", data=content, headers=headers,
                  content_type="application/x-www-form-urlencoded")
            .status_code
        )  # fmt: skip

    assert [post(sent, "1"), post(body, "2"), post(sent, "1")] == [202, 202, 200]
    assert hooked.ledger.deliveries.raw(1) == hooked.ledger.deliveries.raw(2) == body
    assert post(sent, "3", secret="guess") == post(b"", "3") == 401
    for broken in (b"", b"payload", b"payload=%ff", b"payload=1&payload=2", b"other=1", b"\xff=1", b"&" * 50):
        assert post(broken, "4", content=broken) in (400, 401), broken
    assert len(hooked.ledger.deliveries.list()) == 2


@pytest.mark.parametrize("source", ["gitlab", "alertmanager", "generic"])
def test_other_senders_send_no_forms(source: str, hooked: Console) -> None:
    assert send(hooked, source, form(BODY), kind="application/x-www-form-urlencoded").status_code == 415
