"""The console's OpenAPI document, its routes and its answers say the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from appliance.certificates.keeping import Keeping
from appliance.learning.service import Learning
from appliance.ledger.routes import Routes, digest
from appliance.lesson import Lesson
from appliance.news import Delivery
from appliance.settings import CertificateSettings
from appliance.user import Role
from appliance.work import utcnow
from control.api.openapi import CALLS, told
from control.desk import Desk
from control.uploads import NewFile, NewUpload
from tests.control.learned import learning, live, publish
from tests.control.world import Console, Site

ELSEWHERE = {"models"}
"""Told by processes that do not run here."""
KINDS: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
    "null": type(None),
}  # fmt: skip


@pytest.fixture
def document(console: Console) -> dict[str, Any]:
    return dict(console.program("GET", "/api/v1/openapi.json").get_json())


@pytest.fixture
def store(console: Console, site: Site) -> Iterator[Learning]:
    """The learning process behind the console."""
    assert site.live
    live(console.ledger)
    with learning(console.home) as made:
        yield made


def wrong(document: dict[str, Any], schema: dict[str, Any], value: Any, at: str = "") -> list[str]:
    """Where a value is not as the schema says. It knows what the document uses of JSON Schema."""
    if "$ref" in schema:
        return wrong(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], value, at)
    if "anyOf" in schema:
        tried = [wrong(document, one, value, at) for one in schema["anyOf"]]
        return [] if [] in tried else tried[0]
    found = [problem for one in schema.get("allOf", ()) for problem in wrong(document, one, value, at)]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, KINDS[kind]) for kind in kinds):
        return [*found, f"{at}: {value!r} is no {kinds}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is none of {schema['enum']}")
    if isinstance(value, dict):
        found += [f"{at}: no {name}" for name in schema.get("required", ()) if name not in value]
        for name, one in schema.get("properties", {}).items():
            if name in value:
                found += wrong(document, one, value[name], f"{at}.{name}")
    if isinstance(value, list) and "items" in schema:
        found += [problem for one in value for problem in wrong(document, schema["items"], one, f"{at}[]")]
    return found


def test_every_route_is_in_the_document_and_every_call_has_a_route(console: Console, document: dict[str, Any]) -> None:
    routes = list(told(console.app))
    assert {(path, method) for path, method, _ in routes} == {
        (path, method) for path, methods in document["paths"].items() for method in methods
    }
    assert {rule.endpoint for _, _, rule in routes} == set(CALLS)
    assert all(one["summary"] for methods in document["paths"].values() for one in methods.values())


def test_every_reference_leads_somewhere_and_every_schema_is_used(document: dict[str, Any]) -> None:
    found = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert found == set(document["components"]["schemas"])


def test_names_in_paths_are_declared_and_the_hooks_alone_want_no_token(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            inside = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
            assert inside == re.findall(r"{(\w+)}", path), path
            assert ("security" in operation) == path.startswith("/hooks/")


def test_real_answers_are_as_the_document_says(
    console: Console, site: Site, document: dict[str, Any], store: Learning
) -> None:
    assert store.status()["behind"] == 0
    kept, _ = console.ledger.deliveries.take(Delivery(source="gitea", repo="shop", id="1", size=2), b"{}")
    signal = console.ledger.signals()[0][0].id
    lesson = console.ledger.lessons.add(Lesson(text="name the unit"), "ada")
    console.ledger.users.add("ada", Role.VIEWER, "test")
    (console.home.logs / "line.log").write_text("one line\n")
    publish(console.home, console.ledger)
    Routes(console.home, console.ledger).save("# none\n", digest(""), "ada", "the first")
    console.home.settings_file.write_text("")
    here: Desk = console.app.extensions["appliance.desk"]
    Keeping(console.home, CertificateSettings()).create(["box.example"], utcnow())
    upload = here.uploads.begin(NewUpload(files=(NewFile(name="a.gguf", size_bytes=1),)), "ada")
    task = here.tasks.begin("a look", ("config", "check"), "ada")
    names = {"users": "ada", "system": "line.log", "learning": "autonomy", "items": site.trajectory}
    ids = {"items": site.waiting, "signals": signal, "lessons": lesson.id, "uploads": upload.id, "tasks": task.id}
    for path, methods in document["paths"].items():
        if "get" not in methods:
            continue
        noun = path.split("/")[3]
        name = names.get(noun, "shop")
        given = {"id": ids.get(noun, ""), "name": name, "number": "0" if noun == "uploads" else str(kept.number)}
        answer = console.program("GET", path.format(**given))
        if noun in ELSEWHERE:
            assert answer.status_code == 503, path
            continue
        assert answer.status_code == 200, f"{path}: {answer.text}"
        content = methods["get"]["responses"]["200"]["content"]
        assert list(content) == [answer.mimetype], path
        if answer.is_json:
            assert wrong(document, content["application/json"]["schema"], answer.json, path) == []


def test_what_is_sent_and_what_is_wrong_is_answered_as_the_document_says(
    console: Console, site: Site, document: dict[str, Any]
) -> None:
    def answered(path: str, status: int, shown: str, told_as: str = "", **sent: Any) -> list[str]:
        answer = console.program("POST", path, **sent)
        assert answer.status_code == status, answer.text
        schema = document["paths"][shown]["post"]["responses"][told_as or str(status)]["content"]["application/json"]
        return wrong(document, schema["schema"], answer.json, path)

    items, filing, table = "/api/v1/items/{id}/commands", "/api/v1/signals", "/api/v1/signals/import"
    assert answered(f"/api/v1/items/{site.waiting}/commands", 202, items, json={"verb": "approve"}) == []
    assert answered(filing, 201, filing, json={"repo": "shop", "title": "t"}) == []
    assert answered(filing, 400, filing, "default", json={"repo": "shop"}) == []
    assert answered(f"{table}?repo=shop", 201, table, data=b"id,title\n1,A\n2,B\n") == []
    assert wrong(document, document["components"]["schemas"]["Error"], {"error": {"code": 1}}) != []


def test_the_document_tells_of_pages_etags_and_conditions(document: dict[str, Any]) -> None:
    items = document["paths"]["/api/v1/items"]["get"]
    assert {"before", "limit", "If-None-Match"} <= {one["name"] for one in items["parameters"]}
    assert set(items["responses"]["200"]["headers"]) == {"ETag", "Link"} and "304" in items["responses"]
    command = document["paths"]["/api/v1/items/{id}/commands"]["post"]
    assert [one["name"] for one in command["parameters"]] == ["id", "If-Match"] and "412" in command["responses"]
    export = document["paths"]["/api/v1/audit/export"]["get"]
    assert "304" not in export["responses"] and "headers" not in export["responses"]["200"]


def test_an_outside_validator_finds_the_document_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    broken = {**document, "paths": {"no-slash": {}}}
    assert list(OpenAPIV31SpecValidator(broken).iter_errors()), "it does look"
