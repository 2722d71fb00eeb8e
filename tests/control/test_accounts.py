"""People: signing in by name, one-time codes, roles on every route, sessions that end, tokens with scopes."""

from __future__ import annotations

import re
from datetime import timedelta

import pyotp
import pytest
from argon2 import PasswordHasher
from flask.testing import FlaskClient

from appliance.errors import Conflict, UsageError
from appliance.events import Fact
from appliance.user import SCOPES, Owed, Role, User
from control import accounts, passwords
from control.accounts import NewToken, NewUser
from control.gate import OPEN_ENDPOINTS, STEPS, Gate
from control.roles import NEEDS, needed
from control.throttle import FREE_TRIES
from tests.control.world import Console, Site

OWN = "seven green kettles hum"
GIVEN = "borrowed-umbrella-Tuesday"


def test_passwords_are_kept_as_argon2id_with_the_parameters_of_rfc_9106(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap = passwords.hash_password(OWN)
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher())
    kept = passwords.hash_password(OWN)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$") and OWN not in kept
    assert passwords.is_right(OWN, kept) and not passwords.is_right(OWN + "!", kept) and not passwords.is_right("", "")
    assert passwords.is_outdated(cheap) and not passwords.is_outdated(kept)


def person(console: Console, name: str, role: Role = Role.DEVELOPER) -> User:
    """An account whose owner has chosen the password."""
    console.ledger.users.add(name, role, "test")
    return console.ledger.users.set_password(name, name, passwords.hash_password(OWN))


def csrf(client: FlaskClient, path: str = "/account") -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get(path).text)
    assert found is not None
    return found[1]


def enter(console: Console, name: str, password: str = OWN) -> FlaskClient:
    client = console.stranger()
    answer = client.post("/sign-in", data={"name": name, "password": password})
    assert answer.status_code == 303, answer.text
    return client


def test_a_person_is_let_in_with_a_password_for_once_and_chooses_another(console: Console) -> None:
    user, first = accounts.add(console.ledger, NewUser(name="Ada", role=Role.DEVELOPER), "root")
    assert (user.name, user.must_change) == ("ada", True)
    client = enter(console, "ADA", first)
    for path in ("/", "/items", "/account", "/api/v1/items"):
        answer = client.get(path)
        assert answer.status_code == 401 or answer.headers["Location"].endswith("/sign-in/password"), path
    page = client.get("/sign-in/password").text
    sent = {"csrf": re.findall(r'name="csrf" value="([^"]+)"', page)[0]}
    for weak, said in (
        (first, "given"),
        ("short", "12 to 128"),
        ("password1234", "too easy"),
        ("adaadaadaada", "too easy"),
    ):
        refused = client.post("/sign-in/password", data={**sent, "password": weak})
        assert refused.status_code == 400 and said in refused.text
    assert client.post("/sign-in/password", data={**sent, "password": OWN}).headers["Location"] == "/"
    assert client.get("/items").status_code == 200
    assert console.stranger().post("/sign-in", data={"name": "ada", "password": first}).status_code == 401
    enter(console, "ada")


def test_a_wrong_name_and_a_wrong_password_are_told_alike_and_never_logged(
    console: Console, caplog: pytest.LogCaptureFixture
) -> None:
    person(console, "ada")
    console.ledger.users.add("bob", Role.ADMINISTRATOR, "test")
    console.ledger.users.change("ada", "test", disabled=True)
    said = set()
    for name, password in (("ada", OWN), ("bob", ""), ("nobody", OWN), (OWN, "x")):
        answer = console.stranger().post("/sign-in", data={"name": name, "password": password or "y"})
        assert answer.status_code == 401
        said.add(re.search(r'role="alert">([^<]+)<', answer.text)[1])  # type: ignore[index]
    assert len(said) == 1
    assert OWN not in caplog.text


