"""One webhook of an organisation, a group or an alert manager, at an address without a repository."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from werkzeug.test import TestResponse

from appliance.cli.main import root
from appliance.errors import ConfigError, Conflict, UsageError
from appliance.intake import hook_secrets
from appliance.intake.hook_secrets import HookSecrets
from appliance.intake.reading import read
from appliance.news import DeliveryState, ReportNews
from appliance.work import TrackedRepository
from tests.control.world import Console
from tests.intake.senders import SECRET, SENDERS, gitlab_signed, packed

OTHER = "second-secret-of-till"
FORGES = ("gitea", "forgejo", "gitlab", "github")


@pytest.fixture
def organisation(console: Console) -> Console:
    """On each forge `team/shop` and `team/till`; on Gitea they share a secret, elsewhere each has its own."""
    for forge in FORGES:
        for name in ("shop", "till"):
            add(console, f"{name}-{forge}", forge, f"team/{name}", SECRET if name == "shop" else OTHER)
    hook_secrets.save(console.home, "till-gitea", HookSecrets(current=SECRET))
    return console


def add(console: Console, name: str, forge: str = "plain", project: str = "", secret: str = SECRET,
        **more: Any) -> None:  # fmt: skip
    url = f"https://git.example/{project or name}.git"
    console.ledger.add_repository(
        TrackedRepository(name=name, url=url, branch="main", forge=forge, project=project, **more)
    )
    if secret:
        hook_secrets.save(console.home, name, HookSecrets(current=secret))


def about(source: str, project: str) -> dict[str, Any]:
    if source == "gitlab":
        return {"object_kind": "push", "project": {"path_with_namespace": project}}
    return {"repository": {"full_name": project}}


def send(console: Console, source: str, body: Any, secret: str = SECRET, address: str = "127.0.0.1") -> TestResponse:
    raw = body if isinstance(body, bytes) else packed(body)
    return console.stranger().post(
        f"/hooks/{source}", data=raw, headers=SENDERS[source]("push", raw, secret), content_type="application/json",
        environ_base={"REMOTE_ADDR": address},
    )  # fmt: skip


def kept(console: Console) -> list[tuple[str, str, str]]:
    return [(one.repo, str(one.state), one.why) for one in reversed(console.ledger.deliveries.list())]


@pytest.mark.parametrize("source", FORGES)
def test_a_message_goes_to_the_repository_that_it_names_and_whose_secret_signs_it(
    source: str, organisation: Console
) -> None:
    first = send(organisation, source, about(source, "team/Shop"))
    told = {"repository": f"shop-{source}", "delivery": 1, "seen_already": False}
    assert (first.status_code, first.json) == (202, {"deliveries": [told]})
    again = send(organisation, source, about(source, "team/Shop"))
    assert (again.status_code, again.json) == (200, {"deliveries": [{**told, "seen_already": True}]})
    (waiting,) = organisation.ledger.deliveries.waiting()
    assert (waiting.source, waiting.repo) == (source, f"shop-{source}")
    assert organisation.ledger.deliveries.raw(1) == packed(about(source, "team/Shop"))


def test_repositories_that_share_a_secret_are_told_apart_by_their_projects(organisation: Console) -> None:
    for project in ("team/shop", "team/till"):
        body = about("gitea", project)
        headers = {**SENDERS["gitea"]("push", packed(body), SECRET), "X-Gitea-Delivery": project}
        organisation.stranger().post(
            "/hooks/gitea", data=packed(body), headers=headers, content_type="application/json"
        )
    assert [one[0] for one in kept(organisation)] == ["shop-gitea", "till-gitea"]


@pytest.mark.parametrize("source", FORGES)
def test_without_a_secret_that_counts_every_name_is_answered_alike(source: str, organisation: Console) -> None:
    bodies = [
        about(source, "team/shop"),
        about(source, "team/nope"),
        {},
        {"repository": 3, "project": []},
        b"[",
        b"\xff",
    ]
    answers = [send(organisation, source, body, "guess", f"10.0.0.{n}") for n, body in enumerate(bodies)]
    assert {(one.status_code, one.text) for one in answers} == {(401, answers[0].text)}
    assert kept(organisation) == []
    told = organisation.program("GET", "/api/v1/deliveries").json
    assert told is not None
    assert [(one["repo"], one["count"]) for one in told["turned_away"]["counts"]] == [("(unknown)", len(bodies))]


def test_a_secret_opens_its_own_repository_only(organisation: Console) -> None:
    answer = send(organisation, "github", about("github", "team/till"), SECRET)
    assert answer.status_code == 202 and answer.json == {
        "deliveries": [{"repository": "", "delivery": 1, "seen_already": False}]
    }
    ((repo, state, why),) = kept(organisation)
    assert (repo, state) == ("", "ignored") and "team/till" in why
    assert organisation.ledger.deliveries.raw(1) == b"", "nobody's words are not kept"


def test_who_guesses_waits_and_is_compared_with_fewer_secrets_meanwhile(organisation: Console) -> None:
    tries = [send(organisation, "gitea", about("gitea", "team/nope"), "guess").status_code for _ in range(8)]
    assert tries[:6] == [401] * 6 and tries[-1] == 429
    assert send(organisation, "gitea", about("gitea", "team/nope")).status_code == 429
    assert send(organisation, "gitea", about("gitea", "team/shop")).status_code == 202, "the right one is always taken"


def test_what_is_no_json_is_kept_for_the_one_that_has_the_secret_or_as_nobodys_with_the_reason(
    organisation: Console,
) -> None:
    assert send(organisation, "github", b"{]").status_code == 202
    assert send(organisation, "gitea", b"{]").status_code == 202
    assert [(repo, state) for repo, state, _ in kept(organisation)] == [("shop-github", "waiting"), ("", "refused")]
    assert "2 have the secret" in kept(organisation)[1][2]


def test_a_group_of_alerts_goes_to_the_repositories_that_their_labels_name(organisation: Console) -> None:
    labels = [{"repository": "shop-gitea"}, {"repo": "team/till"}, {"repo": "billing"}, {}, {"repo": "till-gitea"}]
    alerts = [
        {"status": "firing", "fingerprint": str(n), "startsAt": "t", "labels": {**label, "alertname": f"alert {n}"}}
        for n, label in enumerate(labels)
    ]
    answer = send(organisation, "alertmanager", {"version": "4", "alerts": alerts})
    assert answer.status_code == 202
    told: dict[str, list[str]] = {}
    for one in organisation.ledger.deliveries.waiting():
        news = read(one, organisation.ledger.deliveries.raw(one.number))
        told.setdefault(one.repo, []).extend(each.title for each in news if isinstance(each, ReportNews))
    assert told["shop-gitea"] == ["alert 0"] and sorted(told["till-gitea"]) == ["alert 1", "alert 4"], "by both names"
    nobodys = [why for repo, state, why in kept(organisation) if (repo, state) == ("", "ignored")]
    assert len(nobodys) == 1 and "billing" in nobodys[0] and "without a name" in nobodys[0]


def test_any_json_names_its_repository_or_its_secret_does(console: Console) -> None:
    add(console, "shop", secret="secret-of-shop")
    add(console, "till", secret="secret-of-till", mapping={"repository": ("/meta/app",)})
    bodies: list[tuple[dict[str, Any], str]] = [
        ({"title": "a", "repository": "shop"}, "secret-of-shop"),
        ({"title": "b", "meta": {"app": "till"}}, "secret-of-till"),
        ({"title": "c"}, "secret-of-till"),
        ({"title": "d", "repository": "billing"}, "secret-of-shop"),
    ]
    assert {send(console, "generic", body, secret).status_code for body, secret in bodies} == {202}
    assert [(repo, state) for repo, state, _ in kept(console)] == [
        ("shop", "waiting"), ("till", "waiting"), ("till", "waiting"), ("", "ignored"),
    ]  # fmt: skip


def test_gitlab_s_signing_token_is_given_to_the_box_and_signs_id_time_and_body(
    console: Console, tmp_path: Path
) -> None:
    add(console, "shop", "gitlab", "team/shop", secret="")
    console.home.settings_file.write_text("")
    file, token = tmp_path / "token", "whsec_" + base64.b64encode(b"made by the forge, 32 bytes long").decode()
    file.write_text(token)
    file.chmod(0o600)
    given = ["--home", str(console.home.root), "repo", "hook", "shop", "--secret-file", str(file)]
    shown = CliRunner().invoke(root, given)
    assert shown.exit_code == 0 and token not in shown.stdout
    raw = packed(about("gitlab", "team/shop"))
    signed = gitlab_signed("Push Hook", raw, token)

    def statuses(headers: dict[str, str], body: bytes = raw) -> set[int]:
        stranger = console.stranger()
        return {
            stranger.post(path, data=body, headers=headers, content_type="application/json").status_code
            for path in ("/hooks/gitlab", "/hooks/gitlab/shop")
        }

    assert statuses(signed) == {202, 200}, "the second is the same delivery"
    refused = [
        ({**signed, "webhook-id": "gl-2"}, raw), ({**signed, "webhook-timestamp": "1700000001"}, raw),
        (signed, raw + b" "), ({**signed, "webhook-signature": "v1,AAAA"}, raw),
        ({**signed, "webhook-signature": "v1,AAAA", "X-Gitlab-Token": token}, raw),
    ]  # fmt: skip
    assert [statuses(headers, body) <= {401, 429} for headers, body in refused] == [True] * len(refused)
    twice = {**signed, "webhook-signature": f"v1,AAAA {signed['webhook-signature']}"}
    assert statuses(twice) == {200}, "one of several is enough, while the forge turns its token"
    assert len(console.ledger.deliveries.list()) == 1


def test_two_repositories_of_one_project_are_both_told(console: Console) -> None:
    add(console, "shop-main", "gitea", "team/shop")
    add(console, "shop-old", "gitea", "team/shop")
    answer = send(console, "gitea", about("gitea", "team/shop"))
    assert answer.json is not None
    assert [one["repository"] for one in answer.json["deliveries"]] == ["shop-main", "shop-old"]


def test_what_is_too_large_of_another_type_or_for_no_source_is_turned_away(organisation: Console) -> None:
    stranger = organisation.stranger()
    assert stranger.post("/hooks/nobody", data=b"{}", content_type="application/json").status_code == 404
    assert stranger.post("/hooks/gitea", data=b"{}", content_type="text/plain").status_code == 415
    assert send(organisation, "gitea", b"x" * (5 * 1024 * 1024 + 1)).status_code == 413
    raw = packed(about("github", "team/shop"))
    other = stranger.post(
        "/hooks/github", data=raw, headers=SENDERS["generic"]("x", raw), content_type="application/json"
    )
    assert other.status_code == 401
    assert kept(organisation) == []


def test_a_secrets_file_that_cannot_be_read_shuts_out_its_own_repository_only(organisation: Console) -> None:
    (organisation.home.secrets / "hook-shop-gitea.json").write_text("{")
    answer = send(organisation, "gitea", about("gitea", "team/shop"))
    assert answer.status_code == 202 and kept(organisation)[0][:2] == ("", str(DeliveryState.IGNORED))


def test_the_command_takes_a_secret_from_a_file_that_nobody_else_can_read(console: Console, tmp_path: Path) -> None:
    add(console, "shop", "gitea", "team/shop", secret="")
    add(console, "till", "gitea", "team/till", secret="")
    console.home.settings_file.write_text("")
    file = tmp_path / "secret"
    file.write_text("a-secret-of-the-whole-team\n")

    def call(*words: str) -> Any:
        return CliRunner().invoke(root, ["--home", str(console.home.root), "--json", "repo", "hook", *words])

    def given(name: str, *more: str) -> Any:
        return call(name, "--secret-file", str(file), *more)

    file.chmod(0o644)
    assert isinstance(given("shop").exception, ConfigError)
    file.chmod(0o600)
    told = json.loads(given("shop").stdout)
    assert told["secret"] == "" and told["shared_url"].endswith("/hooks/SOURCE")
    assert given("shop").exit_code == given("till").exit_code == 0
    assert send(console, "gitea", about("gitea", "team/till"), "a-secret-of-the-whole-team").status_code == 202
    file.write_text("another-secret-of-the-team")
    assert isinstance(given("shop").exception, Conflict)
    assert given("shop", "--rotate").exit_code == 0
    turned = hook_secrets.load(console.home, "shop")
    assert turned is not None
    assert (turned.current, turned.before) == ("another-secret-of-the-team", "a-secret-of-the-whole-team")
    for words in ("short", "two words that are long enough", "", "ä" * 40):
        file.write_text(words)
        assert isinstance(given("till", "--rotate").exception, UsageError), words
