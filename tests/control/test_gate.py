"""Who gets in, on every route there is."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from flask import Flask

from appliance.config import Home
from appliance.errors import ConfigError
from appliance.ledger import open_ledger
from appliance.mirror.serving import Served
from appliance.settings import Settings
from appliance.user import Role
from control.access import ensure_session_key, ensure_token, token_file
from control.app import create_app
from control.desk import Desk
from control.gate import OPEN_ENDPOINTS
from control.verbs import VERBS
from tests.control.test_accounts import enter, person
from tests.control.world import Console, Site

OPEN_PATHS = {
    "/certificate/root.pem", "/sign-in", "/sign-in/provider", "/sign-in/provider/back", "/healthz",
    "/static/{filename}", "/hooks/{source}", "/hooks/{source}/{repo}",
    "/git/{name}.git/info/refs", "/git/{name}.git/git-upload-pack", "/git/{name}.git/git-receive-pack",
}  # fmt: skip


OPEN_OTHERWISE = ("/certificate/root.pem", "/healthz", "/static/x", "/hooks/x", "/hooks/x/x")
STEPS_OF_SIGN_IN = ("/sign-in/code", "/sign-in/password")
"""Only for who has begun."""


def routes(app: Flask) -> Iterator[tuple[str, str]]:
    """(method, path) of every route, with something in the place of its parameters."""
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", "x", rule.rule)
        for method in sorted((rule.methods or set()) - {"OPTIONS"}):
            yield method, path


def test_only_these_routes_are_open_to_strangers(console: Console) -> None:
    told = {
        re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for rule in console.app.url_map.iter_rules()
        if rule.endpoint in OPEN_ENDPOINTS
    }
    assert told == OPEN_PATHS


def test_no_other_route_lets_a_stranger_in_by_any_method(console: Console) -> None:
    tried = 0
    for method, path in routes(console.app):
        if (path.startswith("/sign-in") and path not in STEPS_OF_SIGN_IN) or path in OPEN_OTHERWISE:
            continue
        for headers in ({}, {"Cookie": "appliance_console_8081=forged.cookie.value"}):
            answer = console.stranger().open(path, method=method, headers=headers)
            where = answer.headers.get("Location", "")
            assert answer.status_code == 401 or (answer.status_code == 303 and "/sign-in" in where), (method, path)
            tried += 1
    assert tried > 40
    assert console.stranger().get("/no/such/page").status_code == 303
    assert console.stranger().get("/api/v1/no/such").status_code == 401


def test_a_wrong_bearer_token_opens_nothing_even_beside_a_good_session(console: Console) -> None:
    browser = console.browser()
    assert browser.get("/api/v1/items").status_code == 200
    for value in ("Bearer wrong", "Bearer ", "Basic " + console.token, "Bearer"):
        assert browser.get("/api/v1/items", headers={"Authorization": value}).status_code in (401, 429)


def test_the_right_token_opens_every_page_and_answer(console: Console, site: Site) -> None:
    for path in ("/", "/items", f"/items/{site.waiting}", "/signals", "/signals/S-1", "/signals/new", "/repositories",
                 "/help/", "/api/v1/items", "/api/v1/signals", "/api/v1/repositories", "/api/v1/status"):  # fmt: skip
        assert console.program("GET", path).status_code == 200, path


def test_a_link_with_the_token_signs_in_and_takes_it_out_of_the_address(console: Console) -> None:
    client = console.stranger()
    answer = client.get(f"/?token={console.token}")
    assert answer.status_code == 303 and answer.headers["Location"] == "/"
    assert client.get("/").status_code == 200
    assert console.stranger().get("/?token=wrong").status_code == 401
    assert console.stranger().get(f"/items?token={console.token}").status_code == 303  # there it opens nothing


def test_signing_in_begins_a_new_session_and_signing_out_ends_it(console: Console) -> None:
    browser = console.browser()
    before = browser.csrf()
    browser.client.post("/sign-in", data={"token": console.token})
    assert browser.csrf() != before
    assert browser.post("/sign-out").status_code == 303
    assert browser.get("/").status_code == 303


def test_a_new_token_ends_all_sessions(console: Console, home: Home) -> None:
    browser = console.browser()
    token_file(home).unlink()
    again = Console(home)
    kept = browser.client.get_cookie("appliance_console_8081")
    assert kept is not None
    client = again.stranger()
    client.set_cookie(kept.key, kept.value)
    assert client.get("/").status_code == 303
    again.ledger.close()


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(console: Console) -> None:
    answer = console.stranger().post("/sign-in", data={"token": console.token})
    (cookie,) = answer.headers.getlist("Set-Cookie")
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and console.token not in cookie


def test_over_tls_the_cookie_is_of_this_very_host_and_signing_out_clears_what_the_browser_kept(home: Home) -> None:
    ledger, settings = open_ledger(home), Settings.model_validate({"console": {"url": "https://factory.example"}})
    app = create_app(Desk(home, settings, ledger, Served(home.mirrors)), ensure_token(home), ensure_session_key(home))
    client, there = app.test_client(), {"base_url": "https://factory.example"}
    answer = client.post("/sign-in", data={"token": ensure_token(home)}, **there)
    (cookie,) = answer.headers.getlist("Set-Cookie")
    assert cookie.startswith("__Host-") and "Secure" in cookie and "Path=/" in cookie and "Domain" not in cookie
    page = client.get("/account", **there).text
    sent = {"csrf": page.partition('name="csrf" value="')[2].partition('"')[0]}
    assert client.post("/sign-out", data=sent, **there).headers["Clear-Site-Data"] == '"cache", "storage"'
    ledger.close()


def test_what_is_refused_to_a_role_is_in_the_log_in_one_line(
    console: Console, caplog: pytest.LogCaptureFixture
) -> None:
    viewer = enter(console, person(console, "eve", Role.VIEWER).name)
    assert viewer.get("/system/logs/x%0Aroot signed in").status_code == 403
    (line,) = [one.getMessage() for one in caplog.records if "refused to eve" in one.getMessage()]
    assert "\n" not in line and "needs the role operator" in line


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_form_without_the_sessions_own_token_does_nothing(verb: str, console: Console, site: Site) -> None:
    browser, others = console.browser(), console.browser().csrf()
    before = console.ledger.tip()
    for csrf in ({}, {"csrf": ""}, {"csrf": "wrong"}, {"csrf": others}):
        answer = browser.client.post(f"/items/{site.waiting}/{verb}", data={"text": "x", **csrf})
        assert answer.status_code == 403 and "out of date" in answer.text
    assert browser.client.post("/signals/new", data={"repo": "shop", "title": "x"}).status_code == 403
    assert browser.client.post("/api/v1/signals", json={"repo": "shop", "title": "x"}).status_code == 403
    assert console.ledger.tip() == before


def test_a_request_sent_from_another_site_is_refused(console: Console) -> None:
    for origin in ("https://evil.example", "http://localhost:9", "null"):
        answer = console.stranger().post("/sign-in", data={"token": console.token}, headers={"Origin": origin})
        assert answer.status_code == 403 and "Set-Cookie" not in answer.headers
    good = console.stranger().post("/sign-in", data={"token": console.token}, headers={"Origin": "http://localhost"})
    assert good.status_code == 303


def test_a_name_that_is_not_ours_is_refused_before_anything_else(console: Console) -> None:
    answer = console.stranger().get(
        "/healthz", headers={"Host": "evil.example", "Authorization": f"Bearer {console.token}"}
    )
    assert answer.status_code == 400 and "not called" in answer.text
    assert console.stranger().get("/healthz", headers={"Host": "10.0.0.7:8081"}).status_code == 200


@pytest.mark.parametrize("where", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_signing_in_leads_to_this_box_only(where: str, console: Console) -> None:
    answer = console.stranger().post("/sign-in", data={"token": console.token, "next": where})
    assert answer.headers["Location"] == "/"
    assert 'value="/"' in console.stranger().get("/sign-in", query_string={"next": where}).text


def test_who_keeps_failing_has_to_wait_and_the_right_token_is_always_taken(console: Console) -> None:
    answers = [console.stranger().post("/sign-in", data={"token": f"wrong{n}"}) for n in range(8)]
    assert [answer.status_code for answer in answers][:6] == [401] * 6
    assert answers[-1].status_code == 429 and int(answers[-1].headers["Retry-After"]) >= 1
    other = console.stranger().post("/sign-in", data={"token": "x"}, environ_base={"REMOTE_ADDR": "10.0.0.9"})
    assert other.status_code == 401
    assert console.stranger().post("/sign-in", data={"token": console.token}).status_code == 303
    assert console.stranger().post("/sign-in", data={"token": "x"}).status_code == 401  # counted anew


def test_every_answer_carries_the_headers_that_keep_it_in_its_page(console: Console, site: Site) -> None:
    browser = console.browser()
    for path in ("/", f"/items/{site.waiting}", "/no/such", "/api/v1/items", "/healthz", "/static/console.css"):
        headers = browser.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self';") and "unsafe" not in policy and "http" not in policy
        assert "frame-ancestors 'none'" in policy and "form-action 'self'" in policy and "base-uri 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert ("no-store" in headers["Cache-Control"]) == (not path.startswith("/static"))


def test_a_secret_others_can_read_is_refused(home: Home) -> None:
    ensure_token(home)
    token_file(home).chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others"):
        ensure_token(home)
    token_file(home).chmod(0o600)
    token_file(home).write_text("short")
    with pytest.raises(ConfigError, match="too short"):
        ensure_token(home)


def test_the_token_is_never_on_a_page(console: Console, site: Site) -> None:
    browser = console.browser()
    for path in ("/", "/items", f"/items/{site.waiting}", "/repositories", "/help/settings", "/api/v1/status"):
        assert console.token not in browser.get(path).text