def test_one_time_codes_are_asked_for_and_each_counts_once(console: Console) -> None:
    user = person(console, "ada")
    gate: Gate = console.app.extensions["appliance.gate"]
    made = accounts.enrolment(gate.codes, user, "box")
    assert made.secret not in made.sealed and "<svg" in made.picture
    totp = pyotp.TOTP(made.secret)
    with pytest.raises(UsageError, match="not right"):
        accounts.codes_on(console.ledger, gate.codes, user, made.sealed, "000000" if totp.now() != "000000" else "1")
    recovery = accounts.codes_on(console.ledger, gate.codes, user, made.sealed, totp.now())
    used = totp.now()
    client = enter(console, "ada")
    assert client.get("/items").headers["Location"].endswith("/sign-in/code")
    sent = {"csrf": csrf(client, "/sign-in/code")}
    assert client.post("/sign-in/code", data={**sent, "code": used}).status_code == 401, "it was used to turn them on"
    before = client.get_cookie("appliance_console_8081")
    assert client.post("/sign-in/code", data={**sent, "code": recovery[0].upper()}).status_code == 303
    after = client.get_cookie("appliance_console_8081")
    assert before and after and before.value != after.value
    assert client.get("/items").status_code == 200
    again = enter(console, "ada")
    sent = {"csrf": csrf(again, "/sign-in/code")}
    assert again.post("/sign-in/code", data={**sent, "code": recovery[0]}).status_code == 401, "it is used up"
    assert console.ledger.users.get("ada").recovery_codes == len(recovery) - 1
    console.ledger.users.set_codes("ada", "root", "", ())
    assert client.get("/items").status_code == 303, "somebody else changed what guards the account"
    assert enter(console, "ada").get("/items").status_code == 200


def test_who_guesses_passwords_is_slowed_down_but_the_person_at_home_is_not(console: Console) -> None:
    person(console, "ada")
    enter(console, "ada").get("/items")
    elsewhere = {"REMOTE_ADDR": "10.9.9.9"}
    for _ in range(FREE_TRIES + 1):
        wrong = console.stranger().post("/sign-in", data={"name": "ada", "password": "no"}, environ_base=elsewhere)
    assert wrong.status_code == 401
    held = console.stranger().post("/sign-in", data={"name": "ada", "password": OWN}, environ_base=elsewhere)
    assert held.status_code == 429 and int(held.headers["Retry-After"]) >= 1, "even the right one has to wait there"
    for n in range(10):
        home = {"REMOTE_ADDR": f"10.8.8.{n}"}
        console.stranger().post("/sign-in", data={"name": "ada", "password": "no"}, environ_base=home)
    many = console.stranger().post(
        "/sign-in", data={"name": "ada", "password": OWN}, environ_base={"REMOTE_ADDR": "10.7.7.7"}
    )
    assert many.status_code == 429, "the account waits, from wherever"
    enter(console, "ada")
    told = [event for event in console.ledger.history("user ada") if event.kind == Fact.SIGN_IN_REFUSED]
    assert len(told) == 1 and told[0].payload["tries"] == 10


@pytest.mark.parametrize("role", list(Role))
def test_every_route_holds_each_role_to_what_it_may(role: Role, console: Console, site: Site) -> None:
    assert site.live
    person(console, "ada", role)
    person(console, "root", Role.ADMINISTRATOR)
    client = enter(console, "ada")
    sent = {"X-CSRF-Token": "of another session"}  # the role is asked first, and so nothing is done
    tried = 0
    for rule in console.app.url_map.iter_rules():
        if rule.endpoint in OPEN_ENDPOINTS or rule.endpoint in (*STEPS.values(), "door.sign_out", "events.events"):
            continue
        path = re.sub(r"<int:(\w+)>", "999999", rule.rule)
        path = re.sub(r"<(?:\w+:)?(\w+)>", "nothing", path)
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            answer = client.open(path, method=method, headers=sent)
            refused = answer.status_code == 403 and "needs the role" in answer.text
            assert refused is not role.covers(needed(rule.endpoint, method)), (method, path, answer.status_code)
            tried += 1
    assert tried > 60


