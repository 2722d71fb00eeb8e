"""The gateway's OpenAPI document and its routes say the same."""

from __future__ import annotations

import json
import re
from typing import Any

from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator

from inference.gateway.app import _add_paths
from inference.gateway.openapi import document


def routes() -> set[tuple[str, str]]:
    app = Flask("gateway", static_folder=None)
    _add_paths(app, None)  # type: ignore[arg-type]
    return {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in set(rule.methods or ()) - {"HEAD", "OPTIONS"}
    }


def test_every_route_is_in_the_document_and_no_other() -> None:
    told = {(method, path) for path, methods in document()["paths"].items() for method in methods}
    assert told == routes()


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    made = document()
    found = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(made)))
    assert found == set(made["components"]["schemas"])


def test_paths_with_a_name_in_them_declare_it() -> None:
    for path, methods in document()["paths"].items():
        for operation in methods.values():
            declared = [parameter["name"] for parameter in operation.get("parameters", [])]
            assert declared == re.findall(r"{(\w+)}", path), path


def test_required_fields_are_fields() -> None:
    def look(schema: Any) -> None:
        if isinstance(schema, dict):
            if isinstance(schema.get("required"), list):
                assert set(schema["required"]) <= set(schema["properties"]), schema
            for inner in schema.values():
                look(inner)
        elif isinstance(schema, list):
            for inner in schema:
                look(inner)

    look(document()["components"]["schemas"])


def test_an_outside_validator_finds_the_document_valid() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(document()).iter_errors()] == []
