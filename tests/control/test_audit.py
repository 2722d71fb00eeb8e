"""The audit chain on page, API and command line: found by who, what and when; exported whole; verified."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from appliance.cli.main import root
from appliance.ledger.audit import Search, found, whole
from appliance.ledger.chain import digest
from appliance.user import Role
from tests.control.test_accounts import csrf, enter, person
from tests.control.world import Console, Site


def test_what_a_person_did_is_found_by_person_kind_subject_words_and_time(console: Console, site: Site) -> None:
    person(console, "ada", Role.OPERATOR)
    ada = enter(console, "ada")
    ada.post(f"/items/{site.waiting}/reject", data={"csrf": csrf(ada), "text": 'it breaks "by":"bob" things 100%'})
    events = found(console.ledger, Search(person="ada", kind="CommandGiven"), 10)
    assert [(one.subject, one.payload["actor"]["address"]) for one in events] == [(site.waiting, "127.0.0.1")]
    assert found(console.ledger, Search(person="bob"), 10) == [], "words that look like a name are no name"
    assert len(found(console.ledger, Search(words="100%", subject=site.waiting), 10)) == 1
    assert found(console.ledger, Search(words="100_"), 10) == [], "no sign is a wildcard"
    newest = found(console.ledger, Search(), 3)
    assert [one.seq for one in newest] == sorted((one.seq for one in newest), reverse=True)
    assert found(console.ledger, Search(before=newest[-1].seq), 1)[0].seq == newest[-1].seq - 1
    assert found(console.ledger, Search.model_validate({"since": "2100-01-01"}), 1) == []
    assert found(console.ledger, Search.model_validate({"until": "2000-01-01"}), 1) == []
    assert len(found(console.ledger, Search.model_validate({"since": "2000-01-01"}), 1)) == 1
    page = ada.get("/audit?person=ada&kind=CommandGiven").text
    assert site.waiting in page and "127.0.0.1" in page
    answer = console.program("GET", "/api/v1/audit?person=ada&limit=1")
    assert len(answer.get_json()["events"]) == 1
    for bad in ("since=yesterday", "before=x", "until=2026-13-01"):
        assert console.program("GET", f"/api/v1/audit?{bad}").status_code == 400


def test_an_export_carries_what_proves_the_chain(console: Console, site: Site) -> None:
    assert site.live
    text = console.program("GET", "/api/v1/audit/export").text
    rows = [json.loads(line) for line in text.splitlines()]
    assert len(rows) == console.ledger.tip()[0] == len(list(whole(console.ledger, Search())))
    last = "0" * 64
    for row in rows:
        payload = json.dumps(row["payload"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert row["prev"] == last
        last = digest(row["seq"], row["at"], row["kind"], row["subject"], payload, row["prev"])
        assert row["hash"] == last


def test_the_chain_is_verified_from_the_page_and_a_broken_one_is_said(console: Console, site: Site) -> None:
    assert site.live
    operator = enter(console, person(console, "ada", Role.OPERATOR).name)
    sent = {"csrf": csrf(operator)}
    assert operator.post("/audit/verify", data=sent).status_code == 400, "without the key nothing is claimed"
    (console.home.secrets / "audit.key").write_bytes(b"k" * 32)
    assert "the chain is unbroken" in operator.post("/audit/verify", data=sent).text
    with console.ledger.database.writing() as connection:
        connection.exec_driver_sql("UPDATE events SET subject = 'W-9' WHERE seq = 2")
    assert "event 2 was altered" in operator.post("/audit/verify", data=sent).text
    assert console.program("POST", "/api/v1/audit/verify").get_json()["ok"] is False


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER])
def test_who_does_not_run_the_box_does_not_read_its_audit_chain(console: Console, role: Role) -> None:
    client = enter(console, person(console, "ada", role).name)
    for path in ("/audit", "/audit/export", "/api/v1/audit", "/api/v1/audit/export"):
        assert client.get(path).status_code == 403
    assert 'href="/audit"' not in client.get("/").text


def test_the_command_line_lists_and_exports(console: Console, site: Site) -> None:
    console.home.settings_file.write_text("")

    def call(*words: str) -> str:
        done = CliRunner().invoke(root, ["--home", str(console.home.root), *words])
        assert done.exit_code == 0, done.output
        return done.output

    assert "ItemOpened" in call("audit", "list", "--subject", site.waiting)
    assert "no such event" in call("audit", "list", "--person", "nobody")
    file = console.home.root / "out.jsonl"
    assert "events are in" in call("audit", "export", str(file), "--kind", "ItemOpened")
    assert [json.loads(line)["kind"] for line in file.read_text().splitlines()] == ["ItemOpened"] * 3
    assert len(call("audit", "export", "-").splitlines()) == console.ledger.tip()[0]