def test_what_changes_something_is_named_with_its_role(console: Console) -> None:
    unsafe = {
        rule.endpoint
        for rule in console.app.url_map.iter_rules()
        if (rule.methods or set()) & {"POST", "PUT", "PATCH", "DELETE"} and rule.endpoint not in OPEN_ENDPOINTS
    } - set(STEPS.values())
    of_accounts = {name for name in unsafe if name.startswith(("access.", "api_users."))}
    assert unsafe - of_accounts - set(NEEDS) == set(), "whatever else changes something was given to a role on purpose"
    assert set(NEEDS) <= set(console.app.view_functions), "and nothing is named that is not there"
    for endpoint, least in (
        ("items.give", "developer"),
        ("deliveries.replay", "operator"),
        ("access.role", "administrator"),
    ):
        assert needed(endpoint, "POST") == least


def test_a_session_ends_with_its_time_its_owner_and_its_account(console: Console) -> None:
    person(console, "ada")
    person(console, "root", Role.ADMINISTRATOR)
    first, second = enter(console, "ada"), enter(console, "ada")
    assert second.post("/sign-out", data={"csrf": csrf(second)}).status_code == 303
    assert second.get("/items").status_code == 303 and first.get("/items").status_code == 200
    console.ledger.users.change("ada", "root", role=Role.VIEWER)
    assert first.get("/items").status_code == 303
    third = enter(console, "ada")
    one = console.ledger.sessions.of("ada")[0]
    assert enter(console, "root").post(f"/access/sessions/{one.id}/end", data={"csrf": "x"}).status_code == 403
    root = enter(console, "root")
    assert root.post(f"/access/sessions/{one.id}/end", data={"csrf": csrf(root)}).status_code == 303
    assert third.get("/items").status_code == 303
    secret, _ = console.ledger.sessions.open("ada", Role.VIEWER, timedelta(hours=1))
    assert console.ledger.sessions.find(secret, timedelta(minutes=1)) is not None
    assert console.ledger.sessions.find(secret, timedelta(0)) is None, "unused for too long"
    ended, _ = console.ledger.sessions.open("ada", Role.VIEWER, timedelta(0))
    assert console.ledger.sessions.find(ended, timedelta(minutes=1)) is None


def test_a_browser_that_signs_in_anew_has_one_session_and_not_two(console: Console) -> None:
    person(console, "ada")
    client = enter(console, "ada")
    assert client.post("/sign-in", data={"name": "ada", "password": OWN}).status_code == 303
    assert client.get("/items").status_code == 200
    (left,) = console.ledger.sessions.of("ada")
    assert left.owes == Owed.NOTHING


def test_a_password_is_taken_as_it_was_typed_whole(console: Console) -> None:
    person(console, "ada")
    longest = (OWN + " kettle" * 20)[:128]
    console.ledger.users.set_password("ada", "ada", passwords.hash_password(longest))
    assert console.stranger().post("/sign-in", data={"name": "ada", "password": longest + "x"}).status_code == 401
    assert console.stranger().post("/sign-in", data={"name": "ada", "password": longest}).status_code == 303


def test_a_live_stream_ends_when_its_session_does(console: Console) -> None:
    person(console, "ada")
    client = enter(console, "ada")
    lines = iter(client.get("/events?after=0", buffered=False).response)
    next(lines)
    console.ledger.users.change("ada", "root", disabled=True)
    assert len(list(lines)) < 1000, "it came to an end"


def test_the_last_administrator_stays(console: Console) -> None:
    person(console, "ada", Role.ADMINISTRATOR)
    for change in ({"disabled": True}, {"role": Role.VIEWER}):
        with pytest.raises(Conflict, match="last administrator"):
            console.ledger.users.change("ada", "root", **change)  # type: ignore[arg-type]
    person(console, "bob", Role.ADMINISTRATOR)
    console.ledger.users.change("ada", "bob", disabled=True)
    with pytest.raises(Conflict, match="last administrator"):
        console.ledger.users.change("bob", "bob", disabled=True)


