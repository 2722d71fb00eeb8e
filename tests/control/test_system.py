"""The box itself on page and API: machine, settings in force, logs without secrets, the doctor's findings."""

from __future__ import annotations

import pytest

from appliance.settings import Settings
from appliance.user import Role
from control.system import settings_of
from tests.control.test_accounts import csrf, enter, person
from tests.control.world import Console

SECRET = "apt_" + "q" * 40


def test_the_page_tells_machine_settings_and_logs(console: Console) -> None:
    (console.home.logs / "line.log").write_text("one\nline took W-1\n")
    viewer = enter(console, person(console, "eve", Role.VIEWER).name)
    page = viewer.get("/system").text
    assert "cores, load" in page and "console.session_hours" in page and "line.log" in page
    assert "/system/logs/line.log" not in page and viewer.get("/system/logs/line.log").status_code == 403
    told = console.program("GET", "/api/v1/system").get_json()
    assert 0 < told["disk_free"] <= told["disk_total"] and told["ledger_bytes"] > 0


def test_a_setting_that_differs_from_its_default_is_marked() -> None:
    changed = Settings.model_validate({"line": {"workers": 7}, "intake": {"mail_senders": ["*@a.example"]}})
    found = {one.name: one for one in settings_of(changed) if one.changed}
    assert {name: one.value for name, one in found.items()} == {
        "line.workers": "7", "intake.mail_senders": '["*@a.example"]',
    }  # fmt: skip
    assert all(one.description for one in settings_of(changed))


def test_a_log_is_shown_from_its_end_narrowed_by_words_and_without_secrets(console: Console) -> None:
    lines = [f"{n} said <b>hello</b> Authorization: Bearer {SECRET}" for n in range(50_000)]
    (console.home.logs / "gateway.log").write_text("\n".join(lines) + "\nlast \xff line\n", encoding="latin-1")
    operator = enter(console, person(console, "ada", Role.OPERATOR).name)
    page = operator.get("/system/logs/gateway.log?limit=20").text
    assert "49999 said &lt;b&gt;hello" in page and "49900 said" not in page and SECRET not in page
    found = console.program("GET", "/api/v1/system/logs/gateway.log?words=LAST").get_json()["lines"]
    assert len(found) == 1 and found[0].startswith("last")
    for name in ("nothing.log", "../appliance.toml", "..%2fledger.db", "gateway"):
        assert operator.get(f"/system/logs/{name}").status_code == 404


@pytest.mark.integration
def test_the_doctor_is_asked_from_the_page_and_what_it_says_has_its_fix(console: Console) -> None:
    console.home.settings_file.write_text("")
    operator = enter(console, person(console, "ada", Role.OPERATOR).name)
    page = operator.post("/system/doctor", data={"csrf": csrf(operator)}).text
    assert "The doctor found" in page and "the box is not running" in page and "`appliance up`" in page
    console.home.settings_file.write_text("[gateway]\nprot = 1\n")
    first = console.program("POST", "/api/v1/system/doctor").get_json()["findings"][0]
    assert (first["name"], first["verdict"]) == ("settings", "fail") and "prot" in first["found"] + first["fix"]