def test_a_token_reaches_as_far_as_its_scopes_and_its_owner(console: Console, site: Site) -> None:
    user = person(console, "ada", Role.OPERATOR)

    def call(secret: str, method: str, path: str, **more: object) -> int:
        headers = {"Authorization": f"Bearer {secret}"}
        return console.stranger().open(path, method=method, headers=headers, **more).status_code  # type: ignore[arg-type]

    with pytest.raises(UsageError, match="cannot have the scope admin"):
        accounts.token(console.ledger, user, NewToken(name="x", scopes=("admin",)))
    with pytest.raises(UsageError, match="scopes are"):
        accounts.token(console.ledger, user, NewToken(name="x", scopes=("everything",)))
    read, _ = accounts.token(console.ledger, user, NewToken(name="ci", scopes=("read",)))
    both, kept = accounts.token(console.ledger, user, NewToken(name="bot", scopes=("items", "read")))
    command = f"/api/v1/items/{site.waiting}/commands"
    assert call(read, "GET", "/api/v1/items") == 200
    assert call(read, "POST", command, json={"verb": "approve"}) == 403
    assert call(both, "POST", command, json={"verb": "approve"}) == 202
    given = console.ledger.open_commands()[0]
    told = next(one for one in console.ledger.history(site.waiting) if one.kind == Fact.COMMAND_GIVEN)
    assert given.by == "ada" and told.payload["actor"] == {"name": "ada", "address": "127.0.0.1", "token": kept.id}
    assert call(both, "POST", "/api/v1/me/tokens", json={"name": "more", "scopes": ["read"]}) == 403
    console.ledger.users.change("ada", "root", role=Role.VIEWER)
    assert call(both, "POST", command, json={"verb": "cancel"}) == 403, "the owner may no longer"
    assert call(both, "GET", "/api/v1/items") == 200
    console.ledger.sessions.revoke_token(kept.id, "ada")
    assert call(both, "GET", "/api/v1/items") == 401
    console.ledger.users.change("ada", "root", disabled=True)
    assert call(read, "GET", "/api/v1/items") == 401


def test_no_hash_secret_or_password_is_in_an_event_or_an_answer(console: Console) -> None:
    user = person(console, "ada", Role.ADMINISTRATOR)
    gate: Gate = console.app.extensions["appliance.gate"]
    made = accounts.enrolment(gate.codes, user, "box")
    recovery = accounts.codes_on(console.ledger, gate.codes, user, made.sealed, pyotp.TOTP(made.secret).now())
    secret, _ = accounts.token(console.ledger, user, NewToken(name="ci", scopes=tuple(SCOPES)))
    kept = console.ledger.users.kept("ada")
    told = "".join(str(event.payload) for event in console.ledger.tail(0, 10_000))
    headers = {"Authorization": f"Bearer {secret}"}
    for path in (
        "/api/v1/users",
        "/api/v1/users/ada",
        "/api/v1/me",
        "/api/v1/me/tokens",
        "/access",
        "/access/users/ada",
    ):
        answer = console.stranger().get(path, headers=headers)
        assert answer.status_code == 200, path
        told += answer.text
    for hidden in (OWN, kept.password, kept.code_secret, made.secret, secret, *recovery, *kept.recovery):
        assert hidden not in told


def test_an_administrator_lets_people_in_by_page_and_by_api(console: Console) -> None:
    person(console, "root", Role.ADMINISTRATOR)
    root = enter(console, "root")
    sent = {"csrf": csrf(root)}
    page = root.post("/access/users", data={**sent, "name": "eve", "role": "viewer", "full_name": "<b>Eve</b>"})
    first = re.search(r"<pre>(\w{4}-\w{4}-\w{4}-\w{4})</pre>", page.text)
    assert first and "&lt;b&gt;Eve" in page.text
    assert enter(console, "eve", first[1]).get("/items").headers["Location"].endswith("/sign-in/password")
    for name, role in (("eve", "viewer"), ("console", "viewer"), ("Bad Name!", "viewer"), ("max", "king")):
        assert root.post("/access/users", data={**sent, "name": name, "role": role}).status_code in (400, 409)
    made = console.program("POST", "/api/v1/users", json={"name": "max", "role": "developer"})
    assert made.status_code == 201 and len(made.json["password"]) == 19  # type: ignore[index]
    changed = console.program("PATCH", "/api/v1/users/max", json={"role": "operator", "disabled": True})
    assert changed.json["role"] == "operator" and changed.json["disabled"]  # type: ignore[index]
    assert console.program("PATCH", "/api/v1/users/max", json={"rule": "x"}).status_code == 400
